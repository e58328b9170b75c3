"""Transactions over PostgreSQL, each under this process' lease; whether one was committed is never guessed.

A lease is held by the clock of the database alone. One that ran out is never renewed: the process takes another one
under the next epoch, and what it held before is an orphan that anybody may claim, itself too.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

import psycopg
import structlog

from gateway.journal import rows
from gateway.journal.postgres_connection import Target, connected, migrated
from gateway.journal.postgres_together import NotTogether, PostgresConnection, Together
from gateway.journal.statements import statements
from gateway.journal.writer import Job, Telling, Writer, failing
from gateway.saga.journal_port import JournalUnavailable, NotOwner, StillOwned
from gateway.saga.table import IllegalTransition

LEASE_SECONDS = 15.0
_RENEWALS_PER_LEASE = 4
_RETRY_SECONDS = 2.0
_DOUBT_SECONDS = 5.0
_PAUSE_FIRST, _PAUSE_MOST = 0.01, 0.25
_MARK_BITS = 62
_SQL = {name: sql.encode() for name, sql in statements("postgresql").items()}
# What a job may raise about its own entry; the other jobs of its transaction go on.
_REFUSALS = (NotOwner, StillOwned, IllegalTransition, LookupError, ValueError)
# Unlike the monotonic clock it goes on while the machine sleeps, where it is to be had.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
STEADY = partial(time.clock_gettime, _CLOCK)
_log = structlog.get_logger("journal")
Transaction: TypeAlias = PostgresConnection | Together


class Changed(Protocol):
    """How many rows a statement changed."""

    @property
    def rowcount(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The epoch held, and until when it surely is, by this machine's own clock."""

    epoch: int
    sure_until: float


class _Lapsed(Exception):
    """The lease ran out before the transaction began."""


class _Undecided(Exception):
    """Nobody can be asked whether the transaction was committed."""


