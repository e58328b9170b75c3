"""Keeps an overload or an outage of the FHIR server from becoming one of the gateway.

A decorator of the upstream port: so many exchanges at once, so many waiting for one, the rest turned away at once;
and when the server does not answer at all, nothing but a trial now and then. What settling needs (looks and undos)
goes first in both: forbidden data is on the server as long as it waits.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from gateway.saga.ports import (
    AnswerLost,
    AnswerTooLarge,
    Headers,
    NotSent,
    Overloaded,
    StreamedAnswer,
    Unreachable,
    Upstream,
    UpstreamAnswer,
    UpstreamRequest,
)

# What stands between here and the server says that it is not there (RFC 9110 section 15.6).
_OUTAGE = frozenset({502, 503, 504})
_RESERVED = 10  # one in so many exchanges is kept free for what is urgent


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """`at_once` exchanges, `waiting` (and `urgent_waiting`) for one, each at most `longest_wait` seconds.

    After `failures` in a row the circuit opens; `pause` seconds later one request at a time is let through to try.
    """

    at_once: int = 100
    waiting: int = 500
    urgent_waiting: int = 1_000
    longest_wait: float = 5.0
    failures: int = 10
    pause: float = 2.0


class BreakerMetrics(Protocol):
    """`reason` is queue_full or circuit_open."""

    def upstream_circuit(self, *, is_open: bool) -> None: ...

    def rejected(self, reason: str) -> None: ...


class Circuit:
    """Whether the server is known not to answer. Times are seconds of one monotonic clock; nothing here waits."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._on_trial = False

    @property
    def is_open(self) -> bool:
        return self._opened_at is not None

    def trial(self, now: float, *, urgent: bool) -> bool:
        """Whether a request may go though the circuit is open; if so, `ended` has to follow with `trial`."""
        due = urgent or self._opened_at is None or now - self._opened_at >= self._settings.pause
        if self._on_trial or not due:
            return False
        self._on_trial = True
        return True

    def ended(self, now: float, *, answered: bool | None, trial: bool) -> None:
        """An exchange ended. `answered`: None when it tells nothing about the server."""
        if trial:
            self._on_trial = False
        if answered:
            self._in_a_row, self._opened_at = 0, None
        elif answered is not None:
            self._in_a_row += 1
            if self._in_a_row >= self._settings.failures:
                self._opened_at = now


class Slots:
    """Exchanges at once, and two bounded queues for them; the urgent one is served first."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._ordinary_most = settings.at_once - settings.at_once // _RESERVED
        self._busy = 0
        self._queues: dict[bool, deque[asyncio.Future[None]]] = {True: deque(), False: deque()}

    async def take(self, *, urgent: bool) -> None:
        """Wait for a slot, and give it back with `free`. Raises Overloaded."""
        queue = self._queues[urgent]
        if not queue and self._busy < self._most(urgent=urgent):
            self._busy += 1
            return
        if len(queue) >= (self._settings.urgent_waiting if urgent else self._settings.waiting):
            raise Overloaded("too many requests wait")
        waiter = asyncio.get_running_loop().create_future()
        queue.append(waiter)
        try:
            async with asyncio.timeout(self._settings.longest_wait):
                await waiter
        except (TimeoutError, asyncio.CancelledError) as ended:
            if waiter in queue:
                queue.remove(waiter)
            elif not waiter.cancelled() and waiter.exception() is None:
                self.free()  # it was granted in the same instant
            if isinstance(ended, TimeoutError):
                raise Overloaded("no exchange came free in time") from None
            raise

    def free(self) -> None:
        """Give a slot back; the next in line has it."""
        self._busy -= 1
        for urgent in (True, False):
            queue = self._queues[urgent]
            while queue and self._busy < self._most(urgent=urgent):
                waiter = queue.popleft()
                if not waiter.done():
                    self._busy += 1
                    waiter.set_result(None)

    def turn_away(self) -> None:
        """Nobody ordinary waits any longer."""
        queue = self._queues[False]
        while queue:
            waiter = queue.popleft()
            if not waiter.done():
                waiter.set_exception(Overloaded("the server does not answer"))

    def _most(self, *, urgent: bool) -> int:
        return self._settings.at_once if urgent else self._ordinary_most


class Breaker:
    """`saga.ports.Upstream` over another one. Raises Overloaded, a NotSent, for what it turns away."""

    def __init__(
        self,
        inner: Upstream,
        settings: BreakerSettings,
        metrics: BreakerMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner, self._metrics, self._clock = inner, metrics, clock
        self._circuit, self._slots = Circuit(settings), Slots(settings)
        metrics.upstream_circuit(is_open=False)

    async def send(self, request: UpstreamRequest, *, seconds: float | None = None) -> UpstreamAnswer:
        """As the port says, and Overloaded."""
        trial = await self.enter(urgent=request.urgent)
        answered: bool | None = None
        try:
            answer = await self._inner.send(request, seconds=seconds)
            answered = answer.status not in _OUTAGE
        except (NotSent, AnswerLost) as fault:
            answered = tells(fault)
            raise
        finally:
            self.leave(answered=answered, trial=trial)
        return answer

    def stream(self, request: UpstreamRequest) -> StreamedAnswer:
        """As the port says, and Overloaded on entering. The slot is held until the stream is left."""
        return _GuardedStream(self, self._inner.stream(request), urgent=request.urgent)

    async def enter(self, *, urgent: bool) -> bool:
        """Pass circuit and queue; `leave` has to follow, with what this returns. Raises Overloaded."""
        trial = self._circuit.is_open
        if trial and not self._circuit.trial(self._clock(), urgent=urgent):
            self._metrics.rejected("circuit_open")
            raise Overloaded("the server does not answer")
        try:
            await self._slots.take(urgent=urgent)
        except BaseException as ended:
            self._circuit.ended(self._clock(), answered=None, trial=trial)
            if isinstance(ended, Overloaded):
                self._metrics.rejected("circuit_open" if self._circuit.is_open else "queue_full")
            raise
        return trial

    def leave(self, *, answered: bool | None, trial: bool) -> None:
        """The exchange ended."""
        self._slots.free()
        before = self._circuit.is_open
        self._circuit.ended(self._clock(), answered=answered, trial=trial)
        now = self._circuit.is_open
        if now != before:
            self._metrics.upstream_circuit(is_open=now)
        if now:
            self._slots.turn_away()


class _GuardedStream:
    """`StreamedAnswer` that holds a slot from its first byte to its last."""

    def __init__(self, breaker: Breaker, inner: StreamedAnswer, *, urgent: bool) -> None:
        self._breaker, self._inner, self._urgent = breaker, inner, urgent
        self._trial = False
        self.status = 0
        self.headers: Headers = ()

    async def __aenter__(self) -> Self:
        self._trial = await self._breaker.enter(urgent=self._urgent)
        try:
            await self._inner.__aenter__()
        except BaseException as fault:
            self._breaker.leave(answered=tells(fault), trial=self._trial)
            raise
        self.status, self.headers = self._inner.status, self._inner.headers
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._inner.__aexit__(kind, error, trace)
        finally:
            self._breaker.leave(answered=self.status not in _OUTAGE, trial=self._trial)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece."""
        return self._inner.chunks()


def tells(fault: BaseException) -> bool | None:
    """Whether the server answered, by how an exchange failed. What a client could bring about tells nothing."""
    if isinstance(fault, AnswerTooLarge):
        return True
    return False if isinstance(fault, AnswerLost | Unreachable) else None
