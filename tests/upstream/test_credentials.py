"""Client credentials: fetched once, kept until shortly before the end, never sent without."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from gateway.saga.ports import NotSent
from gateway.upstream.credentials import authorization
from gateway.upstream.settings import ClientCredentials, NoCredentials

Answer = Callable[[httpx.Request], httpx.Response]


class Issuer:
    def __init__(self, body: object, status: int = 200) -> None:
        self.body, self.status = body, status
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, json=self.body)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


@pytest.fixture
def settings(tmp_path: Path) -> ClientCredentials:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    return ClientCredentials(
        token_url="https://id.example/token", client_id="gw", secret_file=secret, scope="system/*.*"
    )


async def test_one_fetch_serves_many(settings: ClientCredentials) -> None:
    issuer = Issuer({"access_token": "abc", "expires_in": 300})
    made = authorization(settings, client=issuer.client())
    assert await asyncio.gather(*(made.value() for _ in range(10))) == ["Bearer abc"] * 10
    await made.close()
    (request,) = issuer.requests
    assert request.headers["authorization"] == "Basic Z3c6czNjcmV0"
    assert request.content == b"grant_type=client_credentials&scope=system%2F%2A.%2A"


@pytest.mark.parametrize("body", [{}, [], {"access_token": ""}, {"access_token": 1}, {"access_token": "a\r\nb"}, None])
async def test_no_token_no_request(settings: ClientCredentials, body: object) -> None:
    issuer = Issuer(body)
    made = authorization(settings, client=issuer.client())
    for _ in range(3):
        with pytest.raises(NotSent):
            await made.value()
    assert len(issuer.requests) == 1  # not asked again at once
    await made.close()


async def test_an_issuer_that_refuses_or_a_secret_that_is_gone(settings: ClientCredentials) -> None:
    made = authorization(settings, client=Issuer({"access_token": "abc"}, 401).client())
    with pytest.raises(NotSent):
        await made.value()
    settings.secret_file.unlink()
    gone = authorization(settings, client=Issuer({"access_token": "abc"}).client())
    with pytest.raises(NotSent):
        await gone.value()
    await made.close()
    await gone.close()


async def test_no_credentials_are_none() -> None:
    made = authorization(NoCredentials())
    assert await made.value() is None
    await made.close()
