"""A proxy on real sockets that breaks exchanges as networks do. Each fault strikes once, by the name in the request.

A write that holds `fault:NAME` or `fault:NAME.case` is struck by that fault; everything else passes. Bounded: so many
connections, so many bytes, so many seconds.
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass, field

_MOST_BYTES = 1_000_000
_MOST_CONNECTIONS = 200
_MOST_SECONDS = 20.0
_SECOND = 2
_NAME = re.compile(rb"fault:([a-z0-9.-]+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass(slots=True)
class FaultProxy:
    """Between a client and one server on the loopback. `refusing` closes the door altogether.

    Faults: `stall` (never an answer), `cut-up-N` (N bytes of the request pass, then the connection breaks),
    `cut-down-N` (N bytes of the answer pass), `drop` (delivered, the answer is dropped), `late` (delivered after
    the client gave up), `twice-N` (delivered two times; the answer to the Nth comes back). With `refuses_after` the
    door closes behind so many exchanges: their answers still arrive.
    """

    upstream_port: int
    late_seconds: float = 2.0
    refuses_after: int | None = None
    struck: set[bytes] = field(default_factory=set)
    delivered: list[bytes] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def start(self) -> "FaultProxy":
        """Listen on a port of its own, or on the one it had."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=_MOST_BYTES)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def refuse(self) -> None:
        """From now on connections are refused, and those that stand are broken."""
        if self._server is not None:
            self._server.close()
        await self.close()

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection ends with it."""
        request = await _message(reader)
        kind, number = self._fault(request)
        if kind == "stall":
            await asyncio.sleep(_MOST_SECONDS)
            return False
        if kind == "cut-up":
            await self._deliver(request[:number], answered=number >= len(request))
            return False
        if kind == "late":
            writer.transport.abort()
            await asyncio.sleep(self.late_seconds)
        answer = await self._deliver(request)
        if kind == "twice":
            second = await self._deliver(request)
            answer = second if number == _SECOND else answer
        if kind in ("drop", "late"):
            return False
        last = self._closes_the_door()
        writer.write(answer[:number] if kind == "cut-down" else answer)
        await writer.drain()
        return kind != "cut-down" and not last

    def _closes_the_door(self) -> bool:
        """Whether this is the last exchange; every other connection is broken then."""
        if self.refuses_after is None:
            return False
        self.refuses_after -= 1
        if self.refuses_after > 0 or self._server is None:
            return False
        self._server.close()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        return True

    def _fault(self, request: bytes) -> tuple[str, int]:
        found = _NAME.search(request)
        # Undos and lookups do not carry the name; a restore may, and passes.
        if found is None or found[0] in self.struck or not request.startswith((b"POST", b"PUT")):
            return "", 0
        self.struck.add(found[0])
        name = found[1].decode().partition(".")[0]
        kind, _, number = name.rpartition("-")
        return (kind, int(number)) if number.isdigit() else (name, 0)

    async def _deliver(self, request: bytes, *, answered: bool = True) -> bytes:
        """Write to the server, and read its answer if the request was whole."""
        async with asyncio.timeout(_MOST_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream_port, limit=_MOST_BYTES)
            try:
                writer.write(request)
                await writer.drain()
                if not answered:
                    return b""
                self.delivered.append(request)
                return await _message(reader)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP/1.1 message with Content-Length (RFC 9112 section 6.2), as all of these are."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length[1])) if length else b""
    return head + body
