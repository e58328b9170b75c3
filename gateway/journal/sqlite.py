"""The journal in one SQLite file, shared by the workers of one machine.

WAL with `synchronous=FULL`: a commit is on disk when it returns (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import os
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import replace
from importlib import resources
from pathlib import Path

from gateway.journal import rows
from gateway.journal.owners import OwnerLock, gone
from gateway.journal.writer import Writer
from gateway.saga.intent import CLOSED, OPEN, Intent, State
from gateway.saga.journal_port import JournalCounts, JournalUnavailable, NotOwner, Resolution, StillOwned
from gateway.saga.table import Event, step

_VERSION = 1
_FULL = 2
_BUSY_SECONDS = 5.0
_PRUNED_AT_ONCE = 1000
_OPEN = "state IN ('intended', 'stored', 'compensating')"


class SqliteJournal:
    """`Journal` over SQLite. `owner` is a name for logs; a random part is added to tell restarts apart.

    `open` raises JournalUnavailable when the file cannot be had, is newer than this program, or does not keep
    its promises.
    """

    def __init__(self, path: Path | str, owner: str, *, committed: Callable[[float], None] | None = None) -> None:
        self._path = Path(path)
        self._lock = OwnerLock(self._path, owner)
        self._writer = Writer(lambda: _connect(self._path), committed)

    @property
    def owner(self) -> str:
        return self._lock.owner

    @property
    def broken(self) -> str | None:
        """Why the journal is out of order until the process starts anew, or None."""
        return self._writer.broken

    async def open(self) -> None:
        """Take the owner's lock and open the file, making it (mode 0600) when it is not there."""
        try:
            self._lock.take()
            await self._writer.open()
        except (sqlite3.Error, OSError) as error:
            self._lock.release()
            raise JournalUnavailable(f"cannot be opened: {type(error).__name__}") from error
        except JournalUnavailable:
            self._lock.release()
            raise

    async def close(self) -> None:
        """Commit what is queued. Entries that are open become orphans for whoever opens the journal next."""
        await self._writer.close()
        self._lock.release()

    async def begin(self, intent: Intent) -> None:
        statement, values = rows.insert(replace(intent, owner=self.owner))

        def run(connection: sqlite3.Connection) -> None:
            known = connection.execute("SELECT 1 FROM intent WHERE decision_id = ?", (intent.decision_id,))
            if known.fetchone() is not None:
                raise NotOwner
            connection.execute(statement, values)

        await self._writer.do(run)

    async def advance(self, intent: Intent, *, expected: State) -> None:
        statement, values = rows.update(intent, owner=self.owner, expected=expected)

        def run(connection: sqlite3.Connection) -> None:
            if connection.execute(statement, values).rowcount != 1:
                raise NotOwner

        await self._writer.do(run)

    async def get(self, decision_id: str) -> Intent | None:
        return await self._writer.do(lambda connection: _get(connection, decision_id))

    async def list(self, states: Collection[State], limit: int) -> tuple[Intent, ...]:
        marks = ", ".join("?" * len(states))
        query = f"{rows.SELECT} WHERE state IN ({marks}) ORDER BY started_at, rowid LIMIT ?"
        values = (*(state.value for state in states), limit)
        return await self._writer.do(_selecting(query, values))

    async def due(self, now: float, limit: int) -> tuple[Intent, ...]:
        query = (
            f"{rows.SELECT} WHERE owner = ? AND {_OPEN} AND (next_attempt_at IS NULL OR next_attempt_at <= ?) "
            "ORDER BY next_attempt_at LIMIT ?"
        )
        return await self._writer.do(_selecting(query, (self.owner, now, limit)))

    async def claim_orphans(self, now: float, limit: int) -> int:
        return await self._writer.do(lambda connection: _claim(connection, self._path, self.owner, now, limit))

    async def stored_ids(self, type_: str, ids: Collection[str]) -> frozenset[str]:
        if not ids:
            return frozenset()
        marks = ", ".join("?" * len(ids))
        query = f"SELECT stored_id FROM intent WHERE type = ? AND stored_id IN ({marks})"  # noqa: S608 (only marks)
        return await self._writer.do(
            lambda connection: frozenset(str(row[0]) for row in connection.execute(query, (type_, *ids)))
        )

    async def counts(self) -> JournalCounts:
        return await self._writer.do(_count)

    async def prune(self, before: float) -> int:
        states = [state.value for state in CLOSED]
        query = (
            "DELETE FROM intent WHERE decision_id IN "
            "(SELECT decision_id FROM intent WHERE state IN (?, ?, ?) AND updated_at < ? LIMIT ?)"
        )
        return await self._writer.do(
            lambda connection: connection.execute(query, (*states, before, _PRUNED_AT_ONCE)).rowcount
        )

    async def record_policy_set(self, revision: str, sources: str) -> None:
        query = "INSERT INTO policy_set (revision, sources) VALUES (?, ?) ON CONFLICT (revision) DO NOTHING"

        def run(connection: sqlite3.Connection) -> None:
            connection.execute(query, (revision, sources))

        await self._writer.do(run)

    async def policy_set(self, revision: str) -> str | None:
        def run(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT sources FROM policy_set WHERE revision = ?", (revision,)).fetchone()
            return None if row is None else str(row[0])

        return await self._writer.do(run)

    async def decide(self, decision_id: str, event: Event, *, by: str, why: str, now: float) -> Intent:
        resolution = Resolution(decision_id=decision_id, event=event, by=by, why=why, at=now)
        return await self._writer.do(lambda connection: _decide(connection, self._path, self.owner, resolution))

    async def resolutions(self, decision_id: str) -> tuple[Resolution, ...]:
        query = "SELECT event, by, why, at FROM resolution WHERE decision_id = ? ORDER BY at"

        def run(connection: sqlite3.Connection) -> tuple[Resolution, ...]:
            return tuple(
                Resolution(decision_id=decision_id, event=Event(event), by=by, why=why, at=at)
                for event, by, why, at in connection.execute(query, (decision_id,))
            )

        return await self._writer.do(run)


def _connect(path: Path) -> sqlite3.Connection:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)  # it holds payloads until they are settled; -wal and -shm inherit the mode
    os.close(descriptor)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Settings first, each verified: a file system or build that cannot keep them must not hold a journal."""
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise JournalUnavailable("the file system does not allow a write-ahead log")
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("PRAGMA synchronous").fetchone()[0] != _FULL:
        raise JournalUnavailable("synchronous is not FULL")
    connection.execute("PRAGMA secure_delete = ON")  # payloads of closed entries are overwritten, not just unlinked
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > _VERSION:
        raise JournalUnavailable(f"its schema {version} is newer than this program's {_VERSION}")
    if version < _VERSION:
        schema = resources.files("gateway.journal").joinpath("schema.sql").read_text(encoding="utf-8")
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] < _VERSION:  # another worker may have been first
            for statement in _statements(schema):
                connection.execute(statement)
        connection.execute("COMMIT")


def _statements(script: str) -> list[str]:
    """One by one: `executescript` would commit the transaction that makes the migration atomic."""
    statements, text = [], ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements


def _selecting(query: str, values: tuple[rows.Value, ...]) -> Callable[[sqlite3.Connection], tuple[Intent, ...]]:
    return lambda connection: tuple(rows.intent_of(row) for row in connection.execute(query, values))


def _get(connection: sqlite3.Connection, decision_id: str) -> Intent | None:
    row = connection.execute(f"{rows.SELECT} WHERE decision_id = ?", (decision_id,)).fetchone()
    return None if row is None else rows.intent_of(row)


def _claim(connection: sqlite3.Connection, path: Path, owner: str, now: float, limit: int) -> int:
    query = f"SELECT DISTINCT owner FROM intent WHERE {_OPEN} AND owner <> ?"  # noqa: S608 (a constant)
    claimed = 0
    for (other,) in connection.execute(query, (owner,)).fetchall():
        if claimed >= limit:
            break
        hold = gone(path, other)
        if hold is None:
            continue
        # The hold is kept until the rows are changed; other processes wait for this transaction anyway.
        taken = connection.execute(
            f"UPDATE intent SET owner = ?, next_attempt_at = ? WHERE decision_id IN "  # noqa: S608 (a constant)
            f"(SELECT decision_id FROM intent WHERE owner = ? AND {_OPEN} LIMIT ?)",
            (owner, now, other, limit - claimed),
        ).rowcount
        hold.forget(remove=claimed + taken < limit)
        claimed += taken
    return claimed


def _count(connection: sqlite3.Connection) -> JournalCounts:
    states = dict.fromkeys(State, 0)
    for state, count in connection.execute("SELECT state, count(*) FROM intent GROUP BY state"):
        states[State(state)] = count
    oldest = connection.execute(f"SELECT min(started_at) FROM intent WHERE {_OPEN}").fetchone()[0]  # noqa: S608
    return JournalCounts(states=states, oldest_open_at=oldest)


def _decide(connection: sqlite3.Connection, path: Path, owner: str, resolution: Resolution) -> Intent:
    intent = _get(connection, resolution.decision_id)
    if intent is None:
        raise KeyError(resolution.decision_id)
    if intent.state in OPEN:
        hold = gone(path, intent.owner)
        if hold is None:
            raise StillOwned
        hold.forget(remove=False)
        # Nobody settles it any more, and a person says how it ends: as if it had been stuck.
        intent = replace(intent, state=State.STUCK)
    move = step(intent.state, resolution.event)
    retried = move.next in OPEN
    decided = replace(
        intent,
        state=move.next,
        owner="" if retried else owner,  # nobody's: any running process may claim it
        updated_at=resolution.at,
        next_attempt_at=resolution.at if retried else intent.next_attempt_at,
        attempts=0,
        refusals=0,
    )
    connection.execute("UPDATE intent SET owner = ? WHERE decision_id = ?", (decided.owner, intent.decision_id))
    before = State(
        connection.execute("SELECT state FROM intent WHERE decision_id = ?", (intent.decision_id,)).fetchone()[0]
    )
    statement, values = rows.update(decided, owner=decided.owner, expected=before)
    connection.execute(statement, values)
    connection.execute(
        "INSERT INTO resolution (decision_id, event, by, why, at) VALUES (?, ?, ?, ?, ?)",
        (resolution.decision_id, resolution.event.value, resolution.by, resolution.why, resolution.at),
    )
    return decided
