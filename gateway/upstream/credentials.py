"""The gateway's own credentials at the FHIR server. The client's token never goes there."""

import asyncio
import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpx

from gateway.saga.ports import NotSent
from gateway.upstream.settings import Basic, BearerFile, ClientCredentials, Credentials, NoCredentials

_RENEW_BEFORE = 30.0  # seconds before a token's end at which a new one is fetched
_SHORTEST = 5.0
_OK = 200


class Authorization(Protocol):
    """Makes the value of `Authorization`. Raises NotSent when it cannot: the request must not go without."""

    async def value(self) -> str | None: ...

    async def close(self) -> None: ...


def authorization(credentials: Credentials, *, client: httpx.AsyncClient | None = None) -> Authorization:
    """The maker for one kind of credentials. `client` fetches tokens; without one it makes its own."""
    if isinstance(credentials, BearerFile):
        return _FromFile(credentials.token_file, lambda text: f"Bearer {text}")
    if isinstance(credentials, Basic):
        return _FromFile(credentials.password_file, lambda text: _basic(credentials.username, text))
    if isinstance(credentials, ClientCredentials):
        own = client or httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=10.0)
        return _Fetched(credentials, own)
    assert isinstance(credentials, NoCredentials)  # noqa: S101 (tells mypy that no kind is left)
    return _None()


class _None:
    async def value(self) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing is held."""


class _FromFile:
    """Reads the file when its time or size changed: secrets are rotated under running programs."""

    def __init__(self, path: Path, text: Callable[[str], str]) -> None:
        self._path, self._text = path, text
        self._seen: tuple[int, int, int] | None = None
        self._value = ""

    async def value(self) -> str | None:
        try:
            about = self._path.stat()
            seen = (about.st_mtime_ns, about.st_size, about.st_ino)
            if seen != self._seen:
                self._value = self._text(self._path.read_text(encoding="utf-8").rstrip("\r\n"))
                self._seen = seen
        except (OSError, UnicodeDecodeError):
            raise NotSent("the upstream credentials cannot be read") from None
        return self._value

    async def close(self) -> None:
        """Nothing is held."""


class _Fetched:
    """Fetches a token and keeps it until shortly before it ends; one fetch at a time, a short pause after a failure."""

    def __init__(self, credentials: ClientCredentials, client: httpx.AsyncClient) -> None:
        self._credentials, self._client = credentials, client
        self._lock = asyncio.Lock()
        self._value: str | None = None
        self._until = 0.0
        self._not_before = 0.0

    async def value(self) -> str | None:
        if self._value is not None and time.monotonic() < self._until:
            return self._value
        async with self._lock:
            if self._value is None or time.monotonic() >= self._until:
                await self._fetch()
        return self._value

    async def close(self) -> None:
        await self._client.aclose()

    async def _fetch(self) -> None:
        if time.monotonic() < self._not_before:
            raise NotSent("no upstream token")
        form = {"grant_type": "client_credentials"}
        if self._credentials.scope is not None:
            form["scope"] = self._credentials.scope
        try:
            secret = self._credentials.secret_file.read_text(encoding="utf-8").rstrip("\r\n")
            basic = _basic(self._credentials.client_id, secret)
            answer = await self._client.post(
                self._credentials.token_url, data=form, headers={"authorization": basic, "accept": "application/json"}
            )
            body = answer.json() if answer.status_code == _OK else None
        except (OSError, ValueError, httpx.HTTPError):
            body = None
        token = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            self._not_before = time.monotonic() + _SHORTEST
            raise NotSent("no upstream token")
        seconds = body.get("expires_in") if isinstance(body, dict) else None
        lifetime = float(seconds) if isinstance(seconds, int | float) else 60.0
        self._value = f"Bearer {token}"
        self._until = time.monotonic() + max(_SHORTEST, lifetime - _RENEW_BEFORE)


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
