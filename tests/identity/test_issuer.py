"""The sandbox's issuer: what it issues is what the gateway takes, in this process and over a socket."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from gateway.identity.authenticator import Authenticator
from gateway.identity.key_fetch import http_client
from gateway.identity.keys import JwksKeys
from gateway.identity.settings import ALGORITHMS, IssuerSettings
from gateway.sandbox.issuer import IssuerFault, SandboxClient, SandboxIssuer
from gateway.sandbox.signing import SigningKey

from .scene import AUDIENCE, ISSUER, NOW, Clock, client_of, verified

LAB = SandboxClient(
    id="lab", secret="s3cret &:", scopes=("system/Observation.cu", "system/Patient.r"), claims={"org_type": "lab"}
)
APP = SandboxClient(id="app", secret="app", scopes=("patient/*.cruds",), claims={"patient": "p-1"})
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
async def http(issuer: SandboxIssuer) -> AsyncIterator[httpx.AsyncClient]:
    issuer.clients = {client.id: client for client in (LAB, APP)}
    async with client_of(issuer) as client:
        yield client


async def test_a_token_by_basic_and_by_form(http: httpx.AsyncClient, issuer: SandboxIssuer) -> None:
    secrets = {"client_id": LAB.id, "client_secret": LAB.secret}
    for answer in (
        await http.post(issuer.token_endpoint, data=GRANT, auth=(LAB.id, "s3cret+%26%3A")),
        await http.post(issuer.token_endpoint, data=GRANT | secrets),
    ):
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 300)
        principal = verified(body["access_token"], issuer)
        assert principal.client_id == "lab"
        assert principal.scope_texts == LAB.scopes
        assert principal.claims["org_type"] == "lab"


async def test_a_subset_of_scopes(http: httpx.AsyncClient, issuer: SandboxIssuer) -> None:
    form = GRANT | {"client_id": LAB.id, "client_secret": LAB.secret, "scope": "system/Patient.r"}
    body = (await http.post(issuer.token_endpoint, data=form)).json()
    assert verified(body["access_token"], issuer).scope_texts == ("system/Patient.r",)
    refused = await http.post(issuer.token_endpoint, data=form | {"scope": "system/Patient.r system/*.cruds"})
    assert (refused.status_code, refused.json()) == (400, {"error": "invalid_scope"})


async def test_launch_context_is_in_the_answer_and_in_the_token(http: httpx.AsyncClient, issuer: SandboxIssuer) -> None:
    form = GRANT | {"client_id": APP.id, "client_secret": APP.secret}
    body = (await http.post(issuer.token_endpoint, data=form)).json()
    assert body["patient"] == verified(body["access_token"], issuer).patient == "p-1"


@pytest.mark.parametrize(
    ("body", "headers", "status", "error"),
    [
        ("grant_type=client_credentials", {}, 401, "invalid_client"),
        ("grant_type=client_credentials&client_id=lab&client_secret=wrong", {}, 401, "invalid_client"),
        ("grant_type=client_credentials&client_id=nobody&client_secret=", {}, 401, "invalid_client"),
        ("grant_type=password&client_id=app&client_secret=app", {}, 400, "unsupported_grant_type"),
        ("client_id=app&client_secret=app", {}, 400, "unsupported_grant_type"),
        ("grant_type=client_credentials&client_id=app&client_id=lab&client_secret=app", {}, 400, "invalid_request"),
        ("grant_type", {}, 400, "invalid_request"),
        ("x=" + "y" * 20_000, {}, 400, "invalid_request"),
        ("grant_type=client_credentials", {"authorization": "Basic !!!"}, 401, "invalid_client"),
        ("grant_type=client_credentials", {"authorization": "Basic /////w=="}, 401, "invalid_client"),
        ("grant_type=client_credentials", {"authorization": "Bearer YXBwOmFwcA=="}, 401, "invalid_client"),
        (
            "grant_type=client_credentials&client_secret=app",
            {"authorization": "Basic YXBwOmFwcA=="},
            400,
            "invalid_request",
        ),
    ],
)
async def test_refused(
    *, body: str, headers: dict[str, str], status: int, error: str, http: httpx.AsyncClient, issuer: SandboxIssuer
) -> None:
    answer = await http.post(issuer.token_endpoint, content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (status, {"error": error})
    assert ("www-authenticate" in answer.headers) is (status == 401)


async def test_discovery_names_its_endpoints(http: httpx.AsyncClient, issuer: SandboxIssuer) -> None:
    document = (await http.get(f"{ISSUER}/.well-known/openid-configuration")).json()
    assert document["issuer"] == ISSUER
    assert document["scopes_supported"] == ["patient/*.cruds", "system/Observation.cu", "system/Patient.r"]
    keys = (await http.get(document["jwks_uri"])).json()["keys"]
    assert {key["alg"] for key in keys} == set(ALGORITHMS)
    assert not any("d" in key for key in keys)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (IssuerFault.DOWN, 503),
        (IssuerFault.REDIRECT, 302),
        (IssuerFault.SLOW, 200),
        (IssuerFault.GARBAGE, 200),
        (IssuerFault.HUGE, 200),
    ],
)
async def test_faults(fault: IssuerFault, status: int, http: httpx.AsyncClient, issuer: SandboxIssuer) -> None:
    issuer.fault, issuer.slow_seconds = fault, 0.0
    answer = await http.get(issuer.jwks_uri)
    assert answer.status_code == status
    assert (len(answer.content) > 10_000_000) is (fault is IssuerFault.HUGE)
    followed = await http.get(f"{issuer.jwks_uri}?followed=1")
    assert followed.content == issuer.key_set()


def test_keys_have_their_ids(issuer: SandboxIssuer) -> None:
    assert issuer.key("k-RS256").algorithm == "RS256"
    rotated = issuer.rotate(keep=2)
    assert [key.kid for key in issuer.keys][1:] == ["k-ES256", rotated.kid]
    assert verified(issuer.mint(), issuer).client_id
    with pytest.raises(ValueError, match="no key"):
        SigningKey.generate("x", "HS256")
    with pytest.raises(ValueError, match="no key"):
        SigningKey.generate("x", "RS1")


def test_keys_of_its_own_when_none_are_given(clock: Clock) -> None:
    issuer = SandboxIssuer(ISSUER, audience=AUDIENCE, clock=clock)
    assert [key.algorithm for key in issuer.keys] == ["RS256", "ES256"]
    assert verified(issuer.mint(key=issuer.keys[0]), issuer).expires_at == NOW + 300


async def test_the_whole_way_over_a_socket(tmp_path: Path) -> None:
    """uvicorn on loopback, http://, discovery, token endpoint, authenticator, real clock."""
    import socket
    import time

    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/realms/push"
    key = SigningKey.generate("k", "ES256")
    issuer = SandboxIssuer(url, audience=AUDIENCE, clients=(LAB,), keys=(key,))
    server = uvicorn.Server(uvicorn.Config(issuer.app, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    settings = IssuerSettings(issuer=url, audiences=(AUDIENCE,))
    async with http_client() as client:
        keys = JwksKeys([settings], client)
        await keys.start()
        assert keys.ready
        answer = await client.post(issuer.token_endpoint, data=GRANT, auth=(LAB.id, "s3cret+%26%3A"))
        door = Authenticator([settings], keys)
        bearer = [f"Bearer {answer.json()['access_token']}".encode()]
        assert (await door.authenticate(bearer, time.time())).client_id == "lab"
        assert door.remembered(bearer, time.time())
        await keys.close()
    server.should_exit = True
    await serving
