"""What the runbook tells an operator to type is typed here, as it stands there."""

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.journal.sqlite import SqliteJournal
from gateway.saga.intent import State
from gateway.saga.journal_port import JournalUnavailable
from tests.journal.entries import entry

RUNBOOK = (Path(__file__).parents[2] / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")
ENTRIES = 300
PAGE = 4096


def command(section: str, pattern: str) -> str:
    """The one text of a section that matches."""
    text = RUNBOOK.split(f"\n## {section}\n")[1].split("\n## ")[0]
    (found,) = re.findall(pattern, text, re.DOTALL)
    return str(found)


def typed(command: str, folder: Path) -> str:
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """A journal in use: a third of its entries are closed."""
    (tmp_path / "in-use").mkdir()
    journal = SqliteJournal(tmp_path / "in-use" / "journal.db", "one")
    await journal.open()
    for number in range(ENTRIES):
        held = await journal.begin(entry(number))
        if number % 3 == 0:
            await journal.advance(replace(held, state=State.COMMITTED), expected=State.INTENDED)
    yield journal
    await journal.close()


async def opened(folder: Path) -> tuple[dict[State, int], int]:
    """The entries of each state, and how many of the open ones can be settled; none may be damaged."""
    journal = SqliteJournal(folder / "journal.db", "two")
    await journal.open()
    await journal.claim_orphans(1e10, ENTRIES)
    due = await journal.due(1e10, ENTRIES)
    assert all(each.body == entry(1).body for each in due)
    states = dict((await journal.counts()).states)
    await journal.close()
    return states, len(due)


async def test_a_backup_of_a_journal_in_use(running: SqliteJournal, tmp_path: Path) -> None:
    used, put_back = tmp_path / "in-use", tmp_path / "put-back"
    typed(command("Backup", r"`(sqlite3 journal\.db [^`]*)`"), used)
    put_back.mkdir()
    shutil.move(used / "journal.backup", put_back / "journal.db")
    shutil.copy(used / "journal.db.payload-key", put_back)
    states, due = await opened(put_back)
    assert states[State.COMMITTED] == ENTRIES // 3
    assert due == states[State.INTENDED] == ENTRIES - ENTRIES // 3


async def test_what_can_be_read_of_a_damaged_journal_is_brought_out(running: SqliteJournal, tmp_path: Path) -> None:
    await running.close()
    folder, put_back = tmp_path / "in-use", tmp_path / "put-back"
    content = bytearray((folder / "journal.db").read_bytes())
    middle = len(content) // PAGE // 2
    content[middle * PAGE : (middle + 1) * PAGE] = bytes(PAGE)
    (folder / "journal.db").write_bytes(content)
    with pytest.raises(JournalUnavailable):
        await SqliteJournal(folder / "journal.db", "two").open()
    listed = typed(command("A damaged journal", r"```sh\n(.*?)```"), folder)
    put_back.mkdir()
    shutil.move(folder / "recovered.db", put_back / "journal.db")
    shutil.copy(folder / "journal.db.payload-key", put_back)
    states, due = await opened(put_back)
    assert dict(line.split("|") for line in listed.split()) == {
        state.value: str(count) for state, count in states.items() if count
    }
    assert states[State.STUCK] == 0
    assert ENTRIES * 0.7 < sum(states.values()) <= ENTRIES
    assert due == states[State.INTENDED]
