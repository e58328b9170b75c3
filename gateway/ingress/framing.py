"""Decides whether the framing of a request can be read in exactly one way (RFC 9112), before anything else.

Works on the ASGI scope's raw values only: never on a decoded path, never on what `Host` says. A proxy and the
server behind it that disagree about where a request ends, or what it names, are how requests are smuggled.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.errors import (
    BadFraming,
    HeadersTooLarge,
    InteractionNotSupported,
    Issue,
    IssueCode,
    MediaTypeNotSupported,
    NotFound,
)

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32_768

RawHeaders = Sequence[tuple[bytes, bytes]]

# Methods are case-sensitive (RFC 9110 section 9.1); what each may do on a path is `fhir/interaction`'s to say.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ALLOWED = ("GET", "HEAD", "POST", "PUT")
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
_ORIGIN_FORM = re.compile(rb"/[!\x22$-~]*\Z")  # visible ASCII, without the fragment's #
_QUERY = re.compile(rb"[!\x22$-~]*\Z")
_CONTROL = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
_LENGTH = re.compile(r"[0-9]{1,18}\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")
_NONE: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """A request line and header block whose framing is sound.

    `path` is raw and below the base, without its leading slash; `query` is raw, without `?`. `headers` has
    lower-case names, each with its values in the order of the wire, decoded as Latin-1 (RFC 9110 section 5.5).
    `content_length` is None for a chunked body and 0 for none.
    """

    method: str
    path: bytes
    query: bytes
    headers: Mapping[str, tuple[str, ...]]
    content_length: int | None
    expects_continue: bool

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of a header, as sent."""
        return self.headers.get(name, _NONE)


def examine(
    *, method: str, raw_path: bytes, query: bytes, http_version: str, raw_headers: RawHeaders, base_path: bytes
) -> RequestHead:
    """Read a request head. `base_path` is the raw path of `public_url`, empty for the root.

    Raises BadFraming, HeadersTooLarge, MediaTypeNotSupported, InteractionNotSupported, NotFound.
    """
    headers = _collect(raw_headers)
    if not _ORIGIN_FORM.match(raw_path) or not _QUERY.match(query):
        # RFC 9112 section 3.2: absolute-form is for proxies and would name a second authority.
        raise _bad("The request target must be a plain path and query.")
    _check_host(headers)
    length = _body_length(headers, http_version)
    expects_continue = _check_expectations(headers)
    if method not in _METHODS:
        raise InteractionNotSupported(
            Issue(code=IssueCode.NOT_SUPPORTED, text="This method is not served here."), allowed=_ALLOWED
        )
    if length != 0 and method in _BODILESS:
        raise _bad("A request with this method must have no body.")
    codings = headers.get("content-encoding", _NONE)
    if codings and codings != ("identity",):
        raise MediaTypeNotSupported(
            Issue(code=IssueCode.NOT_SUPPORTED, text="Bodies are read without Content-Encoding only.")
        )
    return RequestHead(
        method=method,
        path=below(raw_path, base_path),
        query=query,
        headers=headers,
        content_length=length,
        expects_continue=expects_continue,
    )


def below(raw_path: bytes, base_path: bytes) -> bytes:
    """The part of a path below the base, without its leading slash. Raises NotFound for any other path."""
    if raw_path == base_path:
        return b""
    if raw_path.startswith(base_path) and raw_path[len(base_path) : len(base_path) + 1] == b"/":
        return raw_path[len(base_path) + 1 :]
    raise NotFound(Issue(code=IssueCode.NOT_FOUND, text="Nothing is served here."))


def _bad(text: str) -> BadFraming:
    return BadFraming(Issue(code=IssueCode.STRUCTURE, text=text))


def _collect(raw_headers: RawHeaders) -> dict[str, tuple[str, ...]]:
    if len(raw_headers) > MAX_HEADERS:
        raise HeadersTooLarge(Issue(code=IssueCode.TOO_LONG, text=f"At most {MAX_HEADERS} headers are read."))
    headers: dict[str, tuple[str, ...]] = {}
    size = 0
    for raw_name, raw_value in raw_headers:
        size += len(raw_name) + len(raw_value) + 4
        name = raw_name.decode("latin-1")
        value = raw_value.decode("latin-1")
        headers[name] = (*headers[name], value) if name in headers else (value,)
    if size > MAX_HEADER_BYTES:
        raise HeadersTooLarge(Issue(code=IssueCode.TOO_LONG, text="The header block is too large."))
    values = b"".join([value for _, value in raw_headers])
    if len(values.translate(None, _CONTROL)) != len(values):
        raise _bad("A header value holds a control character.")
    return headers


def _check_host(headers: Mapping[str, tuple[str, ...]]) -> None:
    # RFC 9112 section 3.2: a missing, repeated or invalid Host is answered with 400. Nothing is decided on it.
    hosts = headers.get("host", _NONE)
    if len(hosts) != 1 or not _HOST.match(hosts[0]):
        raise _bad("Exactly one valid Host header is needed.")


def _body_length(headers: Mapping[str, tuple[str, ...]], http_version: str) -> int | None:
    """The length of the body, or None when it is chunked (RFC 9112 section 6.3)."""
    lengths = headers.get("content-length", _NONE)
    codings = headers.get("transfer-encoding", _NONE)
    if http_version not in {"1.1", "1.0"}:
        raise _bad("Only HTTP/1.1 is served.")
    if codings:
        if lengths or http_version == "1.0" or len(codings) != 1 or codings[0].lower() != "chunked":
            raise _bad("Transfer-Encoding must be exactly chunked, and alone.")
        return None
    if not lengths:
        return 0
    if len(lengths) != 1 or not _LENGTH.match(lengths[0]):
        raise _bad("Content-Length must be one decimal number.")
    return int(lengths[0])


def _check_expectations(headers: Mapping[str, tuple[str, ...]]) -> bool:
    if "upgrade" in headers:
        raise _bad("Upgrading the connection is not supported.")
    expected = headers.get("expect", _NONE)
    if not expected:
        return False
    if len(expected) != 1 or expected[0].lower() != "100-continue":
        # RFC 9110 section 10.1.1 defines no other expectation; 400 rather than 417 also ends the connection.
        raise _bad("Expect: 100-continue is the only expectation that can be met.")
    return True
