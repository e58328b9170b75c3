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
from gateway.saga.intent import CLOSED, Intent, State
from gateway.saga.journal_port import JournalUnavailable, NotOwner, StillOwned
from gateway.saga.table import Event, IllegalTransition
from tests.journal.entries import entry


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("journal.db*"))


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.glob("journal.db*")}


def locks(folder: Path) -> int:
    return len(list(folder.glob("*.owner-*")))


async def test_an_entry_comes_back_as_it_was_written(journal: SqliteJournal) -> None:
    written = replace(entry(), if_none_exist="a=b", prior_tombstone="2", send_deadline=3.5, created=None)
    await journal.begin(written)
    assert await journal.get("d1") == replace(written, owner=journal.owner)
    assert await journal.get("nobody") is None


async def test_every_changing_field_is_written(journal: SqliteJournal) -> None:
    await journal.begin(entry())
    changed = replace(
        entry(),
        owner=journal.owner,
        state=State.COMPENSATING,
        prior_version="5",
        prior_body=b"new",
        send_deadline=2.0,
        stored_id="o1",
        stored_version="6",
        upstream_status=200,
        created=False,
        attempts=3,
        refusals=2,
        next_attempt_at=9.0,
        failed=("p/r",),
        reason="why",
        updated_at=8.0,
    )
    kept = await journal.get("d1")
    assert kept is not None
    await journal.advance(replace(changed, write_id=kept.write_id), expected=State.INTENDED)
    assert await journal.get("d1") == replace(changed, write_id=kept.write_id)


async def test_the_same_decision_cannot_begin_twice(journal: SqliteJournal) -> None:
    await journal.begin(entry())
    with pytest.raises(NotOwner):
        await journal.begin(entry())
    kept = await journal.get("d1")
    assert kept is not None
    with pytest.raises(NotOwner):
        await journal.begin(replace(entry(2), write_id=kept.write_id))
    assert journal.broken is None


async def test_a_move_from_another_state_or_by_another_owner_is_refused(journal: SqliteJournal, tmp_path: Path) -> None:
    await journal.begin(entry())
    with pytest.raises(NotOwner):
        await journal.advance(entry(), expected=State.STORED)
    other = SqliteJournal(tmp_path / "journal.db", "two")
    await other.open()
    with pytest.raises(NotOwner):
        await other.advance(replace(entry(), state=State.STORED), expected=State.INTENDED)
    await other.close()


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


async def test_concurrent_moves_share_a_commit(journal: SqliteJournal) -> None:
    before = journal._writer.commits
    await asyncio.gather(*(journal.begin(entry(number)) for number in range(200)))
    assert journal._writer.commits - before < 100
    assert (await journal.counts()).states[State.INTENDED] == 200


async def test_due_entries_are_this_process_own_and_in_time(journal: SqliteJournal) -> None:
    await journal.begin(replace(entry(1), next_attempt_at=50.0))
    await journal.begin(replace(entry(2), next_attempt_at=None))
    await journal.begin(replace(entry(3), next_attempt_at=200.0))
    assert [each.decision_id for each in await journal.due(100.0, 10)] == ["d2", "d1"]
    assert len(await journal.due(1000.0, 2)) == 2


async def test_list_counts_and_oldest(journal: SqliteJournal) -> None:
    assert (await journal.counts()).oldest_open_at is None
    await journal.begin(entry(1, started_at=20.0))
    await journal.begin(entry(2, started_at=10.0))
    listed = await journal.list({State.INTENDED}, 10)
    assert [each.decision_id for each in listed] == ["d2", "d1"]
    counts = await journal.counts()
    assert counts.oldest_open_at == 10.0
    assert counts.states[State.INTENDED] == 2
    assert set(counts.states) == set(State)


