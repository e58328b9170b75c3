"""One request as the bytes of its message: exactly what was judged, or nothing."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.saga.ports import NotSent, UpstreamRequest

_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"[A-Za-z0-9.\-_]+(?::[0-9]*)?|\[[0-9A-Fa-f:.]+\](?::[0-9]*)?").fullmatch
_METHOD = re.compile(r"[A-Z]+").fullmatch
# RFC 3986 section 3.3, less dot segments (also written %2e), which a server would resolve to another path.
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*").fullmatch
_DOT_SEGMENT = re.compile(r"(?i)(?:^|/)(?:\.|%2e){1,2}(?:/|$)").search
# Looser than RFC 3986 section 3.4: `|` stands unencoded in FHIR searches. Nothing here ends a request line.
_QUERY = re.compile(r"[!$-;=?-~]*").fullmatch
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_VALUE = re.compile(rb"[\t -~\x80-\xff]*").fullmatch
# What frames the message, belongs to the connection, or is the adapter's to say.
_NOT_FROM_A_CALLER = frozenset(
    {
        b"accept-encoding",
        b"authorization",
        b"connection",
        b"content-length",
        b"cookie",
        b"expect",
        b"host",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"user-agent",
    }
)
# RFC 9110 section 8.6: these say the length of their content even when there is none.
_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the server is. `base` ends with a slash; `fixed` is what stands in every head after the target."""

    secure: bool
    host: str
    port: int
    base: str
    fixed: bytes


def origin_of(url: str) -> Origin:
    """The origin of a FHIR base. Raises ValueError when it is not an absolute http or https URL of visible ASCII."""
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "?" in url or "#" in url:
        raise ValueError("not an http or https base")
    base = parts.path.rstrip("/") + "/"
    if not _AUTHORITY(parts.netloc) or not _PATH(base) or _DOT_SEGMENT(base):
        raise ValueError("not an http or https base")
    usual = _DEFAULT_PORTS[parts.scheme]
    port = usual if parts.port is None else parts.port
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    named = host if port == usual else f"{host}:{port}"
    fixed = f" HTTP/1.1\r\nhost: {named}\r\nuser-agent: fhir-policy-gateway\r\naccept-encoding: identity\r\n"
    return Origin(
        secure=parts.scheme == "https", host=parts.hostname, port=port, base=base, fixed=fixed.encode("ascii")
    )


def message(request: UpstreamRequest, origin: Origin, authorization: str | None) -> bytes:
    """Head and content in one piece, for one system call. Raises NotSent for what cannot be sent as it is."""
    method, path, query = request.method, request.path, request.query
    if not _METHOD(method) or not _PATH(path) or _DOT_SEGMENT(path) or not _QUERY(query):
        raise NotSent("the request would not be sent as it was judged")
    target = f"{method} {origin.base}{path}?{query}" if query else f"{method} {origin.base}{path}"
    pieces = [target.encode("ascii"), origin.fixed]
    for name, value in request.headers:
        if name in _NOT_FROM_A_CALLER or not _NAME(name) or not _VALUE(value):
            raise NotSent("a header cannot be sent")
        pieces += (name, b": ", value, b"\r\n")
    if authorization is not None:
        pieces.append(_authorization(authorization))
    body = request.body
    if body or method in _WITH_CONTENT:
        pieces.append(b"content-length: %d\r\n\r\n" % len(body))
        pieces.append(body)
    else:
        pieces.append(b"\r\n")
    return b"".join(pieces)


def _authorization(text: str) -> bytes:
    if not text.isascii() or not text.isprintable():
        raise NotSent("the upstream credentials cannot be sent")
    return b"authorization: %b\r\n" % text.encode("ascii")
