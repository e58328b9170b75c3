"""Transactions over one SQLite file. After a failed commit nothing is written any more."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial

from gateway import exhausted
from gateway.journal.writer import Job, Telling, Writer, failing
from gateway.saga.journal_port import JournalUnavailable, NotOwner, StillOwned
from gateway.saga.table import IllegalTransition


class Busy(JournalUnavailable):
    """Another process kept the journal locked for too long; nothing is broken."""


# What a job may raise about its own entry; the other jobs of its transaction go on.
_REFUSALS = (NotOwner, StillOwned, IllegalTransition, LookupError, ValueError, sqlite3.IntegrityError)


class SqliteWriter(Writer[sqlite3.Connection]):
    """`connect` makes the connection; what it raises becomes JournalUnavailable.

    The page cache may lie after a failed fsync, so the process has to start anew and recover from the disk.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], committed: Callable[[float], None] | None = None
    ) -> None:
        super().__init__(committed)
        self._make = connect
        self._connection: sqlite3.Connection | None = None

    def _connect(self) -> None:
        try:
            self._connection = self._make()
        except (sqlite3.Error, OSError) as error:
            raise JournalUnavailable(f"cannot be opened: {type(error).__name__}") from error

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _commit(self, batch: Sequence[Job[sqlite3.Connection]]) -> list[Telling]:
        connection = self._connection
        if self.broken is not None or connection is None:
            return failing(batch, JournalUnavailable(self.broken or "not open"))
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
            return self._fail(batch, error, broken=not busy)
        except sqlite3.Error as error:
            return self._fail(batch, error, broken=True)
        try:
            tellings = [_told(job, connection) for job in batch]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            return self._fail(batch, error, broken=True)
        self.commits += 1
        return tellings

    def _fail(self, batch: Sequence[Job[sqlite3.Connection]], error: sqlite3.Error, *, broken: bool) -> list[Telling]:
        reason = getattr(error, "sqlite_errorname", None) or type(error).__name__
        if reason.endswith("NOMEM"):  # SQLITE_NOMEM is a MemoryError mostly; SQLITE_IOERR_NOMEM never is
            exhausted.end()
        if broken:
            self.broken = reason
        return failing(batch, JournalUnavailable(reason) if broken else Busy(reason))


def _told(job: Job[sqlite3.Connection], connection: sqlite3.Connection) -> Telling:
    """Run inside of the transaction; what it answers is told only after the commit."""
    try:
        result = job.begin(connection)()
    except _REFUSALS as refusal:
        return partial(job.fail, refusal)
    return partial(job.succeed, result)
