"""The journal of PostgreSQL on virtual time: its own SQL and its own code of leases, over SQLite and a simulated clock.

Statements are the real ones in SQLite's dialect; transactions follow one another, so what row locks do is not modelled
(a real server shows that: tests/e2e/test_postgres.py). The database keeps an eye on its users: a row that is changed,
or a lease that is renewed, by whom it does not belong to, is a trespass, whatever comes of it.
"""

import asyncio
import base64
import contextlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import TypeVar, cast

from gateway.journal.postgres import PostgresJournal
from gateway.journal.postgres_connection import Target
from gateway.journal.postgres_together import PostgresConnection
from gateway.journal.postgres_writer import LEASE_SECONDS, PostgresWriter, Transaction
from gateway.journal.statements import migrations, statements
from gateway.journal.writer import Job, failing
from gateway.saga.journal_port import JournalUnavailable
from tests.faults.lives import Life, now

T = TypeVar("T")
Row = Mapping[str, object]
_NOWHERE = Target(host="", port=0, user="", database="")
_DIALECT = (
    (r"%\((\w+)\)s", r":\1"),
    (r" FOR UPDATE( SKIP LOCKED)?", ""),
    (r"make_interval\(secs => (:\w+)\)", r"\1"),
    (r"= ANY\((:\w+)\)", r"IN (SELECT value FROM json_each(\1))"),
    (r"octet_length", "length"),
    (r"IS NOT DISTINCT FROM", "IS"),
    (r"SELECT FROM", "SELECT 1 FROM"),
    (r"(body|facts) = ''", r"\1 = x''"),
    (r"\bBEGIN\b", "BEGIN IMMEDIATE"),
    (r"\bBYTEA\b", "BLOB"),
    (r"ALTER TABLE intent ALTER COLUMN [^;]*;", ""),
)
# SQLite has no LATERAL: the same choice, without the leaps that make it fast.
_CLAIM = """
UPDATE intent SET owner = :owner, epoch = :epoch, next_attempt_at = :now WHERE decision_id IN (
    SELECT decision_id FROM intent WHERE state IN ('intended', 'stored', 'compensating') AND NOT EXISTS (
        SELECT 1 FROM lease WHERE lease.owner = intent.owner AND lease.epoch = intent.epoch
            AND lease.expires_at > clock_timestamp()
    ) ORDER BY next_attempt_at, decision_id LIMIT :limit
)
"""
_NAMES = {sql.encode(): name for name, sql in statements("postgresql").items()}
_MOVES = ("advance", "close", "give_up")


@cache
def _translated(sql: bytes) -> str:
    if _NAMES.get(sql) == "claim":
        return _CLAIM
    text = sql.decode()
    for pattern, instead in _DIALECT:
        text = re.sub(pattern, instead, text)
    return text


class Cursor:
    """What a statement gave, as psycopg tells it."""

    def __init__(self, cursor: sqlite3.Cursor, status: str) -> None:
        names = [column[0] for column in cursor.description or ()]
        self._rows = [dict(zip(names, row, strict=True)) for row in cursor] if names else []
        self.rowcount, self.statusmessage = cursor.rowcount, status

    def fetchall(self) -> Sequence[Row]:
        return self._rows

    def fetchone(self) -> Row | None:
        return self._rows[0] if self._rows else None


