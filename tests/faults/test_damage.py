"""A journal that is not as it was written: the start refuses, or goes on with what is right. Never by a damaged row.

Bits flip while no gateway runs, at places drawn from a seed, in the file and in its write-ahead log; pages are torn.
"""

import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from gateway.journal import sqlite_damage
from gateway.journal.sqlite import SqliteJournal
from gateway.saga.intent import Intent, State
from gateway.saga.journal_port import JournalUnavailable
from gateway.saga.table import Event
from tests.faults.processes import Gateway, observation
from tests.journal.entries import entry

ENTRIES = 30
DAMAGED = "is damaged"
HEADER, FRAME, PAGE = 32, 24, 4096
# What says what is looked for, judged by, removed or restored, and for whom.
STEERING = (
    "decision_id", "write_id", "interaction", "type", "id", "prior_version", "prior_tombstone", "policy_revision",
    "applied", "client_id", "issuer", "started_at", "send_deadline", "stored_id", "stored_version", "created", "body",
    "prior_body", "facts", "if_none_exist",
)  # fmt: skip
Entries = dict[str, Intent]
Result = tuple[Entries, int] | str


def stored(number: int) -> Intent:
    return replace(
        entry(number, body=b'{"resourceType": "Observation", "n": %d}' % number),
        state=State.STORED,
        if_none_exist=f"identifier=urn:x|{number}",
        stored_id=f"o{number}",
        stored_version="2",
        created=False,
    )


async def written(folder: Path, *, stopped: bool) -> Entries:
    """A journal as an orderly stop leaves it, or as kill -9 does; and what stands in it."""
    working = folder.with_name(f"{folder.name}-working")
    working.mkdir()
    journal = SqliteJournal(working / "journal.db", "before")
    await journal.open()
    entries = {}
    for number in range(ENTRIES):
        intent = await journal.begin(stored(number))
        if number % 2:
            intent = replace(intent, state=State.COMPENSATING)
            await journal.advance(intent, expected=State.STORED)
        entries[intent.decision_id] = intent
    if stopped:
        await journal.close()
    shutil.copytree(working, folder)
    await journal.close()
    (folder / "journal.db-shm").unlink(missing_ok=True)  # a machine that starts anew has none
    return entries


async def found(folder: Path) -> Result:
    """What the next process would act on, and how many rows it gave up; or why it refuses."""
    journal = SqliteJournal(folder / "journal.db", "after")
    try:
        await journal.open()
    except JournalUnavailable as refused:
        return refused.reason
    try:
        await journal.claim_orphans(10.0, 1000)
        due = {each.decision_id: each for each in await journal.due(2000.0, 1000)}
        return due, (await journal.counts()).states[State.STUCK]
    finally:
        await journal.close()


def everything(folder: Path) -> dict[str, bytes]:
    """What holds the journal; an empty log holds nothing, and its index is made anew by whoever opens it."""
    files = {name: folder / name for name in ("journal.db", "journal.db-wal")}
    return {name: content for name, path in files.items() if path.exists() and (content := path.read_bytes())}


def steered(intent: Intent) -> tuple[object, ...]:
    return tuple(getattr(intent, name) for name in STEERING)


def outcome(expected: Entries, result: Result) -> str:
    """Refused, or gone on with rows that are as they were written; none has vanished."""
    if isinstance(result, str):
        assert DAMAGED in result
        assert "journal.db" in result
        assert "RUNBOOK" in result
        return "refused"
    due, stuck = result
    for decision_id, intent in due.items():
        assert steered(intent) == steered(expected[decision_id])
        assert intent.state is expected[decision_id].state
    assert len(due) + stuck == len(expected)
    return "gave up" if stuck else "went on"


async def outcomes(
    folder: Path, expected: Entries, damage: Callable[[Path, Random], None], seeds: range
) -> dict[str, int]:
    """How often which of them, over so many copies with a damage each."""
    counted = dict.fromkeys(("refused", "gave up", "went on"), 0)
    for seed in seeds:
        copy = folder / f"copy-{seed}"
        shutil.copytree(folder / "sound", copy)
        damage(copy, Random(seed))
        before = everything(copy)
        ended = outcome(expected, await found(copy))
        assert ended != "refused" or everything(copy) == before, "a refusal changes nothing"
        counted[ended] += 1
        shutil.rmtree(copy)
    return counted


