"""An open journal on a real disk."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.journal.sqlite import SqliteJournal


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    made = SqliteJournal(tmp_path / "journal.db", "one")
    await made.open()
    yield made
    await made.close()
