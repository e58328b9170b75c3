"""A whole gateway in this process, in front of the sandbox server and issuer on real loopback sockets."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import httpx
from starlette.types import Message, Receive, Scope, Send

from gateway.app import Application, build
from gateway.config import load
from gateway.fhir.json import JsonObject
from gateway.sandbox.fhir_server import FhirServer
from gateway.sandbox.issuer import SandboxIssuer
from gateway.sandbox.quirks import Quirks
from gateway.sandbox.serving import free_port, server
from gateway.sandbox.signing import SigningKey
from gateway.sandbox.store import Store

FHIR = "application/fhir+json"
MEMBER = {"resourceType": "Patient", "id": "member", "identifier": [{"system": "https://plan.example/member"}]}
STRANGER = {"resourceType": "Patient", "id": "stranger"}

LAB = """
policy: lab
title: Laboratories may push results
permit: [create, update]
resources: [Observation]
rules:
  - id: is-member
    cel: patient.identifier.exists(i, i.system == 'https://plan.example/member')
    deny: {code: business-rule, at: subject, message: The patient is not a member.}
  - id: final
    fhirpath: status in ('final' | 'amended')
    deny: {code: business-rule, at: status, message: Only final results.}
"""
AFTER = """
  - id: same-patient
    phase: after
    cel: stored.subject.reference == resource.subject.reference
    deny: {code: conflict, message: Filed under another patient.}
"""
PATIENTS = """
policy: patients
title: Patients may be updated
permit: [create, update]
resources: [Patient]
patient: none
rules:
  - id: named
    cel: size(resource.identifier) < 5
    deny: {code: business-rule, message: Too many identifiers.}
"""


# An answer that is lost once, and a server that nothing can be asked of by request id.
LOST: Final = {"drop_answer_after_store": True, "strikes": 1}
BLIND: Final = Quirks(request_id_length=0, source_disabled=True)


def observation(patient: str = "member", **more: object) -> JsonObject:
    """A final result about one Patient."""
    made: dict[str, object] = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "HbA1c"},
        "subject": {"reference": f"Patient/{patient}"},
    }
    return json.loads(json.dumps(made | more))  # type: ignore[no-any-return]


@cache
def signing_keys() -> tuple[SigningKey, ...]:
    """Made once: to make an RSA key takes longer than most tests."""
    return (SigningKey.generate("rsa-1", "RS256"), SigningKey.generate("ec-1", "ES256"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it reached the server."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Stands before the server and keeps what reaches it; `dead` answers everything with 503."""

    def __init__(self, inner: FhirServer) -> None:
        self._inner = inner
        self.received: list[Received] = []
        self.dead = False
        self.dies_with_the_next_write = False
        self.before_the_next_write: Callable[[], object] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["raw_path"].decode()
        if self.dead:
            await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        if self.dies_with_the_next_write and scope["method"] in ("POST", "PUT"):
            self.dead = True
        if self.before_the_next_write is not None and scope["method"] in ("POST", "PUT"):
            others, self.before_the_next_write = self.before_the_next_write, None
            others()
        self.received.append(Received(method=scope["method"], path=path, headers=headers, body=body))
        pieces = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return pieces.pop(0) if pieces else await receive()

        await self._inner(scope, replay, send)


@dataclass(slots=True, kw_only=True)
class Rig:
    """One gateway, its server and its issuer."""

    app: Application
    store: Store
    wire: Wire
    issuer: SandboxIssuer
    client: httpx.AsyncClient
    admin: httpx.AsyncClient
    base: str
    upstream_base: str
    folder: Path

    def headers(self, **claims: object) -> dict[str, str]:
        """A good token's header; a claim set to None is left out."""
        return {"authorization": f"Bearer {self.issuer.mint(self.issuer.claims(**claims))}"}

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        claims: Mapping[str, object] | None = None,
    ) -> httpx.Response:
        """One request below the base; a body that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        kinds = {"content-type": FHIR} if content is not None else {}
        merged = {**kinds, **self.headers(**(claims or {})), **(headers or {})}
        return await self.client.request(method, f"{self.base}/{path}", content=content, headers=merged)

    async def create(self, resource: JsonObject, **more: object) -> httpx.Response:
        """POST a resource to its type."""
        return await self.send("POST", str(resource["resourceType"]), resource, **more)  # type: ignore[arg-type]

    def quirks(self, **switches: object) -> None:
        """Change the server's habits."""
        self.store.quirks = replace(self.store.quirks, **switches)  # type: ignore[arg-type]

    def writes(self) -> list[Received]:
        """Every write that the server received, in order."""
        return [each for each in self.wire.received if each.method in ("POST", "PUT", "DELETE", "PATCH")]


