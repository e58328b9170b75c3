"""One thread that owns the SQLite connection and commits together whatever has queued up (group commit)."""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

from gateway.saga.journal_port import JournalUnavailable, NotOwner, StillOwned
from gateway.saga.table import IllegalTransition

T = TypeVar("T")
_MOST_TOGETHER = 256
_log = logging.getLogger(__name__)


class Busy(JournalUnavailable):
    """Another process kept the journal locked for too long; nothing is broken."""


# What a job may raise about its own entry; the other jobs of its transaction go on.
_REFUSALS = (NotOwner, StillOwned, IllegalTransition, LookupError, ValueError, sqlite3.IntegrityError)


@dataclass(frozen=True, slots=True)
class _Job:
    run: Callable[[sqlite3.Connection], object]
    done: "asyncio.Future[object]"
    loop: asyncio.AbstractEventLoop

    def execute(self, connection: sqlite3.Connection) -> Callable[[], None]:
        """Run inside of the transaction; what it answers is told only after the commit."""
        try:
            result = self.run(connection)
        except _REFUSALS as refusal:
            return partial(self.fail, refusal)
        return partial(self._succeed, result)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def _succeed(self, result: object) -> None:
        if not self.done.done():
            self.done.set_result(result)


def _untold(_: float) -> None:
    """Nobody measures."""


class Writer:
    """Runs jobs in order, many to a transaction. After a failed commit it never writes again.

    The page cache may lie after a failed fsync, so the process has to start anew and recover from the disk.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], committed: Callable[[float], None] | None = None
    ) -> None:
        """`committed` is told, in the writer's thread, how many seconds each transaction took."""
        self._connect = connect
        self._committed = committed or _untold
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.broken: str | None = None
        self.commits = 0

    async def open(self) -> None:
        """Connect in the thread. Raises what `connect` raises."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._work, args=(loop, opened), name="journal", daemon=True)
        self._thread.start()
        await opened

    async def close(self) -> None:
        """Finish what is queued, then close the connection."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    async def do(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """Run one job; its answer comes after the commit that holds it. Raises JournalUnavailable."""
        if self._thread is None or self.broken is not None:
            raise JournalUnavailable(self.broken or "not open")
        loop = asyncio.get_running_loop()
        job = _Job(run, loop.create_future(), loop)
        self._jobs.put(job)
        return cast("T", await job.done)

    def _work(self, loop: asyncio.AbstractEventLoop, opened: "asyncio.Future[None]") -> None:
        try:
            connection = self._connect()
        except (sqlite3.Error, OSError, JournalUnavailable) as error:
            loop.call_soon_threadsafe(opened.set_exception, error)
            return
        loop.call_soon_threadsafe(opened.set_result, None)
        going_on = True
        while going_on:
            batch, going_on = self._batch()
            if batch:
                _tell(self._settle(connection, batch), batch)
        connection.close()

    def _settle(self, connection: sqlite3.Connection, batch: list[_Job]) -> list[Callable[[], None]]:
        """Nobody may wait for ever: a defect in a job ends the journal, and everybody is told."""
        started = time.perf_counter()
        try:
            told = self._commit(connection, batch)
        except Exception as defect:  # noqa: BLE001 (a dead thread would hang every later write without a word)
            self.broken = f"defect: {type(defect).__name__}"
            _log.critical("the journal stops after a defect: %s", type(defect).__name__)
            return [partial(job.fail, JournalUnavailable(self.broken)) for job in batch]
        self._committed(time.perf_counter() - started)
        return told

    def _batch(self) -> tuple[list[_Job], bool]:
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) == _MOST_TOGETHER or self._jobs.empty():
                return batch, True
            job = self._jobs.get()
        return batch, False

    def _commit(self, connection: sqlite3.Connection, batch: list[_Job]) -> list[Callable[[], None]]:
        if self.broken is not None:
            return [partial(job.fail, JournalUnavailable(self.broken)) for job in batch]
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
            return self._fail(batch, error, broken=not busy)
        except sqlite3.Error as error:
            return self._fail(batch, error, broken=True)
        try:
            tellings = [job.execute(connection) for job in batch]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            return self._fail(batch, error, broken=True)
        self.commits += 1
        return tellings

    def _fail(self, batch: list[_Job], error: sqlite3.Error, *, broken: bool) -> list[Callable[[], None]]:
        reason = getattr(error, "sqlite_errorname", None) or type(error).__name__
        if broken:
            self.broken = reason
        failure = JournalUnavailable if broken else Busy
        return [partial(job.fail, failure(reason)) for job in batch]


def _tell(tellings: list[Callable[[], None]], batch: list[_Job]) -> None:
    """Wake everybody of a batch by one call into the loop."""

    def tell_all() -> None:
        for telling in tellings:
            telling()

    loop = batch[0].loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(tell_all)
