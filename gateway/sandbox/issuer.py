"""A tiny OAuth 2 issuer with real keys: for the demo and the tests, never for patients.

Discovery, key set and a token endpoint (client_credentials), and switches that make it fail as real ones do.
"""

import asyncio
import base64
import binascii
import gzip
import hmac
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.sandbox.signing import SigningKey

_MAX_FORM = 16_384  # bytes
_HUGE = 10_000_000  # bytes


class IssuerFault(StrEnum):
    """What discovery and key set answer instead."""

    DOWN = "down"  # 503
    REDIRECT = "redirect"  # 302 to a copy of the same document, which must not be followed
    SLOW = "slow"  # answers after `slow_seconds`
    GARBAGE = "garbage"  # 200 with HTML
    HUGE = "huge"  # 200 with 10 MB
    ZIPPED = "zipped"  # 200 with a content coding that was not asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxClient:
    """A registered client. `scopes` is the most it can get; `claims` go into each of its tokens."""

    id: str
    secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    claims: Mapping[str, object] = field(default_factory=dict)


class TokenRefused(Exception):
    """RFC 6749 section 5.2. `error` is its code."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.status = status


class SandboxIssuer:
    """The issuer at `url` (its exact issuer name; the URL's path is the prefix it serves).

    `audience` stands in every token. `keys` are all published ones, the newest last; the newest signs. `extra_keys`
    are published besides (raw JWKs); `key_document` replaces the key set's bytes; `discovery_overrides` replace members
    of the discovery document. `served` counts answered requests by path.
    """

    def __init__(
        self,
        url: str,
        *,
        audience: str,
        clients: tuple[SandboxClient, ...] = (),
        keys: tuple[SigningKey, ...] = (),
        clock: Callable[[], float] = time.time,
        lifetime: int = 300,
        token_type: str = "at+jwt",  # noqa: S107 (the type of a token, not a token)
    ) -> None:
        self.url = url
        self.audience = audience
        self.clients = {client.id: client for client in clients}
        self.keys = list(keys) or [SigningKey.generate("rsa-1", "RS256"), SigningKey.generate("ec-1", "ES256")]
        self.extra_keys: list[dict[str, object]] = []
        self.key_document: bytes | None = None
        self.discovery_overrides: dict[str, object] = {}
        self.fault: IssuerFault | None = None
        self.slow_seconds = 30.0
        self.openid = True
        self.served: Counter[str] = Counter()
        self._clock = clock
        self._lifetime = lifetime
        self._token_type = token_type
        self._serial = itertools.count(1)
        path = urlsplit(url).path.rstrip("/")
        self.app = Starlette(
            routes=[
                Route(f"{path}/.well-known/openid-configuration", self._openid_configuration),
                Route(f"/.well-known/oauth-authorization-server{path}", self._discovery),
                Route(f"{path}/keys", self._keys),
                Route(f"{path}/token", self._token, methods=["POST"]),
            ]
        )

    @property
    def jwks_uri(self) -> str:
        """Where the key set is."""
        return f"{self.url.rstrip('/')}/keys"

    @property
    def token_endpoint(self) -> str:
        """Where clients get tokens."""
        return f"{self.url.rstrip('/')}/token"

    def key(self, kid: str) -> SigningKey:
        """A published key by its id. Raises KeyError."""
        return {key.kid: key for key in self.keys}[kid]

    def rotate(self, key: SigningKey | None = None, *, keep: int = 1) -> SigningKey:
        """Publishes a new signing key beside the newest `keep` of the old ones, and returns it."""
        new = key or SigningKey.generate(f"ec-new-{next(self._serial)}", "ES256")
        self.keys = [*(self.keys[-keep:] if keep else []), new]
        return new

    def claims(self, **changes: object) -> dict[str, object]:
        """The claims of a good token; a change to None leaves the claim out."""
        now = int(self._clock())
        claims: dict[str, object] = {
            "iss": self.url,
            "aud": self.audience,
            "sub": "sandbox-client",
            "client_id": "sandbox-client",
            "scope": "system/*.cruds",
            "iat": now,
            "exp": now + self._lifetime,
            "jti": f"sandbox-{next(self._serial)}",
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def mint(
        self,
        claims: Mapping[str, object] | None = None,
        header: Mapping[str, object] | None = None,
        *,
        key: SigningKey | None = None,
    ) -> str:
        """A signed token. `claims` and `header` override members; None leaves a member out."""
        key = key or self.keys[-1]
        members = {"alg": key.algorithm, "typ": self._token_type, "kid": key.kid} | dict(header or {})
        return key.token({n: v for n, v in members.items() if v is not None}, self.claims(**dict(claims or {})))

    def issue(self, client: SandboxClient, scope: str | None) -> dict[str, object]:
        """The token answer for an authenticated client (RFC 6749 section 5.1). Raises TokenRefused."""
        wanted = tuple(scope.split()) if scope else client.scopes
        if not set(wanted) <= set(client.scopes):
            raise TokenRefused("invalid_scope")
        granted = " ".join(wanted)
        about_client: dict[str, object] = {"client_id": client.id, "sub": client.id, "scope": granted}
        answer: dict[str, object] = {
            "access_token": self.mint(dict(client.claims) | about_client),
            "token_type": "Bearer",
            "expires_in": self._lifetime,
            "scope": granted,
        }
        # SMART: launch context is a parameter of the token answer.
        return answer | ({"patient": client.claims["patient"]} if "patient" in client.claims else {})

    def discovery(self) -> dict[str, object]:
        """The discovery document."""
        return {
            "issuer": self.url,
            "jwks_uri": self.jwks_uri,
            "token_endpoint": self.token_endpoint,
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "scopes_supported": sorted({scope for client in self.clients.values() for scope in client.scopes}),
        } | self.discovery_overrides

    def key_set(self) -> bytes:
        """The key set's bytes (RFC 7517)."""
        if self.key_document is not None:
            return self.key_document
        return json.dumps({"keys": [*(key.public_jwk() for key in self.keys), *self.extra_keys]}).encode()

    async def _openid_configuration(self, request: Request) -> Response:
        return await self._discovery(request) if self.openid else Response(status_code=404)

    async def _discovery(self, request: Request) -> Response:
        self.served[request.url.path] += 1
        return await self._failing(request) or JSONResponse(self.discovery())

    async def _keys(self, request: Request) -> Response:
        self.served[request.url.path] += 1
        fault = await self._failing(request)
        return fault or Response(self.key_set(), media_type="application/jwk-set+json")

    async def _failing(self, request: Request) -> Response | None:
        if self.fault is None or "followed" in request.query_params:
            return None
        if self.fault is IssuerFault.SLOW:
            await asyncio.sleep(self.slow_seconds)
            return None
        if self.fault is IssuerFault.REDIRECT:
            return RedirectResponse(f"{request.url.path}?followed=1", status_code=302)
        return _broken(self.fault)

    async def _token(self, request: Request) -> Response:
        self.served[request.url.path] += 1
        no_store = {"cache-control": "no-store"}  # RFC 6749 section 5.1
        try:
            form = await _form(request)
            client = self._client(request.headers.get("authorization"), form)
            return JSONResponse(self.issue(client, _scope_asked(form)), headers=no_store)
        except TokenRefused as refused:
            challenge = {"www-authenticate": "Basic"} if refused.status == 401 else {}  # noqa: PLR2004
            return JSONResponse({"error": refused.error}, refused.status, headers=no_store | challenge)

    def _client(self, authorization: str | None, form: Mapping[str, str]) -> SandboxClient:
        """By HTTP Basic or by the form, never by both (RFC 6749 section 2.3)."""
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization is not None:
            if secret:
                raise TokenRefused("invalid_request")
            name, secret = _basic(authorization)
        client = self.clients.get(name)
        if client is None or not hmac.compare_digest(client.secret.encode(), secret.encode()):
            raise TokenRefused("invalid_client", 401)
        return client


def _broken(fault: IssuerFault) -> Response:
    if fault is IssuerFault.DOWN:
        return Response(status_code=503)
    if fault is IssuerFault.HUGE:
        return Response(b'{"keys": [], "padding": "' + b"x" * _HUGE + b'"}')
    if fault is IssuerFault.ZIPPED:
        return Response(gzip.compress(b'{"keys": []}'), headers={"content-encoding": "gzip"})
    return Response(b"<!doctype html><title>Sign in</title>", media_type="text/html")


def _scope_asked(form: Mapping[str, str]) -> str | None:
    if form.get("grant_type") != "client_credentials":
        raise TokenRefused("unsupported_grant_type")
    return form.get("scope")


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise TokenRefused("invalid_client", 401) from None
    if scheme.lower() != "basic":
        raise TokenRefused("invalid_client", 401)
    return unquote_plus(name), unquote_plus(secret)


async def _form(request: Request) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM:
            raise TokenRefused("invalid_request")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True) if body else []
    except ValueError:
        raise TokenRefused("invalid_request") from None
    form = dict(pairs)
    if len(form) != len(pairs):  # RFC 6749 section 3.2: no parameter more than once
        raise TokenRefused("invalid_request")
    return form
