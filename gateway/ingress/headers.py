"""Which headers cross the gateway, each way: allow-lists, so that a header nobody thought of stays outside.

HAPI acts on `Content-Location` (it overrides the id of a PUT), `X-Rewrite-History`, `X-Cascade`,
`X-Request-Partition-IDs` and more; other stacks on `X-HTTP-Method-Override`. None of them is on the list.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from gateway.saga.ports import Headers

# RFC 7240 section 4.2 and http://hl7.org/fhir/R4/http.html#ops: what may come back. `respond-async` would turn a
# judged write into one that happens later, out of sight.
_PREFER = re.compile(r"return=\"?(minimal|representation|OperationOutcome)\"?\Z")
_ENTITY_TAGS = re.compile(r"(?:\*|(?:W/)?\"[!#-~]{0,64}\"(?:\s*,\s*(?:W/)?\"[!#-~]{0,64}\"){0,15})\Z")
_HTTP_DATE = re.compile(r"[A-Za-z]{3}, [0-9]{2} [A-Za-z]{3} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT\Z")
_FRESH = frozenset({"no-cache", "no-store"})

_PLAIN_RESPONSE = frozenset(
    {
        b"allow",
        b"cache-control",
        b"content-language",
        b"content-type",
        b"etag",
        b"expires",
        b"last-modified",
        b"retry-after",
        b"vary",
    }
)
_URL_RESPONSE = frozenset({b"location", b"content-location"})
_NOT_IN_URLS = re.compile(r"[^!-~]|[\"<>\\^`{|}]")
# What nearly every answer's Location is: [type]/[id] or [type]/[id]/_history/[version] straight below the base.
_PLAIN_BELOW = re.compile(
    r"/[A-Za-z]+/[A-Za-z0-9\-][A-Za-z0-9\-.]{0,63}(?:/_history/[A-Za-z0-9\-][A-Za-z0-9\-.]{0,63})?\Z"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def end_to_end(headers: Mapping[str, tuple[str, ...]]) -> Headers:
    """The client's headers that go upstream, in canonical form. Names are lower case.

    Content-Type, Accept, If-Match, If-None-Exist and X-Request-ID are never the client's: the gateway writes
    its own, for what it judged.
    """
    hop_by_hop = _named_by_connection(headers)
    kept: list[tuple[bytes, bytes]] = []
    if "prefer" in headers and "prefer" not in hop_by_hop and (wish := _prefer(headers["prefer"])):
        kept.append((b"prefer", wish))
    for name, form in (("if-none-match", _ENTITY_TAGS), ("if-modified-since", _HTTP_DATE)):
        values = headers.get(name, ())
        if len(values) == 1 and name not in hop_by_hop and form.match(values[0]):
            kept.append((name.encode(), values[0].encode("latin-1")))
    if "cache-control" in headers and "cache-control" not in hop_by_hop:
        wishes = _FRESH.intersection(_tokens(headers["cache-control"]))
        if wishes:
            kept.append((b"cache-control", ", ".join(sorted(wishes)).encode()))
    return tuple(kept)


def _tokens(values: tuple[str, ...]) -> list[str]:
    return [token.strip().lower() for value in values for token in value.split(",")]


def _named_by_connection(headers: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    # RFC 9110 section 7.6.1: a header named by Connection is for this hop only.
    values = headers.get("connection")
    return frozenset(_tokens(values)) if values else frozenset()


def _prefer(values: tuple[str, ...]) -> bytes | None:
    for value in values:
        for preference in value.split(","):
            # RFC 7240 section 2: the first of several equal preferences counts.
            if match := _PREFER.match(preference.strip()):
                return f"return={match[1]}".encode()
    return None


def response_headers(headers: Headers, *, upstream_base: str, public_base: str) -> Headers:
    """The upstream's headers that reach the client, in the order and multiplicity of the wire.

    `Location` and `Content-Location` speak of the public base; one that points elsewhere is dropped. Framing
    headers (Content-Length, Transfer-Encoding) belong to each hop and are written anew.
    """
    hop_by_hop = frozenset(
        token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")
    )
    kept: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name in hop_by_hop:
            continue
        if name in _PLAIN_RESPONSE:
            kept.append((name, value))
        elif name in _URL_RESPONSE:
            url = rewrite_url(value.decode("latin-1"), upstream_base, public_base)
            if url is not None:
                kept.append((name, url.encode("ascii")))
    return tuple(kept)


def rewrite_url(value: str, upstream_base: str, public_base: str) -> str | None:
    """A URL of the upstream as the client must see it, or None when it does not lie under the upstream's base."""
    if value.startswith(upstream_base) and _PLAIN_BELOW.match(value, len(upstream_base)):
        return public_base + value[len(upstream_base) :]
    return _rewrite_unusual(value, upstream_base, public_base)


def _rewrite_unusual(value: str, upstream_base: str, public_base: str) -> str | None:
    """Any form of URL.

    Absolute URLs and absolute paths must lie under the base; any other relative one is relative to the base
    (http://hl7.org/fhir/R4/http.html#create gives `[base]/[type]/[id]/_history/[vid]`).
    """
    if _NOT_IN_URLS.search(value) or value.startswith("//"):
        return None
    try:
        parts, base = urlsplit(value), urlsplit(upstream_base)
        if parts.scheme and (parts.scheme != base.scheme or _authority(value) != _authority(upstream_base)):
            return None
    except ValueError:
        return None
    path = parts.path
    if parts.scheme or path.startswith("/"):
        prefix = base.path.rstrip("/")
        if path != prefix and not path.startswith(f"{prefix}/"):
            return None
        path = path[len(prefix) :]
    elif path:
        path = f"/{path}"
    if "//" in path or any(segment in {".", ".."} for segment in path.split("/")):
        return None
    query = f"?{parts.query}" if parts.query else ""
    return f"{public_base}{path}{query}"


def _authority(url: str) -> tuple[str, int | None, bool]:
    """Host and port, with the default port filled in; True when the URL carries credentials."""
    parts = urlsplit(url)
    return (parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme), parts.username is not None)
