"""The journal on a real file: durable, conditional, shared, forgetful."""

import asyncio
import re
import sqlite3
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from gateway.journal.sqlite import SqliteJournal
from gateway.journal.statements import migrations
from gateway.saga.intent import CLOSED, Intent, State
from gateway.saga.journal_port import JournalUnavailable
from tests.journal.contract import JournalContract
from tests.journal.entries import entry


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("journal.db*"))


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.glob("journal.db*")}


class TestContract(JournalContract[SqliteJournal]):
    """Over SQLite."""


def locks(folder: Path) -> int:
    return len(list(folder.glob("*.owner-*")))


@pytest.mark.parametrize("state", sorted(CLOSED))
async def test_a_closed_entry_forgets_its_payloads(journal: SqliteJournal, tmp_path: Path, state: State) -> None:
    await journal.begin(entry(body=b'{"secret":"payload"}'))
    await journal.advance(replace(entry(), state=state), expected=State.INTENDED)
    kept = await journal.get("d1")
    assert kept is not None
    assert (kept.body, kept.prior_body, kept.facts) == (b"", None, "{}")
    await journal.close()
    content = everything(tmp_path)
    assert b"payload" not in content
    assert b'"fact"' not in content


async def test_the_file_is_private_and_keeps_its_promises(journal: SqliteJournal, tmp_path: Path) -> None:
    await journal.begin(entry())
    assert modes(tmp_path) == {0o600}
    facts = await journal._writer.do(
        lambda connection: (
            connection.execute("PRAGMA journal_mode").fetchone()[0],
            connection.execute("PRAGMA synchronous").fetchone()[0],
        )
    )
    assert facts == ("wal", 2)


async def test_a_newer_journal_refuses_this_program(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "journal.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalUnavailable) as refused:
        await SqliteJournal(tmp_path / "journal.db", "one").open()
    assert "newer" in refused.value.reason


async def test_what_is_no_database_or_no_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"this is not a database, but long enough to look at" * 100)
    with pytest.raises(JournalUnavailable):
        await SqliteJournal(tmp_path / "journal.db", "one").open()
    with pytest.raises(JournalUnavailable):
        await SqliteJournal(tmp_path / "nowhere" / "journal.db", "one").open()
    with pytest.raises(JournalUnavailable):
        await SqliteJournal(tmp_path / "never-opened.db", "one").counts()


async def test_a_failed_commit_ends_the_journal(journal: SqliteJournal) -> None:
    await journal.begin(entry())
    # The file system says no: the page limit stands for a full disk, which SQLite reports the same way.
    await journal._writer.do(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone())
    with pytest.raises(JournalUnavailable) as full:
        await journal.begin(entry(2, body=b"x" * 1_000_000))
    assert full.value.reason == "SQLITE_FULL"
    assert journal.broken == "SQLITE_FULL"
    with pytest.raises(JournalUnavailable):
        await journal.counts()


async def test_a_killed_process_leaves_orphans(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, sys\n"
        "from gateway.journal.sqlite import SqliteJournal\n"
        "from tests.journal.entries import entry\n"
        "async def main():\n"
        "    journal = SqliteJournal(sys.argv[1], 'one')\n"
        "    await journal.open()\n"
        "    await journal.begin(entry())\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    path = tmp_path / "journal.db"
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(path)], check=False, cwd=Path.cwd()
    )
    assert ended.returncode == -9
    journal = SqliteJournal(path, "one")
    await journal.open()
    assert await journal.claim_orphans(5000.0, 10) == 1
    assert [each.decision_id for each in await journal.due(5000.0, 10)] == ["d1"]
    await journal.close()


async def test_another_process_that_holds_the_file_does_not_break_it(journal: SqliteJournal, tmp_path: Path) -> None:
    await journal._writer.do(lambda connection: connection.execute("PRAGMA busy_timeout = 20").fetchone())
    blocker = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalUnavailable):
        await journal.begin(entry())
    blocker.execute("ROLLBACK")
    blocker.close()
    assert journal.broken is None
    await journal.begin(entry())


async def test_a_defect_in_a_job_is_told_and_ends_the_journal(journal: SqliteJournal) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(JournalUnavailable):
        await journal._writer.do(broken)
    assert journal.broken == "defect: ZeroDivisionError"
    with pytest.raises(JournalUnavailable):
        await journal.counts()


@pytest.mark.parametrize(("backend", "first", "table"), [("sqlite", 2, "intent_2"), ("postgresql", 1, "intent")])
def test_the_schema_has_every_field_of_an_intent(backend: str, first: int, table: str) -> None:
    scripts = [each.script for each in migrations(backend) if each.version >= first]
    columns = scripts[0].partition(f"CREATE TABLE {table} (")[2].partition("\n)")[0]
    found = set(re.findall(r"^    ([a-z_]+) ", columns, re.MULTILINE))
    for later in scripts[1:]:
        found |= set(re.findall(r"ADD COLUMN ([a-z_]+) ", later))
    assert found - {"steering"} == {each.name for each in fields(Intent)}