async def test_orphans_are_claimed_only_from_owners_that_are_gone(journal: SqliteJournal, tmp_path: Path) -> None:
    for number in range(3):
        await journal.begin(entry(number))
    other = SqliteJournal(tmp_path / "journal.db", "two")
    await other.open()
    assert await other.claim_orphans(500.0, 10) == 0
    journal._lock.abandon()
    assert await other.claim_orphans(500.0, 2) == 2
    assert await other.claim_orphans(500.0, 2) == 1
    assert await other.claim_orphans(500.0, 2) == 0
    assert len(await other.due(500.0, 10)) == 3
    assert locks(tmp_path) == 1
    with pytest.raises(NotOwner):
        await journal.advance(replace(entry(0), state=State.STORED), expected=State.INTENDED)
    await other.close()


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


async def test_closed_entries_are_pruned_after_a_time(journal: SqliteJournal) -> None:
    for number in range(3):
        await journal.begin(entry(number))
    await journal.advance(replace(entry(0), state=State.COMMITTED, updated_at=10.0), expected=State.INTENDED)
    await journal.advance(replace(entry(1), state=State.STUCK, updated_at=10.0), expected=State.INTENDED)
    assert await journal.prune(10.0) == 0
    assert await journal.prune(11.0) == 1
    assert await journal.get("d0") is None
    assert await journal.get("d1") is not None


async def test_policy_sets_and_stored_ids(journal: SqliteJournal) -> None:
    await journal.record_policy_set("r1", "[1]")
    await journal.record_policy_set("r1", "[2]")
    assert await journal.policy_set("r1") == "[1]"
    assert await journal.policy_set("r2") is None
    await journal.begin(entry())
    await journal.advance(
        replace(entry(), state=State.STORED, stored_id="s1", stored_version="1"), expected=State.INTENDED
    )
    assert await journal.stored_ids("Observation", ["s1", "s2"]) == {"s1"}
    assert await journal.stored_ids("Patient", ["s1"]) == frozenset()
    assert await journal.stored_ids("Observation", []) == frozenset()


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (Event.RESOLVED_COMMITTED, State.COMMITTED),
        (Event.RESOLVED_UNDONE, State.UNDONE),
        (Event.RETRY_UNDO, State.COMPENSATING),
        (Event.RETRY_JUDGE, State.STORED),
        (Event.RETRY_LOOK, State.INTENDED),
    ],
)
async def test_a_person_decides_about_a_stuck_entry(journal: SqliteJournal, event: Event, state: State) -> None:
    await journal.begin(entry())
    await journal.advance(replace(entry(), state=State.STUCK, refusals=8, attempts=9), expected=State.INTENDED)
    decided = await journal.decide("d1", event, by="ann", why="looked", now=77.0)
    assert (decided.state, decided.attempts, decided.refusals) == (state, 0, 0)
    assert [(each.event, each.by, each.why, each.at) for each in await journal.resolutions("d1")] == [
        (event, "ann", "looked", 77.0)
    ]
    if state not in CLOSED:
        assert await journal.claim_orphans(80.0, 10) == 1


async def test_a_person_may_not_meddle_with_what_is_being_settled(journal: SqliteJournal, tmp_path: Path) -> None:
    await journal.begin(entry())
    person = SqliteJournal(tmp_path / "journal.db", "cli")
    await person.open()
    with pytest.raises(StillOwned):
        await person.decide("d1", Event.RESOLVED_UNDONE, by="ann", why="w", now=1.0)
    with pytest.raises(KeyError):
        await person.decide("d2", Event.RESOLVED_UNDONE, by="ann", why="w", now=1.0)
    journal._lock.abandon()
    assert (await person.decide("d1", Event.RESOLVED_UNDONE, by="ann", why="w", now=1.0)).state is State.UNDONE
    with pytest.raises(IllegalTransition):
        await person.decide("d1", Event.RESOLVED_COMMITTED, by="ann", why="w", now=1.0)
    await person.close()


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


@pytest.mark.parametrize(("file", "table"), [("sqlite-0002", "intent_2"), ("postgresql-0001", "intent")])
def test_the_schema_has_every_field_of_an_intent(file: str, table: str) -> None:
    schema = (Path(__file__).parents[2] / f"gateway/journal/schema/{file}.sql").read_text()
    columns = schema.partition(f"CREATE TABLE {table} (")[2].partition("\n)")[0]
    assert set(re.findall(r"^    ([a-z_]+) ", columns, re.MULTILINE)) == {each.name for each in fields(Intent)}