def flip(path: Path, place: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def flip_in_file(folder: Path, random: Random) -> None:
    path = folder / "journal.db"
    flip(path, random.randrange(path.stat().st_size), random.randrange(8))


def flip_in_log(folder: Path, random: Random) -> None:
    """Anywhere but in the last transaction, which a loss of power can cut as well."""
    path = folder / "journal.db-wal"
    flip(path, random.randrange(path.stat().st_size - 8 * (FRAME + PAGE)), random.randrange(8))


def tear(folder: Path, random: Random) -> None:
    """A page of which the second half was never written."""
    path = folder / "journal.db"
    content = bytearray(path.read_bytes())
    page = random.randrange(1, len(content) // PAGE)
    start = page * PAGE + PAGE // 2
    content[start : start + PAGE // 2] = bytes(PAGE // 2)
    path.write_bytes(content)


async def test_bits_that_flip_in_the_file(folder: Path) -> None:
    expected = await written(folder / "sound", stopped=True)
    counted = await outcomes(folder, expected, flip_in_file, range(120))
    assert min(counted.values()) > 0, counted


async def test_bits_that_flip_in_the_write_ahead_log(folder: Path) -> None:
    """SQLite by itself would go on with what stands before the damage, and forget the rest in silence."""
    expected = await written(folder / "sound", stopped=False)
    counted = await outcomes(folder, expected, flip_in_log, range(40))
    assert counted["refused"] >= 38, counted  # the rest: bytes that say nothing, such as the number of a checkpoint


async def test_torn_pages(folder: Path) -> None:
    expected = await written(folder / "sound", stopped=True)
    counted = await outcomes(folder, expected, tear, range(30))
    assert counted["refused"] + counted["gave up"] >= 10, counted


async def test_a_log_whose_last_transaction_was_cut_by_a_loss_of_power(folder: Path) -> None:
    """No damage: that transaction was told to nobody."""
    expected = await written(folder / "sound", stopped=False)
    log = folder / "sound" / "journal.db-wal"
    flip(log, log.stat().st_size - PAGE // 2, 0)
    result = await found(folder / "sound")
    assert not isinstance(result, str)
    due, stuck = result
    assert stuck == 0
    assert len(due) == len(expected)
    before = [key for key in due if due[key].state is not expected[key].state]
    assert before == [f"d{ENTRIES - 1}"]


async def test_an_empty_or_cut_log_is_none(folder: Path) -> None:
    expected = await written(folder / "sound", stopped=True)
    for content in (b"", bytes(HEADER), bytes(10)):
        (folder / "sound" / "journal.db-wal").write_bytes(content)
        assert outcome(expected, await found(folder / "sound")) == "went on"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("stored_id", "o7"), ("stored_version", "3"), ("created", 1), ("created", None), ("type", "Condition"),
        ("write_id", "w"), ("id", "o2"), ("interaction", "create"), ("interaction", "no such thing"),
        ("prior_version", "2"), ("prior_tombstone", "4"), ("policy_revision", "r2"), ("applied", "[]"),
        ("client_id", "other"), ("issuer", "other"), ("started_at", 5.0), ("send_deadline", 5.0),
        ("failed", "no JSON"),
    ],
)  # fmt: skip
async def test_a_row_that_says_something_else_steers_nothing(folder: Path, column: str, value: object) -> None:
    """It becomes stuck, also when a person has it tried again; how it ends is for the person to say."""
    path = folder / "journal.db"
    journal = SqliteJournal(path, "one")
    await journal.open()
    await journal.begin(stored(1))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"UPDATE intent SET {column} = ?", (value,))
    for _ in range(2):
        assert await journal.due(2000.0, 10) == ()
        (shown,) = await journal.list([State.STUCK], 10)
        kept = await journal.get("d1")
        assert kept is not None
        assert kept.state is State.STUCK
        assert shown.reason == "its row was changed in the journal"
        await journal.decide("d1", Event.RETRY_UNDO, by="tester", why="again", now=1.0)
        await journal.claim_orphans(2.0, 10)
    assert await journal.due(2000.0, 10) == ()
    ended = await journal.decide("d1", Event.RESOLVED_UNDONE, by="tester", why="put right", now=3.0)
    assert ended.state is State.UNDONE
    await journal.close()


async def test_an_index_that_hides_open_writes_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a file that is too large to hold every index against the table."""
    expected = await written(folder / "sound", stopped=True)
    path = folder / "sound" / "journal.db"
    with closing(sqlite3.connect(path)) as other, other:
        condition = f"WHERE {sqlite_damage._OPEN}"
        other.execute("DROP INDEX intent_open")
        other.execute(f"CREATE INDEX intent_open ON intent (owner, epoch, next_attempt_at) {condition} AND id <> 'o1'")
        other.execute("PRAGMA writable_schema = ON")
        made = f"CREATE INDEX intent_open ON intent (owner, epoch, next_attempt_at) {condition}"
        other.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'intent_open'", (made,))
    for small in (sqlite_damage._SMALL_BYTES, 0):
        monkeypatch.setattr(sqlite_damage, "_SMALL_BYTES", small)
        assert outcome(expected, await found(folder / "sound")) == "refused"


async def test_a_check_that_takes_too_long_ends_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = await written(folder / "sound", stopped=True)
    monkeypatch.setattr(sqlite_damage, "_MOST_SECONDS", -1.0)
    monkeypatch.setattr(sqlite_damage, "_INSTRUCTIONS_BETWEEN_LOOKS", 1)
    assert outcome(expected, await found(folder / "sound")) == "went on"
    assert "journal.check_cut_short" in capsys.readouterr().out


def test_looking_for_damage_frees_no_lock_of_a_running_gateway(gateway: Gateway) -> None:
    """Closing a file that SQLite has locked frees the locks of the whole process: another one would cut the index."""
    gateway.start()
    for number in range(3):
        assert gateway.states() == ({"committed": number} if number else {})
        answer = gateway.push("PUT", f"Observation/locked-{number}", observation(id=f"locked-{number}"))
        assert answer is not None
        assert answer.status_code == 201
    assert gateway.stop() == 0


def test_a_gateway_refuses_a_damaged_journal_and_says_which(gateway: Gateway) -> None:
    gateway.start().stop()
    path = gateway.folder / "journal.db"
    content = bytearray(path.read_bytes())
    struct.pack_into(">I", content, 28, 2)  # the file says that it has two pages
    content[PAGE : 2 * PAGE] = b"\xff" * PAGE
    path.write_bytes(content)
    (gateway.folder / "log").unlink()
    gateway.launch()
    assert gateway.ended() == 1
    said = (gateway.folder / "log").read_text()
    assert f"fhir-gateway: the journal: its file {path} is damaged" in said
    assert "RUNBOOK" in said
    assert "Traceback" not in said
