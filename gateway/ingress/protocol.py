"""uvicorn's httptools protocol, with what it leaves open closed: raw targets, deadlines and bounds of the head.

What can be judged from the parsed head is left to `framing.examine`, so that such refusals are answered, counted
and recorded like any other. Here is only what is lost after parsing, or never gets that far:
- the raw request target (uvicorn drops the authority of an absolute-form target, and fragments);
- streams that are not HTTP at all, answered with an OperationOutcome instead of plain text;
- heads that are too large or too slow, and bodies still trickling in after their answer was sent.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway import exhausted
from gateway.errors import BadFraming, GatewayError, HeadersTooLarge, Issue, IssueCode, RequestTimedOut
from gateway.ingress.coalescing import CoalescingTransport
from gateway.ingress.framing import MAX_HEADER_BYTES
from gateway.ingress.responses import Reply

_LINGER_SECONDS = 1.0
_MAX_IDLE_BYTES = 65_536
_MAX_HEAD_BYTES = MAX_HEADER_BYTES + 16_384  # the header block, and the request line


class Refuse(Protocol):
    """Turns an error into the whole answer for it, recording it on the way."""

    def __call__(self, error: GatewayError) -> Reply: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """Seconds for a whole request head to arrive, and for the rest of a body whose answer was already sent."""

    head_seconds: float = 10.0


def strict_protocol(refuse: Refuse, limits: WireLimits | None = None) -> "type[StrictHttpProtocol]":
    """The protocol class for `uvicorn.Config(http=…)`."""
    chosen = limits or WireLimits()
    return type("BoundStrictHttpProtocol", (StrictHttpProtocol,), {"refuse": staticmethod(refuse), "limits": chosen})


class _NoTrailers(list[tuple[bytes, bytes]]):
    """Stands where header fields would go once the head is over: the first one is doubtful framing."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        raise ValueError("a trailer")


class StrictHttpProtocol(HttpToolsProtocol):
    """One client connection. Bound to `refuse` and `limits` by `strict_protocol`."""

    refuse: Callable[[GatewayError], Reply]
    limits: WireLimits

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state, _loop=_loop)
        self._in_head = False
        self._head_bytes = 0
        self._idle_bytes = 0
        self._message_since: float | None = None
        self._refused = False
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", CoalescingTransport(transport, self.loop)))
        self._message_since = self.loop.time()
        self._watch = self.loop.call_later(self.limits.head_seconds, self._check_time)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        if self._in_head or self._is_idle():
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # CONNECT, or an Upgrade that `framing` refuses: whatever follows is in another protocol.
            self._leave_after_answer()
        except httptools.HttpParserError as error:
            exhausted.end_if(error)  # what a callback raised
            self._refuse_connection(BadFraming(Issue(code=IssueCode.STRUCTURE, text="This is not valid HTTP/1.1.")))
        else:
            self._idle_bytes += len(data)
            self._check_bounds()

    def _check_bounds(self) -> None:
        # Bytes of a line that is not complete yet pile up in the parser, out of sight: of a head, or between the
        # chunks of a body (extensions, a trailer).
        if self._in_head and self._head_bytes > _MAX_HEAD_BYTES:
            text = "The request line and header block are too large."
            self._refuse_connection(HeadersTooLarge(Issue(code=IssueCode.TOO_LONG, text=text)))
        elif self._message_since is not None and not self._in_head and self._idle_bytes > _MAX_IDLE_BYTES:
            text = "Too much stands between the chunks of the body."
            self._refuse_connection(BadFraming(Issue(code=IssueCode.TOO_LONG, text=text)))

    def on_message_begin(self) -> None:
        self._in_head = True
        self._message_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()
        # The list so far is the scope's. uvicorn would append trailers to it, and an Authorization that came after
        # the body would be judged like a header (RFC 9110 section 6.5.1 forbids the merge).
        self.headers = _NoTrailers()
        # Judge what was sent, not what a URL parser made of it: an absolute-form target keeps its scheme here.
        path, _, query = self.url.partition(b"?")
        self.scope["raw_path"] = path
        self.scope["query_string"] = query

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = -len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._message_since = None
        self._idle_bytes = 0
        super().on_message_complete()

    def _is_idle(self) -> bool:
        """Between two messages."""
        return self._message_since is None or self._current() is None

    def _current(self) -> RequestResponseCycle | None:
        """The request whose head was read last; None before the first."""
        return self.cycle

    def _is_answering(self) -> bool:
        cycle = self._current()
        return cycle is not None and not cycle.response_complete

    def _check_time(self) -> None:
        now = self.loop.time()
        wait = self.limits.head_seconds
        if self._is_answering():
            # The deadline of a body that is being read is the reader's; a pipelined head waits for our answer.
            self._message_since = None if self._message_since is None else now
        elif self._message_since is not None:
            wait = self._message_since + self.limits.head_seconds - now
            if wait <= 0:
                self._time_out()
                return
        self._watch = self.loop.call_later(wait, self._check_time)

    def _time_out(self) -> None:
        if self._in_head:
            text = "The request head took too long to arrive."
            self._refuse_connection(RequestTimedOut(Issue(code=IssueCode.TIMEOUT, text=text)))
        else:
            self.transport.close()

    def _leave_after_answer(self) -> None:
        self._refused = True
        if self._is_answering():
            self.cycle.keep_alive = False
        else:
            self.transport.close()

    def _refuse_connection(self, error: GatewayError) -> None:
        """Answer and close; when another answer is under way on this connection, only close after it."""
        self._refused = True
        if self._is_answering() and (self._in_head or self.cycle.response_started):
            self.cycle.keep_alive = False
            self.pipeline.clear()
            return
        if self._is_answering():
            # Its body can never be read to the end: the application sees the client go.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._write(self.refuse(error))
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _write(self, reply: Reply) -> None:
        content = [STATUS_LINE[reply.status]]
        for name, value in (*self.server_state.default_headers, *reply.headers):
            content += [name, b": ", value, b"\r\n"]
        content += [b"content-length: ", str(len(reply.body)).encode(), b"\r\nconnection: close\r\n\r\n", reply.body]
        self.transport.write(b"".join(content))
        if self.transport.can_write_eof():
            # Half-closed: the client reads the answer to its end while what it still sends is thrown away.
            self.transport.write_eof()