class PostgresWriter(Writer[Transaction]):
    """`owner` names the lease. `broken` says why the database cannot be used just now; it is tried again.

    `clock` is seconds of a clock that nobody sets: by it a lease is surely held for `seconds` after it was renewed.
    """

    def __init__(
        self,
        target: Target,
        owner: str,
        *,
        seconds: float = LEASE_SECONDS,
        committed: Callable[[float], None] | None = None,
        clock: Callable[[], float] = STEADY,
    ) -> None:
        super().__init__(committed)
        self._clock = clock
        self.idle_seconds = seconds / _RENEWALS_PER_LEASE
        self.lease = Lease(epoch=0, sure_until=0.0)
        self._target, self._owner, self._seconds = target, owner, seconds
        self._connection: PostgresConnection | None = None
        self._tried_at = 0.0

    def surely_holds(self, epoch: int) -> bool:
        """Whether nobody can have taken what is held under that epoch. Asks the database nothing."""
        lease = self.lease
        return epoch == lease.epoch and self._clock() < lease.sure_until

    def _connect(self) -> None:
        try:
            connection = connected(self._target)
            try:
                migrated(connection)
                self._take_lease(connection)
            except BaseException:
                connection.close()
                raise
        except psycopg.Error as error:
            raise JournalUnavailable(f"cannot be opened: {_told_by_server(error)}") from error
        self._connection = connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            # What is still open need not wait until the lease runs out.
            connection.execute(_SQL["give_lease_back"], {"owner": self._owner})
            connection.execute(_SQL["forget_leases"])
        except psycopg.Error as error:
            _log.warning("journal.lease_not_given_back", error=_name(error))
        connection.close()

    def _commit(self, batch: Sequence[Job[Transaction]]) -> list[Telling]:
        try:
            return self._retrying(batch)
        except BaseException:
            self._drop()  # in the midst of a transaction
            raise

    def _retrying(self, batch: Sequence[Job[Transaction]]) -> list[Telling]:
        """Again and again for a short time while it is certain that nothing was committed."""
        until, pause = time.monotonic() + (_RETRY_SECONDS if self.broken is None else 0.0), _PAUSE_FIRST
        while True:
            try:
                told = self._transaction(self._at_hand(), batch)
            except _Lapsed:
                failure = "the lease lapsed again and again"
            except _Undecided:
                return self._failed(batch, "it is not known whether the transaction was committed")
            except JournalUnavailable as unfit:  # another server answered, and it does not keep its promises
                return self._failed(batch, unfit.reason)
            except psycopg.Error as error:
                self._drop()
                failure = _name(error)
                if not _passing(error):
                    return self._one_by_one(batch, failure)
            else:
                self.broken = None
                self.commits += 1
                return told
            if time.monotonic() > until:
                return self._failed(batch, failure)
            time.sleep(pause)
            pause = min(2 * pause, _PAUSE_MOST)

    def _transaction(self, connection: PostgresConnection, batch: Sequence[Job[Transaction]]) -> list[Telling]:
        """One round trip for all that is to be done, one for the commit."""
        begun, mark = self._clock(), secrets.randbits(_MARK_BITS)
        values: rows.Values = {
            "owner": self._owner,
            "epoch": self.lease.epoch,
            "seconds": self._seconds,
            "mark": mark,
        }
        try:
            with connection.together() as together:
                held, halves = _asked(together, values, batch)
        except NotTogether:
            with connection.pipeline():
                held, halves = _asked(connection, values, batch)
        if held.rowcount != 1:
            connection.execute("ROLLBACK")
            _log.warning("journal.lease_lapsed", epoch=self.lease.epoch)
            self._take_lease(connection)
            raise _Lapsed
        told = [half() for half in halves]
        self._end(connection, mark)
        self.lease = Lease(epoch=self.lease.epoch, sure_until=begun + self._seconds)
        return told

    def _end(self, connection: PostgresConnection, mark: int) -> None:
        """Commit. When the answer is lost, the mark on the lease tells."""
        try:
            ended = connection.execute("COMMIT").statusmessage
        except psycopg.Error:
            self._drop()
            if self._was_committed(mark):
                return
            raise
        if ended != "COMMIT":  # a transaction that failed is rolled back by COMMIT without an error
            raise psycopg.errors.InFailedSqlTransaction

    def _was_committed(self, mark: int) -> bool:
        """Waits for the end of the transaction: it holds the row of the lease as long as it is under way."""
        until, pause = time.monotonic() + _DOUBT_SECONDS, _PAUSE_FIRST
        values = {"owner": self._owner, "epoch": self.lease.epoch, "mark": mark}
        while time.monotonic() < until:
            try:
                found = self._at_hand().execute(_SQL["was_committed"], values).fetchone()
            except (psycopg.Error, JournalUnavailable):
                self._drop()
                time.sleep(pause)
                pause = min(2 * pause, _PAUSE_MOST)
            else:
                if found is None:
                    break
                return bool(found["committed"])
        raise _Undecided

    def _one_by_one(self, batch: Sequence[Job[Transaction]], failure: str) -> list[Telling]:
        """One job that the database cannot take must not take the others with it."""
        if len(batch) <= 1:
            return failing(batch, JournalUnavailable(failure))
        return [telling for job in batch for telling in self._commit((job,))]

    def _failed(self, batch: Sequence[Job[Transaction]], reason: str) -> list[Telling]:
        self._drop()
        if self.broken is None:
            _log.error("journal.unavailable", reason=reason)
        self.broken = reason
        return failing(batch, JournalUnavailable(reason))

    def _at_hand(self) -> PostgresConnection:
        """The connection, made anew when it was lost. Raises psycopg.Error or JournalUnavailable."""
        if self._connection is None:
            soon = self._tried_at + _PAUSE_MOST - time.monotonic()
            if self.broken is not None and soon > 0:
                raise JournalUnavailable(self.broken)
            self._tried_at = time.monotonic()
            self._connection = connected(self._target)
        return self._connection

    def _take_lease(self, connection: PostgresConnection) -> None:
        begun, epoch = self._clock(), self.lease.epoch + 1
        # Counted before it is asked for: an answer that is lost must not lead to the same epoch twice.
        self.lease = Lease(epoch=epoch, sure_until=0.0)
        connection.execute(_SQL["take_lease"], {"owner": self._owner, "epoch": epoch, "seconds": self._seconds})
        self.lease = Lease(epoch=epoch, sure_until=begun + self._seconds)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _asked(
    session: Transaction, values: rows.Values, batch: Sequence[Job[Transaction]]
) -> tuple[Changed, list[Callable[[], Telling]]]:
    """All that is to be done, and first of all, that the lease is held."""
    session.execute("BEGIN")
    held = session.execute(_SQL["hold_lease"], values)
    return held, [_begun(job, session) for job in batch]


def _begun(job: Job[Transaction], connection: Transaction) -> Callable[[], Telling]:
    try:
        half = job.begin(connection)
    except _REFUSALS as refusal:
        return partial(partial, job.fail, refusal)
    except psycopg.DataError as error:
        if error.sqlstate is not None:
            raise
        # Refused before it was sent, such as text with a NUL in it.
        return partial(partial, job.fail, JournalUnavailable(_name(error)))
    return partial(_ended, job, half)


def _ended(job: Job[Transaction], half: Callable[[], object]) -> Telling:
    try:
        result = half()
    except _REFUSALS as refusal:
        return partial(job.fail, refusal)
    return partial(job.succeed, result)


def _passing(error: psycopg.Error) -> bool:
    """Whether the same may well succeed in a moment: connection lost, deadlock, serialization, lock, restart."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    return state[:2] in {"08", "40", "53", "55", "57", "58"}


def _told_by_server(error: psycopg.Error) -> str:
    """The text of an error of connecting: it names host, port, user and certificate, and holds nothing of a record."""
    return _name(error) if error.sqlstate is not None else f"{_name(error)}: {' '.join(str(error).split())}"


def _name(error: psycopg.Error) -> str:
    """The kind of an error; its text may quote what was to be written."""
    return type(error).__name__ if error.sqlstate is None else f"{type(error).__name__} {error.sqlstate}"