class Database:
    """One session after another over one database in memory: its users die, and it does not.

    `trespasses` says what nobody may do, one line each.
    """

    def __init__(self, folder: Path) -> None:
        self.trespasses: list[str] = []
        self._session: tuple[object, object] = ("", 0)
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.create_function("clock_timestamp", 0, now)
        for migration in migrations("postgresql"):
            self._connection.executescript(_translated(migration.script.encode()))
        self.keys = folder / "keys"
        self.keys.write_bytes(base64.b64encode(bytes(32)))
        self.keys.chmod(0o600)

    @contextlib.contextmanager
    def pipeline(self) -> Iterator[None]:
        """Everything is answered at once anyway."""
        yield

    @contextlib.contextmanager
    def together(self) -> Iterator["Database"]:
        """The same."""
        yield self

    def execute(self, sql: str | bytes, values: Mapping[str, object] | None = None) -> Cursor:
        """One statement of the journal."""
        encoded = sql.encode() if isinstance(sql, str) else sql
        name, given = _NAMES.get(encoded, ""), dict(values or {})
        before = self._before(name, given)
        plain = {key: json.dumps(value) if isinstance(value, list) else value for key, value in given.items()}
        cursor = Cursor(self._connection.execute(_translated(encoded), plain), encoded.decode().partition(" ")[0])
        if before is not None and cursor.rowcount == 1:
            self.trespasses.append(before)
        return cursor

    def close(self) -> None:
        """The session ends, and with it what it had not committed; the database stays."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _before(self, name: str, values: Mapping[str, object]) -> str | None:
        """What it would be if the statement changed a row."""
        if name == "hold_lease":
            self._session = values["owner"], values["epoch"]
            return None if self._lives(*self._session) else f"{values['owner']} renewed a lease that had run out"
        if name in _MOVES:
            found = self._one("SELECT owner, epoch FROM intent WHERE decision_id = ?", values["decision_id"])
            mover = values["owner"], values["epoch"]
            if found is not None and found != mover:
                return f"{mover} moved {values['decision_id']}, which {found} holds"
        return None

    def _lives(self, owner: object, epoch: object) -> bool:
        lease = self._one("SELECT expires_at FROM lease WHERE owner = ? AND epoch = ?", owner, epoch)
        return lease is not None and float(str(lease[0])) > now()

    def _one(self, sql: str, *values: object) -> tuple[object, ...] | None:
        found: tuple[object, ...] | None = self._connection.execute(sql, values).fetchone()
        return found

    def holder(self, request_id: str) -> tuple[object, ...] | None:
        """Owner and epoch of the entry of a write (or of its undo) at this moment."""
        return self._one("SELECT owner, epoch FROM intent WHERE substr(write_id, 2) = ?", request_id[1:])

    def holds(self, owner: str, request_id: str) -> bool:
        """Whether a process holds the entry of a write (or of its undo) at this moment."""
        found = self.holder(request_id)
        return found is not None and found[0] == owner and self._lives(*found)


class InlinePostgresWriter(PostgresWriter):
    """The writer of leases without its thread; each transaction takes place at one instant."""

    def __init__(self, database: Database, owner: str, life: Life) -> None:
        super().__init__(_NOWHERE, owner, clock=now)
        self._database, self._life = database, life
        self._order = asyncio.Lock()
        self._away_until = 0.0
        self._renewing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._connect()
        self._renewing = asyncio.create_task(self._renew())

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        self._disconnect()

    def queue(self, begin: Callable[[Transaction], Callable[[], T]], *, patient: bool = False) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        job: Job[Transaction] = Job(begin, loop.create_future(), loop)
        self._life.tasks.append(asyncio.create_task(self._perform([job])))
        return cast("asyncio.Future[T]", job.done)

    def _connect(self) -> None:
        self._connection = cast("PostgresConnection", self._database)
        self._take_lease(self._connection)

    def _at_hand(self) -> PostgresConnection:
        return cast("PostgresConnection", self._database)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 4)
            await self._perform([])

    async def _perform(self, batch: list[Job[Transaction]]) -> None:
        async with self._order:
            await self._life.passing()
            await asyncio.sleep(0.002)
            if self._unreachable():
                self.broken = "the database is away"
                tellings = failing(batch, JournalUnavailable(self.broken))
            else:
                tellings = self._commit(batch)
            await self._life.passing()
            for telling in tellings:
                telling()

    def _unreachable(self) -> bool:
        """Once in such a life: the way to the database is gone, for shorter or longer than the lease."""
        if self._life.disk_fails_after is not None and self._life.calls >= self._life.disk_fails_after:
            self._life.disk_fails_after = None
            self._away_until = now() + self._life.random.uniform(1, 60)
        return now() < self._away_until


def leased(database: Database, number: int, life: Life) -> PostgresJournal:
    """The journal of one process."""
    journal = PostgresJournal(_NOWHERE, "replica", key_file=database.keys)
    journal._owner = f"replica-{number}"
    journal._writer = InlinePostgresWriter(database, journal.owner, life)
    return journal


def with_pauses(random: Random, life: Life) -> Life:
    """Leases are there for processes that stand still, anywhere or in the worst of all moments."""
    kind = random.random()
    if kind < 0.4:
        life.pauses_after = random.randrange(1, 60)
    elif kind < 0.7:
        life.stops_at_byte, life.disk_fails_after = random.randrange(1, 4), None
    return life
