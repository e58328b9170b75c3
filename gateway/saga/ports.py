"""The FHIR server as a port: what the straight line asks of it, and the three ways an exchange can end."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamRequest:
    """One request. `path` and `query` are raw and relative to the upstream's base (`Observation/12`, no `?`).

    `headers` come from the allow-list and have lower-case names; host, content-length and the gateway's own
    credentials are added by the adapter. `urgent` (looks and undos of settling) goes before everything that waits:
    forbidden data is on the server as long as it waits. `may_leave` is asked right before the first byte leaves, after
    every wait for a connection; when it says no, the request ends as NotSent.
    """

    method: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes = b""
    urgent: bool = False
    may_leave: Callable[[], bool] | None = None


def as_recorded(request: UpstreamRequest, write_id: str, may_leave: Callable[[], bool]) -> UpstreamRequest:
    """The write under its own request id and no other: that is how it is found again. Held back at the last instant."""
    kept = tuple(header for header in request.headers if header[0] != b"x-request-id")
    # Written out: `dataclasses.replace` takes twice as long.
    return UpstreamRequest(
        method=request.method,
        path=request.path,
        query=request.query,
        headers=(*kept, (b"x-request-id", write_id.encode())),
        body=request.body,
        urgent=request.urgent,
        may_leave=may_leave,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamAnswer:
    """A complete answer. Header names are lower case, in the order of the wire."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> str | None:
        """The first value of a header, decoded as Latin-1 (RFC 9110 section 5.5), or None."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None


class StreamedAnswer(Protocol):
    """An answer whose body is read piece by piece. Use as an async context manager."""

    status: int
    headers: Headers

    def chunks(self) -> AsyncIterator[bytes]: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class NotSent(Exception):
    """No byte of the request left (refused connection, name or TLS failure): nothing can have been stored."""


class Unreachable(NotSent):
    """No connection to the server: it, or the way to it, is at fault, and not this one request."""


class Overloaded(NotSent):
    """Turned away here, at once: too many requests wait, or the server is known not to answer."""


class TooLate(NotSent):
    """Held back here at the last instant: whoever wanted it sent may no longer do so."""


class AnswerLost(Exception):
    """Some of the request may have left and no complete answer came: the write is in doubt.

    `timed_out` tells a time-out from a broken connection.
    """

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.timed_out = timed_out


class AnswerTooLarge(AnswerLost):
    """The answer is past the limit: the server works, and the write is in doubt all the same."""


class Upstream(Protocol):
    """The FHIR server. Never follows redirects, retries, keeps cookies or decompresses."""

    async def send(self, request: UpstreamRequest, *, seconds: float | None = None) -> UpstreamAnswer:
        """One exchange, read whole (bounded) within `seconds`. Raises NotSent or AnswerLost."""

    def stream(self, request: UpstreamRequest) -> StreamedAnswer:
        """One exchange whose body is streamed; entering raises NotSent or AnswerLost."""
