"""A journal on a real disk."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.journal.sealing import key_beside
from gateway.journal.sqlite import SqliteJournal
from gateway.journal.writer import Writer
from tests.journal.contract import Place


class Folder(Place[SqliteJournal]):
    """One file, and the key beside it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"
        self.keys = key_beside(self.path)

    async def open(self, name: str) -> SqliteJournal:
        journal = SqliteJournal(self.path, name)
        await journal.open()
        return journal

    async def die(self, journal: SqliteJournal) -> None:
        journal._lock.abandon()

    def writer(self, journal: SqliteJournal) -> Writer[Any]:
        return journal._writer


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
async def journal(place: Folder) -> AsyncIterator[SqliteJournal]:
    made = await place.open("one")
    yield made
    await made.close()