def issues(response: httpx.Response) -> list[tuple[str, str | None]]:
    """(code, diagnostics) of every issue."""
    assert response.headers["content-type"].startswith(FHIR)
    outcome = response.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["id"] == response.headers["x-decision-id"]
    return [(issue["code"], issue.get("diagnostics")) for issue in outcome["issue"]]


def configuration(
    folder: Path,
    *,
    port: int,
    upstream: str,
    issuer: str,
    policies: Mapping[str, str],
    extra: str,
    server_keys: str = "",
) -> Path:
    """Writes gateway.yaml and the policies."""
    (folder / "policies").mkdir(exist_ok=True)
    for name, text in policies.items():
        (folder / "policies" / f"{name}.yaml").write_text(text)
    path = folder / "gateway.yaml"
    path.write_text(
        f"""
listen: 127.0.0.1:{port}
public_url: http://127.0.0.1:{port}/fhir
admin: 127.0.0.1:0
upstream: {{url: {upstream}, timeout: 2s{server_keys}}}
issuers:
  - issuer: {issuer}
    audiences: [http://127.0.0.1:{port}/fhir]
policies: [policies/]
journal: sqlite:journal.db
decision_log: {folder}/decisions.ndjson
reload: signal
{extra}"""
    )
    return path


@contextlib.asynccontextmanager
async def rigged(
    folder: Path,
    policies: Mapping[str, str] | None = None,
    *,
    quirks: Quirks | None = None,
    extra: str = "",
    server_keys: str = "",
    store: Store | None = None,
    between: Callable[[int], Awaitable[int]] | None = None,
) -> AsyncIterator[Rig]:
    """A rig for one test; everything is stopped afterwards.

    `between` is told the server's port and puts something before it; the gateway is given the port that it answers.
    """
    port, upstream_port, issuer_port = free_port(), free_port(), free_port()
    base, upstream = f"http://127.0.0.1:{port}/fhir", f"http://127.0.0.1:{upstream_port}/fhir"
    if store is None:
        store = Store(quirks=quirks or Quirks())
        store.load(json.dumps(MEMBER).encode())
        store.load(json.dumps(STRANGER).encode())
    issuer = SandboxIssuer(f"http://127.0.0.1:{issuer_port}/issuer", audience=base, keys=signing_keys())
    wire = Wire(FhirServer(store))
    servers = [server(wire, upstream_port), server(issuer.app, issuer_port)]
    running = [asyncio.create_task(each.serve()) for each in servers]
    await eventually(lambda: all(each.started for each in servers))
    if between is not None:
        upstream = f"http://127.0.0.1:{await between(upstream_port)}/fhir"
    path = configuration(
        folder,
        port=port,
        upstream=upstream,
        issuer=issuer.url,
        policies=policies or {"lab": LAB + AFTER},
        extra=extra,
        server_keys=server_keys,
    )
    app = build(load(path, {}))
    await app.start()
    clients = [
        httpx.AsyncClient(transport=httpx.ASGITransport(app=each), trust_env=False) for each in (app.asgi, app.admin)
    ]
    try:
        yield Rig(
            app=app,
            store=store,
            wire=wire,
            issuer=issuer,
            client=clients[0],
            admin=clients[1],
            base=base,
            upstream_base=upstream,
            folder=folder,
        )
    finally:
        for client in clients:
            await client.aclose()
        await app.stop(5.0)
        for each in servers:
            each.should_exit = True
        await asyncio.gather(*running)


async def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Waits until a condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be in time"
        await asyncio.sleep(0.005)


def stored(rig: Rig) -> list[str]:
    """The ids of the Observations that the server has."""
    return [version.id for version in rig.store.live("Observation")]
