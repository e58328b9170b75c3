"""The FHIR server over connections of our own: a bounded pool behind the port `saga.ports.Upstream`.

No redirects, no proxies, no cookies, no decompression, and no request is ever sent twice: what fails before its
message was handed to a connection is NotSent, everything after that AnswerLost.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from gateway.saga.ports import Headers, NotSent, Overloaded, TooLate, Unreachable, UpstreamAnswer, UpstreamRequest
from gateway.upstream.connection import Connection
from gateway.upstream.credentials import Authorization, authorization
from gateway.upstream.settings import UpstreamSettings
from gateway.upstream.wire import Origin, message, origin_of

_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 20.0  # below the 60 s that Tomcat and others keep a connection: fewer writes on one that is closing
_MOST_WAITING = 1_000


class UpstreamConnections:
    """`saga.ports.Upstream` over at most `max_connections`. `tls` replaces the system's certificate authorities.

    Raises ValueError for a URL that is not an http or https base.
    """

    def __init__(
        self,
        settings: UpstreamSettings,
        *,
        credentials: Authorization | None = None,
        tls: ssl.SSLContext | None = None,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        self._settings = settings
        self._origin = origin_of(settings.url)
        self._authorization = credentials or authorization(settings.credentials)
        self._tls = tls
        self._idle_seconds = idle_seconds
        self._pool: Pool | None = None

    async def start(self) -> None:
        """Make the pool; connections are opened when they are needed."""
        tls = self._tls
        if self._origin.secure and tls is None:
            tls = ssl.create_default_context()
            tls.set_alpn_protocols(["http/1.1"])
        self._pool = Pool(
            self._origin,
            tls if self._origin.secure else None,
            most=self._settings.max_connections,
            idle_seconds=self._idle_seconds,
        )

    async def close(self) -> None:
        """Close the pool; what is still under way ends as AnswerLost."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        await self._authorization.close()

    async def send(self, request: UpstreamRequest, *, seconds: float | None = None) -> UpstreamAnswer:
        """One exchange, read whole up to `max_answer_bytes` within `seconds`. Raises NotSent or AnswerLost."""
        pool, settings = self._started(), self._settings
        deadline = pool.loop.time() + (settings.timeout if seconds is None else seconds)
        content = message(request, self._origin, await self._authorization.value())
        connection = pool.take() or await pool.wait(deadline)
        try:
            if request.may_leave is not None and not request.may_leave():
                raise TooLate("it may no longer leave")
            return await connection.send(
                content,
                bodiless=request.method == "HEAD",
                most=settings.max_answer_bytes,
                seconds=left(pool.loop, deadline),
            )
        finally:
            pool.give_back(connection)

    def stream(self, request: UpstreamRequest) -> "UpstreamStream":
        """One exchange whose body is streamed; entering raises NotSent or AnswerLost."""
        return UpstreamStream(self, request)

    async def open(self, request: UpstreamRequest) -> "tuple[Pool, Connection]":
        """A connection on which the head of the answer was read, and the pool that wants it back."""
        pool = self._started()
        deadline = pool.loop.time() + self._settings.timeout
        content = message(request, self._origin, await self._authorization.value())
        connection = pool.take() or await pool.wait(deadline)
        try:
            await connection.open(content, bodiless=request.method == "HEAD", seconds=left(pool.loop, deadline))
        except BaseException:
            pool.give_back(connection)
            raise
        return pool, connection

    def _started(self) -> "Pool":
        if self._pool is None:
            raise NotSent("the client is not started")
        return self._pool


