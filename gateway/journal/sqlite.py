"""The journal in one SQLite file, shared by the workers of one machine.

WAL with `synchronous=FULL`: a commit is on disk when it returns (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import asyncio
import json
import os
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from gateway.journal import rows
from gateway.journal.entries import Entries, Session
from gateway.journal.owners import OwnerLock, gone
from gateway.journal.sealing import Sealer, sealer_for
from gateway.journal.sqlite_damage import refuse_damage, told
from gateway.journal.sqlite_writer import SqliteWriter
from gateway.journal.statements import migrations, numbered, statements
from gateway.saga.intent import Intent
from gateway.saga.journal_port import JournalUnavailable

T = TypeVar("T")
_PARAMETER = re.compile(r":(\w+)")
_SQL = {name: numbered(sql, _PARAMETER, "?") for name, sql in statements("sqlite").items()}
sqlite3.register_adapter(list, json.dumps)  # read by json_each
# What nothing is registered for is asked for `__conform__` each time, with an error that nobody sees.
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(type(None), lambda none: none)
_FULL = 2
_BUSY_SECONDS = 5.0
# The kernel's lock says who is alive, and it cannot lapse while its process lives: one epoch is enough.
_EPOCH = 1


class SqliteJournal(Entries):
    """`Journal` over SQLite. `owner` is a name for logs; a random part is added to tell restarts apart.

    Payloads are sealed with the keys in `key_file`, or with one that is made beside the journal.
    `open` raises JournalUnavailable when the file cannot be had, is newer than this program, or does not keep
    its promises.
    """

    def __init__(
        self,
        path: Path | str,
        owner: str,
        *,
        committed: Callable[[float], None] | None = None,
        key_file: Path | None = None,
    ) -> None:
        super().__init__()
        self._path, self._key_file = Path(path), key_file
        self._lock = OwnerLock(self._path, owner)
        self._writer = SqliteWriter(lambda: _connect(self._path, self._sealer), committed)

    @property
    def owner(self) -> str:
        """This process, as its entries name it."""
        return self._lock.owner

    @property
    def broken(self) -> str | None:
        """Why the journal is out of order until the process starts anew, or None."""
        return self._writer.broken

    async def open(self) -> None:
        """Take the owner's lock and open the file, making it (mode 0600) when it is not there."""
        try:
            self._lock.take()
            self._opened = sealer_for(self._key_file, self._path)
            await self._writer.open()
        except ValueError as error:
            self._lock.release()
            raise JournalUnavailable(f"its key file {error}") from error
        except OSError as error:
            self._lock.release()
            raise JournalUnavailable(f"cannot be opened: {type(error).__name__}") from error
        except JournalUnavailable:
            self._lock.release()
            raise

    async def close(self) -> None:
        """Commit what is queued. Entries that are open become orphans for whoever opens the journal next."""
        self._hurry()
        await self._writer.close()
        self._lock.release()

    def still_owner(self, intent: Intent) -> None:
        """The lock of a process that runs cannot have been taken from it."""

    async def claim_orphans(self, now: float, limit: int) -> int:
        """Take over open entries of processes that are gone."""
        return await self._writer.do(
            lambda connection: _claim(_Session(connection), self._path, self.owner, now, limit)
        )

    def _queue(self, begin: Callable[[Session], Callable[[], T]]) -> "asyncio.Future[T]":
        return self._writer.queue(lambda connection: begin(_Session(connection)))

    def _alive(self, session: Session, intent: Intent) -> bool:  # noqa: ARG002 (the kernel is asked)
        hold = gone(self._path, intent.owner)
        if hold is None:
            return True
        hold.forget(remove=False)
        return False


class _Result:
    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def rows(self) -> Sequence[rows.Row]:
        names = [column[0] for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in self._cursor]

    def changed(self) -> int:
        return self._cursor.rowcount


class _Session:
    epoch = _EPOCH

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: rows.Values) -> _Result:
        sql, picked = _SQL[statement]
        return _Result(self._connection.execute(sql, picked(values)))


def _connect(path: Path, sealer: Sealer) -> sqlite3.Connection:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)  # -wal and -shm inherit the mode
    os.close(descriptor)
    refuse_damage(path)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    # Damaged text must show as a damaged row, not as an error of the whole statement.
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    try:
        _prepare(connection, path, sealer)
    except sqlite3.OperationalError:
        connection.close()
        raise
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        connection.close()
        raise JournalUnavailable(told(path, str(error))) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, sealer: Sealer) -> None:
    """Settings first, each verified: a file system or build that cannot keep them must not hold a journal."""
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise JournalUnavailable("the file system does not allow a write-ahead log")
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("PRAGMA synchronous").fetchone()[0] != _FULL:
        raise JournalUnavailable("synchronous is not FULL")
    connection.execute("PRAGMA secure_delete = ON")  # payloads of closed entries are overwritten, not just unlinked
    known = migrations("sqlite")[-1].version
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > known:
        raise JournalUnavailable(f"its schema {version} is newer than this program's {known}")
    if version < known:
        _migrate(connection, sealer, known)
    if not _columns(connection) >= _columns_wanted():
        raise JournalUnavailable(told(path, "its tables are not those of its schema"))


def _columns(connection: sqlite3.Connection) -> frozenset[tuple[object, ...]]:
    """Table, name, type, NOT NULL and place in the key of every column."""
    return frozenset(
        connection.execute(
            'SELECT found.name, each.name, each.type, each."notnull", each.pk '
            "FROM sqlite_master AS found JOIN pragma_table_info(found.name) AS each WHERE found.type = 'table'"
        )
    )


@cache
def _columns_wanted() -> frozenset[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        _migrate(memory, Sealer([bytes(32)]), migrations("sqlite")[-1].version)
        return _columns(memory)


def _migrate(connection: sqlite3.Connection, sealer: Sealer, known: int) -> None:
    """From whatever version it has to this program's, in one transaction."""

    def seal(decision_id: str, column: str, value: str | bytes | None) -> bytes | None:
        plain = value.encode() if isinstance(value, str) else value
        return None if plain is None else sealer.seal(plain, decision_id, column)

    connection.create_function("seal", 3, seal)
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]  # another worker may have been first
    for migration in migrations("sqlite"):
        if migration.version > version:
            for statement in _statements(migration.script):
                connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {known:d}")
    connection.execute("COMMIT")
    # The next start need not read a log as long as the journal.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _statements(script: str) -> list[str]:
    """One by one: `executescript` would commit the transaction that makes the migration atomic."""
    found, text = [], ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found


def _claim(session: _Session, path: Path, owner: str, now: float, limit: int) -> int:
    claimed = 0
    for row in session.execute("owners", {"owner": owner}).rows():
        if claimed >= limit:
            break
        other = str(row["owner"])
        hold = gone(path, other)
        if hold is None:
            continue
        # The hold is kept until the rows are changed; other processes wait for this transaction anyway.
        values: rows.Values = {"owner": owner, "epoch": _EPOCH, "now": now, "other": other, "limit": limit - claimed}
        taken = session.execute("claim", values).changed()
        hold.forget(remove=claimed + taken < limit)
        claimed += taken
    return claimed
