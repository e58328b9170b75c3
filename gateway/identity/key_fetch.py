"""Fetches key sets and discovery documents: bounded in size and time, no redirects, from configured places only."""

import asyncio
import ssl
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx

from gateway.identity.settings import IssuerSettings, url_problem
from gateway.identity.strict_json import NotStrict, parse_object

MAX_DOCUMENT = 65_536  # bytes
_OK = 200
_HEADERS = {"accept": "application/json, application/jwk-set+json", "accept-encoding": "identity"}


class FetchFailed(Exception):
    """A document could not be had. The text holds nothing that the other side sent."""


def http_client(ca_file: Path | None = None) -> httpx.AsyncClient:
    """A client fit for keys: no proxies or .netrc from the environment, no redirects, no cookies kept.

    `ca_file`: PEM certificates of the only authorities to trust, for an issuer with a private one.
    """
    return httpx.AsyncClient(
        verify=True if ca_file is None else ssl.create_default_context(cafile=ca_file),
        trust_env=False,
        follow_redirects=False,
        timeout=5.0,
        limits=httpx.Limits(max_connections=10, max_keepalive_connections=2),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


async def fetch(client: httpx.AsyncClient, url: str, *, seconds: float) -> bytes:
    """The body of a 200 answer, at most MAX_DOCUMENT bytes, wholly read within `seconds`. Raises FetchFailed."""
    try:
        # One bound over the whole exchange: httpx's own time-outs are per read, and a slow drip never meets them.
        async with (
            asyncio.timeout(seconds),
            client.stream("GET", url, headers=_HEADERS, follow_redirects=False) as answer,
        ):
            if answer.status_code != _OK:
                raise FetchFailed(f"answered with status {answer.status_code}")
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                raise FetchFailed("answered with a content coding")
            return await _bounded(answer)
    except TimeoutError:
        raise FetchFailed("did not answer in time") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as fault:  # idna raises UnicodeError
        raise FetchFailed(f"could not be reached ({type(fault).__name__})") from None


async def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > MAX_DOCUMENT:
            raise FetchFailed("answered with too large a document")
    return bytes(body)


def discovery_urls(issuer: str) -> tuple[str, str]:
    """OpenID Connect Discovery section 4.1 (appended) and RFC 8414 section 3.1 (inserted before the path)."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    return (
        f"{origin}{path}/.well-known/openid-configuration",
        f"{origin}/.well-known/oauth-authorization-server{path}",
    )


async def discover(client: httpx.AsyncClient, settings: IssuerSettings, *, seconds: float) -> Mapping[str, object]:
    """The issuer's discovery document. Raises FetchFailed."""
    failures = []
    for url in discovery_urls(settings.issuer):
        try:
            return _read_discovery(await fetch(client, url, seconds=seconds), settings)
        except FetchFailed as fault:
            failures.append(str(fault))
    raise FetchFailed(f"the discovery document {failures[0]}")


def _read_discovery(content: bytes, settings: IssuerSettings) -> Mapping[str, object]:
    try:
        document = parse_object(content)
    except NotStrict as fault:
        raise FetchFailed(str(fault)) from None
    # RFC 8414 section 3.3: identical, or the document is another issuer's.
    if document.get("issuer") != settings.issuer:
        raise FetchFailed("names another issuer")
    return MappingProxyType(dict(document))


def jwks_uri_of(metadata: Mapping[str, object], settings: IssuerSettings) -> str:
    """Where a discovery document says the keys are. Raises FetchFailed for a place that must not be asked."""
    uri = metadata.get("jwks_uri")
    if not isinstance(uri, str):
        raise FetchFailed("the discovery document names no key set")
    problem = url_problem(uri, allow_insecure=settings.allow_insecure)
    if problem is not None:
        raise FetchFailed(f"the key set's URL {problem}")
    return uri
