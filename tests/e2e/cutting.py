"""A TCP relay in front of PostgreSQL that cuts the line at a chosen message."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self


class Cutter:
    """`cut` waits for a message of the client that holds a text, and cuts the line there, once."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._wanted: bytes | None = None
        self._deliver = self._then_refuse = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cuts = 0
        self.refuse = False

    def cut(self, wanted: bytes, *, deliver: bool, then_refuse: bool = False) -> None:
        """With `deliver` the server gets the message, and the client never hears of it."""
        self._wanted, self._deliver, self._then_refuse = wanted, deliver, then_refuse

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refuse:
            back.transport.abort()
            return
        answers, server = await asyncio.open_connection("127.0.0.1", self._target)
        answering = asyncio.create_task(_pump(answers, back))
        try:
            while data := await client.read(65_536):
                if self._wanted is not None and self._wanted in data:
                    self._wanted, self.refuse = None, self._then_refuse
                    self.cuts += 1
                    answering.cancel()
                    if self._deliver:
                        server.write(data)
                        await server.drain()
                        # The server has to read it before the line ends.
                        await answers.read(1)
                    break
                server.write(data)
                await server.drain()
        except OSError:
            pass
        finally:
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await answering
            back.transport.abort()
            server.transport.abort()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
