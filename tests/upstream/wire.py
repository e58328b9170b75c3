"""A server of raw sockets that does to a connection what a test says."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from gateway.upstream.client import UpstreamClient
from gateway.upstream.pool import UpstreamConnections
from gateway.upstream.settings import UpstreamSettings

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


@dataclass(slots=True)
class Delivered:
    """What arrived, whole, and on which connection."""

    head: bytes
    body: bytes
    connection: int

    @property
    def line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode()

    def header(self, name: bytes) -> list[bytes]:
        lines = self.head.split(b"\r\n")[1:]
        return [value.strip() for key, _, value in (line.partition(b":") for line in lines) if key.lower() == name]


Reply = Callable[[Delivered, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Wire:
    """`reply` answers each delivered request; None hangs up as soon as somebody connects."""

    reply: Reply | None
    delivered: list[Delivered] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while self.reply is not None:
                head = await reader.readuntil(b"\r\n\r\n")
                found = _LENGTH.search(head)
                body = await reader.readexactly(int(found[1])) if found else b""
                request = Delivered(head, body, number)
                self.delivered.append(request)
                await self.reply(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()


def answer(status: str = "200 OK", body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def replying(raw: bytes) -> Reply:
    async def reply(request: Delivered, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return reply


async def reset(request: Delivered, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def silent(request: Delivered, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


@asynccontextmanager
async def listening(reply: Reply | None) -> AsyncIterator[Wire]:
    wire = Wire(reply)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()


Client = UpstreamClient | UpstreamConnections
MakeClient = Callable[..., AbstractAsyncContextManager[Client]]


def making(kind: type[Client]) -> MakeClient:
    """Makes started clients of a kind, given the server's port (or `url`) and settings."""

    @asynccontextmanager
    async def client_of(port: int, *, url: str | None = None, **settings: object) -> AsyncIterator[Client]:
        base = url or f"http://127.0.0.1:{port}/fhir"
        client = kind(UpstreamSettings(url=base, **settings))  # type: ignore[arg-type] # test values
        await client.start()
        try:
            yield client
        finally:
            await client.close()

    return client_of


client_of = making(UpstreamConnections)
