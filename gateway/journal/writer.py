"""One thread that owns the journal's connection and commits together whatever has queued up (group commit)."""

import asyncio
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar, cast

import structlog

from gateway import exhausted
from gateway.saga.journal_port import JournalUnavailable

C = TypeVar("C")
T = TypeVar("T")
Telling = Callable[[], None]
_MOST_TOGETHER = 256
_log = structlog.get_logger("journal")


@dataclass(frozen=True, slots=True)
class Job(Generic[C]):
    """One piece of a transaction. `begin` may leave reading its results to the callable that it returns."""

    begin: Callable[[C], Callable[[], object]]
    done: "asyncio.Future[object]"
    loop: asyncio.AbstractEventLoop

    def fail(self, error: Exception) -> None:
        """Tell whoever waits that it failed."""
        if not self.done.done():
            self.done.set_exception(error)

    def succeed(self, result: object) -> None:
        """Tell whoever waits what came out."""
        if not self.done.done():
            self.done.set_result(result)


def _untold(_: float) -> None:
    """Nobody measures."""


class Writer(ABC, Generic[C]):
    """Runs jobs in order, many to a transaction, in a thread of its own.

    `committed` is told, in that thread, how many seconds each transaction took. `broken` says why the journal is
    out of order, or None.
    """

    idle_seconds: float | None = None

    def __init__(self, committed: Callable[[float], None] | None = None) -> None:
        self._committed = committed or _untold
        self._jobs: queue.SimpleQueue[Job[C] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.broken: str | None = None
        self.commits = 0

    async def open(self) -> None:
        """Connect in the thread. Raises JournalUnavailable."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(target=self._work, args=(loop, opened), name="journal", daemon=True)
        thread.start()
        await opened
        self._thread = thread

    async def close(self) -> None:
        """Finish what is queued, then close the connection."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    async def do(self, run: Callable[[C], T]) -> T:
        """Run one job; its answer comes after the commit that holds it. Raises JournalUnavailable."""
        return await self.queue(lambda connection: partial(_same, run(connection)))

    def queue(self, begin: Callable[[C], Callable[[], T]]) -> "asyncio.Future[T]":
        """The same for a job in two halves: what it asks, and reading the answers.

        Its place in the order is taken when this returns.
        """
        if self._thread is None:
            raise JournalUnavailable("not open")
        loop = asyncio.get_running_loop()
        job: Job[C] = Job(begin, loop.create_future(), loop)
        self._jobs.put(job)
        return cast("asyncio.Future[T]", job.done)

    @abstractmethod
    def _connect(self) -> None:
        """Make the connection. Raises JournalUnavailable."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Close it."""

    @abstractmethod
    def _commit(self, batch: Sequence[Job[C]]) -> list[Telling]:
        """All jobs in one transaction. What each is told is returned, to be told after the commit.

        After `idle_seconds` without a job it is called with none.
        """

    def _work(self, loop: asyncio.AbstractEventLoop, opened: "asyncio.Future[None]") -> None:
        try:
            self._connect()
        except BaseException as error:  # noqa: BLE001 (whatever it is, whoever waits for the start has to hear of it)
            exhausted.end_if(error)
            loop.call_soon_threadsafe(opened.set_exception, error)
            return
        loop.call_soon_threadsafe(opened.set_result, None)
        going_on = True
        while going_on:
            batch, going_on = self._batch()
            if batch:
                _tell(self._settle(batch), batch)
        self._disconnect()

    def _settle(self, batch: Sequence[Job[C]]) -> list[Telling]:
        """Nobody may wait for ever: a defect in a job ends the journal, and everybody is told."""
        started = time.perf_counter()
        try:
            told = self._commit(batch)
        except BaseException as defect:  # noqa: BLE001 (a dead thread would hang every later write without a word)
            exhausted.end_if(defect)
            self.broken = f"defect: {type(defect).__name__}"
            _log.critical("journal.defect", type=type(defect).__name__)
            return failing(batch, JournalUnavailable(self.broken))
        self._committed(time.perf_counter() - started)
        return told

    def _batch(self) -> tuple[list[Job[C]], bool]:
        batch: list[Job[C]] = []
        try:
            job = self._jobs.get(timeout=self.idle_seconds)
        except queue.Empty:
            self._settle(batch)
            return batch, True
        while job is not None:
            batch.append(job)
            if len(batch) == _MOST_TOGETHER:
                return batch, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False


def failing(batch: Sequence[Job[C]], error: Exception) -> list[Telling]:
    """Tells every job of a batch the same error."""
    return [partial(job.fail, error) for job in batch]


def _same(result: T) -> T:
    return result


def _tell(tellings: list[Telling], batch: Sequence[Job[C]]) -> None:
    """Wake everybody of a batch by one call into the loop."""

    def tell_all() -> None:
        for telling in tellings:
            telling()

    loop = batch[0].loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(tell_all)
