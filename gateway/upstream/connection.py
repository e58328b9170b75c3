"""One connection to the FHIR server, one exchange at a time; it alone knows whether a byte may have left.

Before `begin` has handed the message to the transport nothing was sent; from then on it may have been, whatever
happens. Nothing is ever written twice.
"""

import asyncio
import select
from collections.abc import Callable
from typing import cast

from gateway.saga.ports import AnswerLost, AnswerTooLarge, Headers, NotSent, UpstreamAnswer
from gateway.upstream.answer import AnswerReader, BrokenAnswer, OversizedAnswer

_MOST_BUFFERED = 262_144  # of a streamed body that nobody has taken yet; then reading pauses
_NO_BOUND = 1 << 62


class Connection(asyncio.Protocol):
    """A protocol for `create_connection`. `gone` is told once, when the connection is closed or can only close."""

    __slots__ = (
        "_busy",
        "_fault",
        "_gone",
        "_loop",
        "_paused",
        "_poll",
        "_reader",
        "_secure",
        "_streamed",
        "_timer",
        "_transport",
        "_used",
        "_waiter",
        "idle_since",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, gone: Callable[["Connection"], None]) -> None:
        self._loop = loop
        self._gone: Callable[[Connection], None] | None = gone
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._busy = self._paused = self._secure = self._streamed = self._used = False
        self._fault: AnswerLost | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.idle_since = 0.0

    # What the pool asks.

    def reusable(self) -> bool:
        """Whether the last exchange left the connection so that another can follow."""
        transport = self._transport
        return (
            not self._busy
            and transport is not None
            and not transport.is_closing()
            and (self._reader.keep or not self._used)
            and transport.get_write_buffer_size() == 0
        )

    def quiet(self) -> bool:
        """Whether nothing came since: no end, and no bytes that would pass for the answer to the next request.

        Asked of the kernel, as the loop may not have looked yet (RFC 9112 section 9.5: a server closes idle
        connections at any time). Over TLS a first session ticket is no surprise.
        """
        if self._transport is None or self._transport.is_closing():
            return False
        return self._poll is None or (self._secure and not self._used) or not self._poll.poll(0)

    def abort(self) -> None:
        """Close at once; an exchange under way ends as AnswerLost."""
        self._lose(AnswerLost("the exchange was given up"))

    # One exchange.

    async def send(self, content: bytes, *, bodiless: bool, most: int, seconds: float) -> UpstreamAnswer:
        """Write a message, read the whole answer. Raises NotSent or AnswerLost; a cancelled caller closes."""
        self._begin(content, bodiless=bodiless, most=most, seconds=seconds)
        await self._woken()
        reader = self._reader
        return UpstreamAnswer(status=reader.status, headers=reader.head(), body=bytes(reader.body))

    async def open(self, content: bytes, *, bodiless: bool, seconds: float) -> None:
        """Write a message, read the head of the answer; then `piece` by `piece`, all within `seconds`."""
        self._streamed = True
        self._begin(content, bodiless=bodiless, most=_NO_BOUND, seconds=seconds)
        while not self._reader.head_complete:
            await self._woken()

    def head(self) -> tuple[int, Headers]:
        """Status and header fields of the answer that was opened."""
        return self._reader.status, self._reader.head()

    async def piece(self) -> bytes:
        """What came of the body since; empty at its end. Raises AnswerLost."""
        reader = self._reader
        while not reader.body:
            if self._fault is not None:
                raise self._fault
            if reader.complete:
                return b""
            await self._woken()
        taken, reader.body = bytes(reader.body), bytearray()
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return taken

    def _begin(self, content: bytes, *, bodiless: bool, most: int, seconds: float) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or self._busy:
            raise NotSent("the connection had closed")
        self._reader.begin(bodiless=bodiless, most=most)
        self._busy = self._used = True
        self._timer = self._loop.call_later(seconds, self._time_out)
        transport.write(content)

    async def _woken(self) -> None:
        """Sleep until something happened. Raises AnswerLost."""
        if self._fault is None and self._busy:
            self._waiter = waiter = self._loop.create_future()
            try:
                await waiter
            except asyncio.CancelledError:
                self.abort()
                raise
        if self._fault is not None:
            raise self._fault

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _time_out(self) -> None:
        self._lose(AnswerLost("no answer in time", timed_out=True))

    def _finish(self) -> None:
        self._busy = self._streamed = False
        if self._timer is not None:
            self._timer.cancel()
        self._wake()

    def _lose(self, fault: AnswerLost) -> None:
        if self._busy:
            self._fault = fault
            self._finish()
        if self._transport is not None:
            self._transport.abort()
        self._leave()

    def _leave(self) -> None:
        gone, self._gone = self._gone, None
        if gone is not None:
            gone(self)

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from it
        self._secure = transport.get_extra_info("sslcontext") is not None
        connected = transport.get_extra_info("socket")
        if connected is not None:
            self._poll = select.poll()
            self._poll.register(connected.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self.abort()  # nobody asked
            return
        reader = self._reader
        try:
            reader.feed(data)
        except BrokenAnswer as broken:
            self._lose(_lost(broken))
            return
        if reader.complete:
            self._finish()
        elif self._streamed and reader.head_complete:
            if len(reader.body) > _MOST_BUFFERED and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
            self._wake()

    def eof_received(self) -> bool:
        if self._busy:
            try:
                self._end()
            except BrokenAnswer as broken:
                self._lose(_lost(broken))
            else:
                self._finish()
        return False

    def _end(self) -> None:
        # Over TLS a cut looks like an end to us (RFC 9112 section 9.8), so there only a length ends an answer.
        if self._secure:
            raise BrokenAnswer("the connection was closed before the end of the answer")
        self._reader.end()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (why makes no difference)
        self._transport = None
        self._lose(AnswerLost("the exchange broke off"))


def _lost(broken: BrokenAnswer) -> AnswerLost:
    return (AnswerTooLarge if isinstance(broken, OversizedAnswer) else AnswerLost)(str(broken))
