"""Reads a request body whole, bounded in bytes and in time."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.errors import BadFraming, Issue, IssueCode, RequestTimedOut, TooLarge
from gateway.ingress.framing import RequestHead

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# What may be left unread on a connection that is kept: less than the server buffers anyway.
_DISCARDABLE = 65_536


class BodyReader:
    """The body of one request. `limit` is in bytes, `seconds` bounds the whole of it."""

    __slots__ = ("_consumed", "_head", "_limit", "_receive", "_seconds")

    def __init__(self, receive: Receive, head: RequestHead, *, limit: int, seconds: float) -> None:
        self._receive = receive
        self._head = head
        self._limit = limit
        self._seconds = seconds
        self._consumed = head.content_length == 0

    async def read(self) -> bytes:
        """The whole body; call it once. Raises TooLarge, RequestTimedOut, BadFraming (the client went away)."""
        if self._consumed:
            return b""
        declared = self._head.content_length
        if declared is not None and declared > self._limit:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._gather()
        except TimeoutError:
            raise RequestTimedOut(Issue(code=IssueCode.TIMEOUT, text="The body took too long to arrive.")) from None
        self._consumed = True
        return body

    async def _gather(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise BadFraming(Issue(code=IssueCode.INCOMPLETE, text="The connection ended before the body did."))
            piece = message.get("body", b"")
            size += len(piece)
            if size > self._limit:
                raise self._too_large()
            pieces.append(piece)
            if not message.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _too_large(self) -> TooLarge:
        return TooLarge(Issue(code=IssueCode.TOO_LONG, text=f"A body may have at most {self._limit} bytes."))

    @property
    def must_close(self) -> bool:
        """Whether the connection has to end after the answer, because too much of the body is still to come.

        What is left of a short body is read and thrown away by the server, inside its framing. After
        `Expect: 100-continue` nobody knows whether the client will send it (RFC 9110 section 10.1.1).
        """
        if self._consumed:
            return False
        declared = self._head.content_length
        return declared is None or declared > _DISCARDABLE or self._head.expects_continue
