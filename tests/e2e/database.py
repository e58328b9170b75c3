"""A journal in a database of its own, for the tests of PostgreSQL."""

import base64
import os
from pathlib import Path
from typing import Any

from gateway.journal.postgres import PostgresJournal
from gateway.journal.postgres_connection import Target
from gateway.journal.writer import Writer
from tests.e2e.postgresql import PostgreSql
from tests.journal.contract import Place


class Database(Place[PostgresJournal]):
    """A fresh database, and a file of keys."""

    def __init__(self, server: PostgreSql, folder: Path) -> None:
        self.server, self.target = server, server.database()
        self.keys = folder / "keys"
        self.keys.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")

    async def open(self, name: str, *, lease: float = 30.0, target: Target | None = None) -> PostgresJournal:
        journal = PostgresJournal(target or self.target, name, key_file=self.keys, lease=lease)
        await journal.open()
        return journal

    async def die(self, journal: PostgresJournal) -> None:
        journal._writer._drop()  # so that it cannot give its lease back
        await journal.close()
        self.sql(f"UPDATE lease SET expires_at = clock_timestamp() WHERE owner = '{journal.owner}'")

    def writer(self, journal: PostgresJournal) -> Writer[Any]:
        return journal._writer

    def sql(self, statement: str) -> str:
        return self.server.sql(statement, database=self.target.database)
