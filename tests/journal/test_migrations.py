"""A journal that an older program wrote is brought up to date, whole or not at all."""

import asyncio
import base64
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.journal.sealing import Sealer, key_beside
from gateway.journal.sqlite import SqliteJournal
from gateway.journal.statements import migrations, statements
from gateway.saga.intent import Intent, State
from gateway.saga.journal_port import JournalUnavailable, NotOwner
from tests.journal.entries import entry

COLUMNS = (
    "decision_id, write_id, owner, state, interaction, type, id, if_none_exist, body, prior_body, policy_revision, "
    "applied, facts, client_id, issuer, started_at, attempts, refusals, next_attempt_at, failed, updated_at"
)


def older(path: Path) -> None:
    """As version 1 was left by a program that was killed: one open entry, one closed one, nothing sealed."""
    connection = sqlite3.connect(path)
    connection.executescript(migrations("sqlite")[0].script)
    connection.execute("PRAGMA user_version = 1")
    entries = (("d1", "stored", b'{"secret":"body"}', '{"secret":1}'), ("d2", "committed", b"", "{}"))
    for id_, state, body, facts in entries:
        row: tuple[object, ...] = (
            id_,
            f"w-{id_}",
            "gone",
            state,
            "update",
            "Observation",
            "o1",
            "identifier=secret",
            body,
        )
        row += (b'{"secret":"prior"}', "r1", '["p"]', facts, "c", "i", 1.0, 2, 3, 4.0, '["p/r"]', 5.0)
        connection.execute(f"INSERT INTO intent ({COLUMNS}) VALUES ({', '.join('?' * 21)})", row)
    connection.execute("INSERT INTO policy_set VALUES ('r1', '[]')")
    connection.commit()
    connection.close()


async def test_an_older_journal_is_migrated_and_its_open_writes_go_on(tmp_path: Path) -> None:
    older(tmp_path / "journal.db")
    journal = SqliteJournal(tmp_path / "journal.db", "one")
    await journal.open()
    assert await journal.claim_orphans(10.0, 5) == 1
    (due,) = await journal.due(10.0, 5)
    assert (due.body, due.prior_body, due.facts) == (b'{"secret":"body"}', b'{"secret":"prior"}', '{"secret":1}')
    assert (due.if_none_exist, due.state, due.attempts, due.refusals) == ("identifier=secret", State.STORED, 2, 3)
    assert (due.applied, due.failed) == (("p",), ("p/r",))
    closed = await journal.get("d2")
    assert isinstance(closed, Intent)
    assert (closed.body, closed.prior_body, closed.if_none_exist) == (b"", None, None)
    assert await journal.policy_set("r1") == "[]"
    await journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        (row,) = connection.execute("SELECT * FROM intent WHERE decision_id = 'd1'")
        assert connection.execute("PRAGMA user_version").fetchone() == (migrations("sqlite")[-1].version,)
    connection.close()
    assert "secret" not in str(row)


async def test_a_journal_of_before_the_keys_is_migrated_with_its_entries(tmp_path: Path) -> None:
    """Version 2, as the release before left it: open entries are still read back and judged, closed ones are kept."""
    path = tmp_path / "journal.db"
    older(path)
    key_beside(path).write_bytes(base64.b64encode(b"k" * 32))
    sealer = Sealer([b"k" * 32])
    with sqlite3.connect(path) as connection:
        connection.create_function(
            "seal", 3, lambda id_, column, value: value and sealer.seal(_bytes(value), id_, column)
        )
        connection.executescript(migrations("sqlite")[1].script)
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    journal = SqliteJournal(path, "one")
    await journal.open()
    assert await journal.claim_orphans(10.0, 5) == 1
    (due,) = await journal.due(10.0, 5)
    assert (due.body, due.read_back) == (b'{"secret":"body"}', True)
    assert (due.idempotency_key, due.request_hash, due.answer) == (None, None, None)
    closed = await journal.get("d2")
    assert closed is not None
    assert closed.state is State.COMMITTED
    await journal.begin(replace(entry(3), idempotency_key="k1"))
    with pytest.raises(NotOwner):
        await journal.begin(replace(entry(4), idempotency_key="k1"))
    await journal.close()


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


async def test_workers_that_start_together_migrate_once(tmp_path: Path) -> None:
    older(tmp_path / "journal.db")
    journals = [SqliteJournal(tmp_path / "journal.db", f"w{number}") for number in range(4)]
    await asyncio.gather(*(journal.open() for journal in journals))
    assert await journals[3].claim_orphans(10.0, 5) == 1
    assert len(await journals[3].due(10.0, 5)) == 1
    for journal in journals:
        await journal.close()


async def test_a_migration_that_fails_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    older(tmp_path / "journal.db")
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        connection.execute("CREATE TABLE intent_2 (in_the_way INTEGER)")
    connection.close()
    with pytest.raises(JournalUnavailable):
        await SqliteJournal(tmp_path / "journal.db", "one").open()
    with sqlite3.connect(tmp_path / "journal.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM intent").fetchone() == (2,)
    connection.close()


def test_both_backends_answer_to_the_same_statements() -> None:
    sqlite, postgresql = set(statements("sqlite")), set(statements("postgresql"))
    assert sqlite - postgresql == {"owners"}
    assert postgresql - sqlite == {
        "take_lease", "hold_lease", "was_committed", "give_lease_back", "lease_holds", "forget_leases",
    }  # fmt: skip


def test_migrations_are_numbered_without_a_gap() -> None:
    for backend in ("sqlite", "postgresql"):
        found = [migration.version for migration in migrations(backend)]
        assert found == list(range(1, len(found) + 1))


def test_what_is_looked_for_often_is_found_by_an_index(tmp_path: Path) -> None:
    """Recovery of many open entries must not walk through all of them for each page."""
    connection = sqlite3.connect(tmp_path / "plans.db")
    connection.create_function("seal", 3, lambda *_: None)
    for migration in migrations("sqlite"):
        connection.executescript(migration.script)
    names = {
        "due": "intent_open (owner=? AND epoch=? AND next_attempt_at",
        "owners": "intent_open (owner>?)",
        "claim": "intent_open (owner=?)",
        "count_unsettled": "COVERING INDEX intent_unsettled",
        "count_closed": "intent_closed (state=?)",
        "prune": "intent_closed (state=? AND updated_at<?)",
        "open_revisions": "COVERING INDEX intent_unsettled",
        "list_unsettled": "intent_unsettled (state=?)",
        "stored_versions": "intent_stored (type=? AND stored_id=?)",
        "get": "sqlite_autoindex_intent_1 (decision_id=?)",
        "keyed": "intent_key (idempotency_key=?)",
    }
    values = dict.fromkeys(
        ("owner", "epoch", "now", "limit", "bytes", "other", "most", "before", "type", "decision_id"), 1
    )
    for name, by in names.items():
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN {statements('sqlite')[name]}", {**values, "ids": "[]", "keys": "[]", "states": "[]"}
        )
        steps = [row[3] for row in plan]
        assert not [step for step in steps if step == "SCAN intent"], (name, steps)
        assert any(by in step for step in steps), (name, steps)
    connection.close()