class UpstreamStream:
    """`StreamedAnswer` over a connection. `chunks` raises AnswerLost when the body ends early."""

    def __init__(self, connections: UpstreamConnections, request: UpstreamRequest) -> None:
        self._connections, self._request = connections, request
        self._held: tuple[Pool, Connection] | None = None
        self.status = 0
        self.headers: Headers = ()

    async def __aenter__(self) -> Self:
        self._held = await self._connections.open(self._request)
        self.status, self.headers = self._held[1].head()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held, self._held = self._held, None
        if held is not None:
            pool, connection = held
            pool.give_back(connection)  # closed there, unless the answer came whole

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece, as it comes."""
        while self._held is not None and (piece := await self._held[1].piece()):
            yield piece


def left(loop: asyncio.AbstractEventLoop, deadline: float) -> float:
    """Seconds until a deadline. Raises NotSent when it has passed: nothing was sent yet."""
    seconds = deadline - loop.time()
    if seconds <= 0:
        raise NotSent("no time was left")
    return seconds


class Pool:
    """At most `most` connections to one origin, the idle ones ready for use, and who waits for one, first in first out.

    `take` or `wait` lends a connection; `give_back` must follow, whatever became of it.
    """

    def __init__(self, origin: Origin, tls: ssl.SSLContext | None, *, most: int, idle_seconds: float) -> None:
        self.loop = asyncio.get_running_loop()
        self._origin, self._tls, self._most, self._idle_seconds = origin, tls, most, idle_seconds
        self._slots = 0  # connections that stand or are being made; whoever waits is handed one of these
        self._all: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self) -> Connection | None:
        """An idle connection, the last one used first: the others get the chance to be closed."""
        while self._idle:
            connection = self._idle.pop()
            if connection.quiet():
                return connection
            self._slots -= 1
            connection.abort()
        return None

    async def wait(self, deadline: float) -> Connection:
        """A new connection, or one that somebody gives back. Raises NotSent."""
        if self._closed:
            raise NotSent("the client was closed")
        if self._slots < self._most:
            self._slots += 1
            return await self._connect(deadline)
        connection = await self._next(deadline)
        if connection is not None and connection.quiet():
            return connection
        if connection is not None:
            connection.abort()
        return await self._connect(deadline)

    def give_back(self, connection: Connection) -> None:
        """Lend it to the next who waits, or keep it for a while, or close it."""
        if self._closed or not connection.reusable():
            connection.abort()
            self._free()
        elif (waiter := self._first_waiting()) is not None:
            waiter.set_result(connection)
        else:
            connection.idle_since = self.loop.time()
            self._idle.append(connection)
            if self._sweeping is None:
                self._sweeping = self.loop.call_later(self._idle_seconds, self._sweep)

    def close(self) -> None:
        """Close every connection; who waits for one gets NotSent."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        while (waiter := self._first_waiting()) is not None:
            waiter.set_exception(NotSent("the client was closed"))
        for connection in tuple(self._all):
            connection.abort()

    async def _connect(self, deadline: float) -> Connection:
        """Fill a slot that is held, or free it and raise NotSent."""
        try:
            async with asyncio.timeout_at(min(deadline, self.loop.time() + _CONNECT_SECONDS)):
                _, connection = await self.loop.create_connection(
                    lambda: Connection(self.loop, self._forget),
                    self._origin.host,
                    self._origin.port,
                    ssl=self._tls,
                    server_hostname=self._origin.host if self._tls is not None else None,
                )
        except (OSError, ValueError):  # also TimeoutError, SSLError; ValueError is of names that cannot be
            self._free()
            raise Unreachable("no connection to the server") from None
        except BaseException:
            self._free()
            raise
        if self._closed or not connection.quiet():
            connection.abort()
            self._free()
            raise Unreachable("the connection was closed at once")
        self._all.add(connection)
        return connection

    async def _next(self, deadline: float) -> Connection | None:
        """Wait for a slot: with a connection, or None to make one."""
        if len(self._waiting) >= _MOST_WAITING:
            raise Overloaded("too many wait for a connection")
        waiter: asyncio.Future[Connection | None] = self.loop.create_future()
        self._waiting.append(waiter)
        timer = self.loop.call_at(deadline, self._give_up, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            raise
        finally:
            timer.cancel()
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    @staticmethod
    def _give_up(waiter: "asyncio.Future[Connection | None]") -> None:
        if not waiter.done():
            waiter.set_exception(NotSent("no connection was free"))

    def _pass_on(self, handed: Connection | None) -> None:
        if handed is None:
            self._free()
        else:
            self.give_back(handed)

    def _first_waiting(self) -> "asyncio.Future[Connection | None] | None":
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _free(self) -> None:
        waiter = None if self._closed else self._first_waiting()
        if waiter is None:
            self._slots -= 1
        else:
            waiter.set_result(None)

    def _forget(self, connection: Connection) -> None:
        """It is gone. Lent ones come back by `give_back`; an idle one frees its slot here."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            self._free()

    def _sweep(self) -> None:
        now = self.loop.time()
        self._sweeping = None
        while self._idle and self._idle[0].idle_since + self._idle_seconds <= now:
            self._idle[0].abort()  # which forgets it
        if self._idle:
            self._sweeping = self.loop.call_at(self._idle[0].idle_since + self._idle_seconds, self._sweep)
