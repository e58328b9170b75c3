"""The journal in PostgreSQL, shared by any number of gateway processes on any number of machines."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg.rows import DictRow

from gateway.journal import rows
from gateway.journal.entries import Entries, Session
from gateway.journal.postgres_connection import Target
from gateway.journal.postgres_together import Answer
from gateway.journal.postgres_writer import LEASE_SECONDS, PostgresWriter, Transaction
from gateway.journal.sealing import sealer_for
from gateway.journal.statements import statements
from gateway.saga.intent import Intent
from gateway.saga.journal_port import JournalUnavailable, NotOwner

T = TypeVar("T")
_SQL = {name: sql.encode() for name, sql in statements("postgresql").items()}


class PostgresJournal(Entries):
    """`Journal` over PostgreSQL. `owner` is a name for logs; a random part is added to tell restarts apart.

    `lease` is how many seconds a process may be silent until others take over what it holds. `open` raises
    JournalUnavailable when the database cannot be had, is newer than this program, or does not keep its promises.
    """

    def __init__(
        self,
        target: Target,
        owner: str,
        *,
        key_file: Path,
        committed: Callable[[float], None] | None = None,
        lease: float = LEASE_SECONDS,
    ) -> None:
        super().__init__()
        self._owner = f"{owner}-{secrets.token_hex(6)}"
        self._key_file = key_file
        self._writer = PostgresWriter(target, self._owner, seconds=lease, committed=committed)

    @property
    def owner(self) -> str:
        """This process, as its entries name it."""
        return self._owner

    @property
    def broken(self) -> str | None:
        """Why the database cannot be used just now, or None. It is tried again."""
        return self._writer.broken

    async def open(self) -> None:
        """Read the keys, connect, migrate, take a lease."""
        try:
            self._opened = sealer_for(self._key_file, None)
        except ValueError as error:
            raise JournalUnavailable(f"its key file {error}") from error
        except OSError as error:
            raise JournalUnavailable(f"its key cannot be read: {type(error).__name__}") from error
        await self._writer.open()

    async def close(self) -> None:
        """Commit what is queued and give the lease back: what is open may be claimed at once."""
        self._hurry()
        await self._writer.close()

    def still_owner(self, intent: Intent) -> None:
        """Raises NotOwner when the lease may have run out since the entry was last written."""
        if intent.owner != self._owner or not self._writer.surely_holds(intent.epoch):
            raise NotOwner

    async def claim_orphans(self, now: float, limit: int) -> int:
        """Take over open entries whose owner's lease ran out by the clock of the database."""

        def run(session: Session) -> Callable[[], int]:
            held: rows.Values = {"owner": self._owner, "epoch": session.epoch}
            return session.execute("claim", {**held, "now": now, "limit": limit}).changed

        return await self._queue(run)

    async def prune(self, before: float) -> int:
        """Closed entries, and the leases of processes that are gone and left nothing."""

        def forget(session: Session) -> Callable[[], None]:
            session.execute("forget_leases", {})
            return lambda: None

        await self._queue(forget)
        return await super().prune(before)

    def _queue(self, begin: Callable[[Session], Callable[[], T]]) -> "asyncio.Future[T]":
        return self._writer.queue(lambda connection: begin(_Session(connection, self._writer.lease.epoch)))

    def _alive(self, session: Session, intent: Intent) -> bool:
        lease = session.execute("lease_holds", {"owner": intent.owner, "epoch": intent.epoch}).rows()
        return any(bool(row["holds"]) for row in lease)


class _Result:
    def __init__(self, connection: Transaction, cursor: psycopg.Cursor[DictRow] | Answer) -> None:
        self._connection, self._cursor = connection, cursor

    def rows(self) -> Sequence[rows.Row]:
        return self._cursor.fetchall()

    def changed(self) -> int:
        if self._cursor.rowcount < 0:
            with self._connection.pipeline():
                pass  # its end waits for what was asked inside of the pipeline around it
        return self._cursor.rowcount


class _Session:
    def __init__(self, connection: Transaction, epoch: int) -> None:
        self._connection, self.epoch = connection, epoch

    def execute(self, statement: str, values: rows.Values) -> _Result:
        return _Result(self._connection, self._connection.execute(_SQL[statement], values))
