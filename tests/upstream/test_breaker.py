"""Overload and outage: what is turned away, what goes first, and when the server is tried again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import pytest

from gateway.observe.metrics import Metrics
from gateway.saga.ports import (
    AnswerLost,
    AnswerTooLarge,
    Headers,
    NotSent,
    Overloaded,
    StreamedAnswer,
    Unreachable,
    UpstreamAnswer,
    UpstreamRequest,
)
from gateway.upstream.breaker import Breaker, BreakerSettings, Slots

READ = UpstreamRequest(method="GET", path="Patient/p1")
UNDO = UpstreamRequest(method="DELETE", path="Patient/p1/_history/1", urgent=True)
SETTINGS = BreakerSettings(at_once=2, waiting=2, longest_wait=5.0, failures=3, pause=2.0)


@dataclass
class Server:
    """Answers, or fails, when the test says so; keeps what reached it, in order."""

    fault: Exception | None = None
    status: int = 200
    held: bool = False
    reached: list[UpstreamRequest] = field(default_factory=list)
    most_at_once: int = 0
    at_once: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)
    step: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def send(self, request: UpstreamRequest, *, seconds: float | None = None) -> UpstreamAnswer:
        self.reached.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.held:
                await self.step.acquire()
            else:
                await asyncio.sleep(0)
            if self.fault is not None:
                raise self.fault
            return UpstreamAnswer(status=self.status, headers=(), body=b"")
        finally:
            self.at_once -= 1

    def stream(self, request: UpstreamRequest) -> StreamedAnswer:
        return Streaming(self, request)


class Streaming:
    def __init__(self, server: Server, request: UpstreamRequest) -> None:
        self.server, self.request = server, request
        self.status, self.headers = 0, Headers()

    async def __aenter__(self) -> Self:
        answer = await self.server.send(self.request)
        self.status, self.headers = answer.status, ((b"x", b"y"),)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.reached.append(UpstreamRequest(method="END", path=""))

    async def chunks(self) -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"


@dataclass
class Bench:
    """A breaker, its server and a clock that the test turns."""

    settings: BreakerSettings = SETTINGS
    server: Server = field(default_factory=Server)
    metrics: Metrics = field(default_factory=Metrics)
    now: float = 100.0
    breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self.breaker = Breaker(self.server, self.settings, self.metrics, clock=lambda: self.now)

    async def fails(self, times: int, request: UpstreamRequest = READ) -> None:
        for _ in range(times):
            with pytest.raises((NotSent, AnswerLost)):
                await self.breaker.send(request)

    async def turned_away(self, request: UpstreamRequest = READ) -> bool:
        before = len(self.server.reached)
        try:
            await self.breaker.send(request)
        except Overloaded:
            return len(self.server.reached) == before
        except (NotSent, AnswerLost):
            pass
        return False

    def count(self, series: str) -> float:
        for line in self.metrics.render().decode().splitlines():
            if line.startswith(f"fhir_gateway_{series} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def is_open(self) -> bool:
        return self.count("upstream_circuit_open") == 1.0


async def settle(*waiting: Awaitable[object]) -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_past_the_queue_requests_are_turned_away_at_once() -> None:
    bench = Bench(server=Server(held=True))
    tasks = [asyncio.ensure_future(bench.breaker.send(READ)) for _ in range(5)]
    await settle()
    assert [task.done() for task in tasks] == [False, False, False, False, True]
    with pytest.raises(Overloaded):
        tasks[4].result()
    assert len(bench.server.reached) == 2
    assert bench.count('rejected_requests_total{reason="queue_full"}') == 1.0
    for _ in range(4):
        bench.server.step.release()
    assert [answer.status for answer in await asyncio.gather(*tasks[:4])] == [200] * 4
    assert bench.server.most_at_once == 2


async def test_the_queue_of_undo_traffic_is_its_own_and_bounded_too() -> None:
    settings = BreakerSettings(at_once=1, waiting=0, urgent_waiting=1)
    bench = Bench(settings=settings, server=Server(held=True))
    tasks = [asyncio.ensure_future(bench.breaker.send(each)) for each in (READ, UNDO, UNDO, READ)]
    await settle()
    assert [task.done() for task in tasks] == [False, False, True, True]
    for _ in range(2):
        bench.server.step.release()
    assert [answer.status for answer in await asyncio.gather(*tasks[:2])] == [200, 200]
    for task in tasks[2:]:
        assert isinstance(task.exception(), Overloaded)


async def test_undo_traffic_goes_first() -> None:
    bench = Bench(settings=BreakerSettings(at_once=1, waiting=10), server=Server(held=True))
    tasks = [asyncio.ensure_future(bench.breaker.send(each)) for each in (READ, READ, READ, UNDO, UNDO)]
    await settle()
    for _ in tasks:
        bench.server.step.release()
    await asyncio.gather(*tasks)
    assert bench.server.reached == [READ, UNDO, UNDO, READ, READ]


async def test_some_exchanges_are_kept_free_for_undo_traffic() -> None:
    bench = Bench(settings=BreakerSettings(at_once=10, waiting=100), server=Server(held=True))
    tasks = [asyncio.ensure_future(bench.breaker.send(READ)) for _ in range(30)]
    await settle()
    assert bench.server.at_once == 9
    tasks.append(asyncio.ensure_future(bench.breaker.send(UNDO)))
    await settle()
    assert bench.server.reached[-1] == UNDO
    for _ in tasks:
        bench.server.step.release()
    await asyncio.gather(*tasks)
    assert bench.server.most_at_once == 10


async def test_waiting_ends() -> None:
    bench = Bench(settings=BreakerSettings(at_once=1, waiting=5, longest_wait=0.02), server=Server(held=True))
    first = asyncio.ensure_future(bench.breaker.send(READ))
    await settle()
    with pytest.raises(Overloaded):
        await bench.breaker.send(READ)
    bench.server.step.release()
    assert (await first).status == 200
    bench.server.step.release()
    assert (await bench.breaker.send(READ)).status == 200, "the one that gave up holds nothing"


async def test_whoever_gives_up_waiting_gives_nothing_away() -> None:
    bench = Bench(settings=BreakerSettings(at_once=1, waiting=5), server=Server(held=True))
    tasks = [asyncio.ensure_future(bench.breaker.send(READ)) for _ in range(3)]
    await settle()
    tasks[1].cancel()
    await settle()
    for _ in range(2):
        bench.server.step.release()
    assert (await tasks[0]).status == (await tasks[2]).status == 200
    assert tasks[1].cancelled()
    bench.server.step.release()
    assert (await bench.breaker.send(READ)).status == 200


async def test_a_slot_that_was_granted_to_one_who_leaves_goes_to_the_next() -> None:
    slots = Slots(BreakerSettings(at_once=1, waiting=5))
    await slots.take(urgent=False)
    leaving = asyncio.ensure_future(slots.take(urgent=False))
    await settle()
    slots.free()  # grants
    leaving.cancel()  # in the same instant
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await asyncio.wait_for(slots.take(urgent=True), 1)
    assert leaving.cancelled()


@pytest.mark.parametrize("fault", [AnswerLost("x"), AnswerLost("x", timed_out=True), Unreachable("x")])
async def test_a_server_that_does_not_answer_is_left_alone_for_a_while(fault: Exception) -> None:
    bench = Bench(server=Server(fault=fault))
    await bench.fails(2)
    assert not bench.is_open()
    await bench.fails(1)
    assert bench.is_open()
    assert await bench.turned_away()
    assert bench.count('rejected_requests_total{reason="circuit_open"}') == 1.0
    bench.now += 1.9
    assert await bench.turned_away()
    bench.now += 0.2
    await bench.fails(1)  # the trial
    assert await bench.turned_away(), "the trial failed: the pause begins anew"
    bench.now += 2.1
    bench.server.fault = None
    assert (await bench.breaker.send(READ)).status == 200
    assert not bench.is_open()
    assert not await bench.turned_away()


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_way_that_is_out_of_order_counts_as_no_answer(status: int) -> None:
    bench = Bench(server=Server(status=status))
    for _ in range(3):
        assert (await bench.breaker.send(READ)).status == status
    assert bench.is_open()


@pytest.mark.parametrize("fault", [NotSent("a header cannot be sent"), AnswerTooLarge("x"), None])
async def test_what_a_client_can_bring_about_opens_nothing(fault: Exception | None) -> None:
    bench = Bench(server=Server(fault=fault, status=500))
    for _ in range(10):
        if fault is None:
            assert (await bench.breaker.send(READ)).status == 500
        else:
            await bench.fails(1)
    assert not bench.is_open()


async def test_one_answer_is_enough_to_begin_counting_anew() -> None:
    bench = Bench(server=Server(fault=AnswerLost("x")))
    for _ in range(4):
        await bench.fails(2)
        bench.server.fault = None
        await bench.breaker.send(READ)
        bench.server.fault = AnswerLost("x")
    assert not bench.is_open()


async def test_undo_traffic_tries_an_open_circuit_one_at_a_time() -> None:
    bench = Bench(server=Server(fault=Unreachable("x")))
    await bench.fails(3)
    await bench.fails(1, UNDO)
    assert len(bench.server.reached) == 4, "no pause holds it back"
    bench.server.held, bench.server.fault = True, None
    trial = asyncio.ensure_future(bench.breaker.send(UNDO))
    await settle()
    assert await bench.turned_away(UNDO)
    assert await bench.turned_away()
    bench.server.step.release()
    assert (await trial).status == 200
    assert not bench.is_open()


async def test_a_trial_that_is_cancelled_is_no_trial() -> None:
    bench = Bench(server=Server(fault=AnswerLost("x")))
    await bench.fails(3)
    bench.server.held, bench.server.fault, bench.now = True, None, bench.now + 3
    trial = asyncio.ensure_future(bench.breaker.send(READ))
    await settle()
    trial.cancel()
    await settle()
    bench.server.held = False
    assert (await bench.breaker.send(READ)).status == 200


async def test_those_who_wait_are_turned_away_when_the_circuit_opens() -> None:
    settings = BreakerSettings(at_once=1, waiting=10, failures=1)
    bench = Bench(settings=settings, server=Server(held=True, fault=AnswerLost("x")))
    tasks = [asyncio.ensure_future(bench.breaker.send(each)) for each in (READ, READ, READ, UNDO)]
    await settle()
    bench.server.step.release()
    await settle()
    assert [task.done() for task in tasks] == [True, True, True, False]
    bench.server.fault = None
    bench.server.step.release()
    assert (await tasks[3]).status == 200
    assert not bench.is_open()
    bench.server.step.release()
    assert (await bench.breaker.send(READ)).status == 200, "every slot came back"
    for task in tasks[:3]:
        assert isinstance(task.exception(), AnswerLost | Overloaded)


async def test_a_stream_holds_its_slot_to_the_end() -> None:
    bench = Bench(settings=BreakerSettings(at_once=1, waiting=0))
    async with bench.breaker.stream(READ) as streamed:
        assert (streamed.status, streamed.headers) == (200, ((b"x", b"y"),))
        assert await bench.turned_away()
        assert [chunk async for chunk in streamed.chunks()] == [b"a", b"b"]
    assert not await bench.turned_away()


async def test_a_stream_that_does_not_begin_counts_as_no_answer() -> None:
    bench = Bench(server=Server(fault=Unreachable("x")))
    for _ in range(3):
        with pytest.raises(Unreachable):
            async with bench.breaker.stream(READ):
                raise AssertionError("it did not begin")
    assert bench.is_open()
    with pytest.raises(Overloaded):
        async with bench.breaker.stream(READ):
            raise AssertionError("it was let through")
    bench.server.fault = None
    bench.now += 3
    async with bench.breaker.stream(READ):
        pass
    assert not bench.is_open()
