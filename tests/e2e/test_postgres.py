"""The journal in a real PostgreSQL: the contract, leases, crashes of the server, connections cut at every moment."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from gateway.journal.postgres import PostgresJournal
from gateway.journal.postgres_connection import connected
from gateway.journal.statements import migrations
from gateway.saga.intent import State
from gateway.saga.journal_port import JournalUnavailable, NotOwner
from gateway.saga.table import Event
from tests.e2e.cutting import Cutter
from tests.e2e.database import Database
from tests.e2e.postgresql import PostgreSql
from tests.journal.contract import JournalContract
from tests.journal.entries import entry

LEASE = 1.0


class TestContract(JournalContract[PostgresJournal]):
    """Over PostgreSQL."""


def usable(journal: PostgresJournal) -> bool:
    return journal.broken is None


def lapse(place: Database, journal: PostgresJournal) -> None:
    """As if the process had been paused for longer than its lease."""
    place.sql(f"UPDATE lease SET expires_at = clock_timestamp() WHERE owner = '{journal.owner}'")


async def test_a_lease_is_kept_while_its_process_lives_and_has_nothing_to_do(place: Database) -> None:
    idle = await place.open("idle", lease=LEASE)
    held = await idle.begin(entry())
    other = await place.open("two")
    await asyncio.sleep(2 * LEASE)
    assert await other.claim_orphans(5e3, 10) == 0
    idle.still_owner(held)
    await idle.close()
    assert await other.claim_orphans(5e3, 10) == 1
    await other.close()


async def test_a_paused_owner_that_wakes_up_does_no_harm(place: Database) -> None:
    paused, other = await place.open("paused"), await place.open("other")
    held = [await paused.begin(entry(number)) for number in range(2)]
    lapse(place, paused)
    assert await other.claim_orphans(5e3, 1) == 1
    (taken,) = await other.due(5e3, 10)
    # It wakes up: what was taken from it is refused, what was not goes on as an orphan, and it knows of neither.
    with pytest.raises(NotOwner):
        await paused.advance(replace(taken, owner=paused.owner, state=State.STORED), expected=State.INTENDED)
    for each in held:
        with pytest.raises(NotOwner):
            paused.still_owner(each)
    assert await paused.due(5e3, 10) == ()
    assert await paused.claim_orphans(5e3, 10) == 1
    (again,) = await paused.due(5e3, 10)
    assert (again.owner, again.epoch) == (paused.owner, 2)
    # What it began before the pause must not change it either, though it has the same owner again.
    with pytest.raises(NotOwner):
        await paused.advance(replace(again, epoch=1, state=State.STORED), expected=State.INTENDED)
    paused.still_owner(again)
    await paused.advance(replace(again, state=State.STORED), expected=State.INTENDED)
    await paused.close()
    await other.close()


async def test_a_lease_that_is_just_being_renewed_is_not_taken_over(place: Database) -> None:
    """Whoever reads it as expired does not wait for the renewal, and does not go by what it read either."""
    renewing, other = await place.open("renewing"), await place.open("other")
    await renewing.begin(entry())
    lapse(place, renewing)
    with connected(place.target) as renewal:
        renewal.execute("BEGIN")
        later = "UPDATE lease SET expires_at = clock_timestamp() + interval '1 hour' WHERE owner = %s"
        renewal.execute(later.encode(), (renewing.owner,))
        started = time.monotonic()
        assert await other.claim_orphans(5e3, 10) == 0
        assert time.monotonic() - started < 1.5
        renewal.execute("COMMIT")
    assert await other.claim_orphans(5e3, 10) == 0
    await renewing.close()
    await other.close()


async def test_what_another_is_just_taking_over_is_left_to_it(place: Database, journal: PostgresJournal) -> None:
    """Also where no lease stands between the two: an entry that a person gave back is nobody's."""
    held = await journal.begin(entry())
    await journal.advance(replace(held, state=State.STUCK), expected=State.INTENDED)
    await journal.decide("d1", Event.RETRY_LOOK, by="ann", why="look again", now=1.0)
    with connected(place.target) as racer:
        racer.execute("BEGIN")
        racer.execute("UPDATE intent SET owner = 'racer', epoch = 1")
        claiming = asyncio.create_task(journal.claim_orphans(5e3, 10))
        await asyncio.sleep(0.3)
        racer.execute("COMMIT")
        assert await claiming == 0
    assert place.sql("SELECT owner FROM intent") == "racer"


async def test_a_sender_and_those_who_close_its_write_do_not_pass_each_other(place: Database) -> None:
    """Late proof waits for a close that is under way, and reopens what it left."""
    sender = await place.open("sender")
    held = await sender.begin(entry())
    with connected(place.target) as other:
        other.execute("BEGIN")
        other.execute("UPDATE intent SET owner = 'other', epoch = 1, state = 'rejected', body = '', facts = ''")
        proof = replace(held, stored_id="o1", stored_version="2", updated_at=9.0)
        reclaiming = asyncio.create_task(sender.reclaim(proof, Event.ANSWERED_STORED))
        await asyncio.sleep(0.3)
        assert not reclaiming.done()
        other.execute("COMMIT")
    reopened, event = await reclaiming
    assert (event, reopened.owner, reopened.state) == (Event.STORED_AFTER_ALL, sender.owner, State.STORED)
    assert await sender.get("d1") == reopened
    await sender.close()


async def test_without_the_database_nobody_is_surely_the_owner_for_long(server: PostgreSql, place: Database) -> None:
    journal = await place.open("one", lease=LEASE)
    held = await journal.begin(entry())
    journal.still_owner(held)
    journal._writer._target = replace(place.target, port=1)
    journal._writer._drop()
    await asyncio.sleep(1.5 * LEASE)
    with pytest.raises(NotOwner):
        journal.still_owner(held)
    with pytest.raises(JournalUnavailable):
        await journal.begin(entry(2))
    assert not usable(journal)
    journal._writer._target = place.target
    await asyncio.sleep(LEASE)
    assert usable(journal)
    assert (await journal.begin(entry(3))).epoch == 2
    await journal.close()


async def test_what_is_told_as_written_outlives_a_crash_of_the_server(tmp_path: Path) -> None:
    server = PostgreSql()
    try:
        server.create()
        place = Database(server, tmp_path)
        journal = await place.open("one")
        told: list[str] = []

        async def write(start: int) -> None:
            for number in range(start, start + 10_000):
                try:
                    held = await journal.begin(entry(number))
                    told.append(held.decision_id)
                    await journal.advance(replace(held, state=State.STORED), expected=State.INTENDED)
                except JournalUnavailable:
                    await asyncio.sleep(0.05)

        writers = [asyncio.create_task(write(10_000 * number)) for number in range(8)]
        for _ in range(3):
            await asyncio.sleep(0.4)
            await asyncio.to_thread(server.stop, "immediate")
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.start)
        await asyncio.sleep(0.4)
        before = len(told)
        await asyncio.sleep(0.4)
        assert len(told) > before, "it goes on after the crashes"
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        await journal.close()
        kept = place.sql("SELECT string_agg(decision_id, ' ') FROM intent").split()
        assert set(told) <= set(kept)
        assert len(told) == len(set(told))
    finally:
        server.destroy()


@pytest.mark.parametrize("committed", [True, False], ids=["after the server heard it", "before"])
async def test_a_connection_cut_during_commit_is_asked_about(place: Database, committed: bool) -> None:
    async with Cutter(place.target.port) as cutter:
        journal = await place.open("one", target=replace(place.target, port=cutter.port))
        cutter.cut(b"COMMIT", deliver=committed)
        held = await journal.begin(entry())
        assert cutter.cuts == 1
        assert await journal.get("d1") == held
        assert place.sql("SELECT count(*) FROM intent") == "1"
        cutter.cut(b"COMMIT", deliver=committed)
        await journal.advance(replace(held, state=State.STORED, attempts=7), expected=State.INTENDED)
        assert cutter.cuts == 2
        assert place.sql("SELECT state, attempts FROM intent") == "stored|7"
        await journal.close()


async def test_when_nobody_can_be_asked_it_counts_as_not_made(place: Database) -> None:
    async with Cutter(place.target.port) as cutter:
        journal = await place.open("one", target=replace(place.target, port=cutter.port))
        cutter.cut(b"COMMIT", deliver=True, then_refuse=True)
        started = time.monotonic()
        with pytest.raises(JournalUnavailable) as failed:
            await journal.begin(entry())
        assert "not known" in failed.value.reason
        assert time.monotonic() - started < 10
        with pytest.raises(JournalUnavailable):
            await journal.begin(entry(2))
        cutter.refuse = False
        await asyncio.sleep(0.3)
        await journal.begin(entry(2))
        await journal.close()


async def test_deadlocks_and_killed_connections_are_tried_again(place: Database, journal: PostgresJournal) -> None:
    held = await journal.begin(entry())
    place.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fhir-gateway'")
    await journal.advance(replace(held, state=State.STORED), expected=State.INTENDED)
    # Another session holds the row and then wants our lease: PostgreSQL ends one of the two.
    with connected(place.target) as other:
        other.execute("BEGIN")
        other.execute("SELECT FROM intent WHERE decision_id = 'd1' FOR UPDATE")
        moving = asyncio.create_task(journal.advance(replace(held, state=State.COMMITTED), expected=State.STORED))
        await asyncio.sleep(0.3)
        deadlocked = asyncio.to_thread(other.execute, "SELECT FROM lease FOR UPDATE")
        results = await asyncio.gather(deadlocked, return_exceptions=True)
        assert all(not isinstance(each, Exception) or isinstance(each, psycopg.Error) for each in results)
        other.execute("ROLLBACK")
        await moving
    kept = await journal.get("d1")
    assert kept is not None
    assert kept.state is State.COMMITTED


async def test_a_row_locked_for_too_long_refuses_and_breaks_nothing(place: Database, journal: PostgresJournal) -> None:
    held = await journal.begin(entry())
    with connected(place.target) as other:
        other.execute("BEGIN")
        other.execute("SELECT FROM intent WHERE decision_id = 'd1' FOR UPDATE")
        with pytest.raises(JournalUnavailable):
            await journal.advance(replace(held, state=State.STORED), expected=State.INTENDED)
        other.execute("ROLLBACK")
    await asyncio.sleep(0.3)
    await journal.advance(replace(held, state=State.STORED), expected=State.INTENDED)
    assert journal.broken is None


async def test_what_the_database_cannot_hold_fails_alone(journal: PostgresJournal) -> None:
    results = await asyncio.gather(
        journal.begin(entry(1)),
        journal.begin(replace(entry(2), client_id="a\0b")),
        journal.begin(replace(entry(3), attempts=2**40)),
        journal.begin(entry(4)),
        return_exceptions=True,
    )
    assert [isinstance(each, JournalUnavailable) for each in results] == [False, True, True, False]
    assert await journal.get("d4") is not None


async def test_a_defect_in_a_job_is_told_and_leaves_no_transaction_open(journal: PostgresJournal) -> None:
    def broken(connection: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(JournalUnavailable):
        await journal._writer.do(broken)
    assert await journal.begin(entry()) is not None


@pytest.mark.parametrize("setting", ["synchronous_commit = 'off'", "synchronous_commit = 'local'"])
async def test_a_database_that_does_not_keep_promises_is_refused(place: Database, setting: str) -> None:
    place.sql(f"ALTER DATABASE {place.target.database} SET {setting}")
    with pytest.raises(JournalUnavailable) as refused:
        await place.open("one")
    assert "synchronous_commit" in refused.value.reason


async def test_a_server_without_fsync_is_refused(tmp_path: Path) -> None:
    server = PostgreSql()
    try:
        server.create("fsync=off")
        with pytest.raises(JournalUnavailable) as refused:
            await Database(server, tmp_path).open("one")
        assert refused.value.reason == "the database runs with fsync = off"
    finally:
        server.destroy()


async def test_a_newer_journal_a_wrong_password_and_a_wrong_key_refuse(place: Database, tmp_path: Path) -> None:
    await (await place.open("one")).close()
    place.sql("INSERT INTO schema_version VALUES (99)")
    with pytest.raises(JournalUnavailable) as refused:
        await place.open("two")
    assert "newer" in refused.value.reason
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    with pytest.raises(JournalUnavailable) as refused:
        await place.open("two", target=replace(place.target, password_file=wrong))
    assert "wrong" not in refused.value.reason
    with pytest.raises(JournalUnavailable):
        await place.open("two", target=replace(place.target, password_file=tmp_path / "none"))
    place.keys.write_text("no key")
    with pytest.raises(JournalUnavailable) as refused:
        await place.open("two")
    assert "key" in refused.value.reason


async def test_many_may_open_an_empty_database_at_once(place: Database) -> None:
    journals = await asyncio.gather(*(place.open(f"p{number}") for number in range(6)))
    await asyncio.gather(*(journal.begin(entry(number)) for number, journal in enumerate(journals)))
    assert place.sql("SELECT count(*) FROM intent") == "6"
    assert place.sql("SELECT count(*) FROM schema_version") == str(len(migrations("postgresql")))
    for journal in journals:
        await journal.close()


async def test_payloads_are_sealed_and_leases_of_the_gone_forgotten(place: Database, journal: PostgresJournal) -> None:
    await journal.begin(replace(entry(), if_none_exist="identifier=secret"))
    row = place.sql("SELECT encode(body, 'escape'), encode(facts, 'escape'), intent.* FROM intent")
    assert "secret" not in row
    gone = await place.open("gone")
    await place.die(gone)
    assert place.sql("SELECT count(*) FROM lease") == "2"
    await journal.prune(0.0)
    assert place.sql("SELECT count(*) FROM lease") == "1"


async def test_a_journal_of_before_the_keys_is_migrated_with_its_entries(place: Database) -> None:
    """Version 1, as the release before left it."""
    place.sql("CREATE TABLE schema_version (version INTEGER NOT NULL)")
    place.sql("INSERT INTO schema_version VALUES (1)")
    place.sql(migrations("postgresql")[0].script)
    columns = (
        "decision_id, write_id, owner, epoch, state, interaction, type, body, policy_revision, applied, facts, "
        "client_id, issuer, started_at, attempts, refusals, next_attempt_at, failed, updated_at"
    )
    for id_, state in (("d1", "stored"), ("d2", "committed")):
        place.sql(
            f"INSERT INTO intent ({columns}) VALUES ('{id_}', 'w-{id_}', 'gone', 1, '{state}', 'create', "
            "'Observation', '', 'r1', '[]', '', 'c', 'i', 1, 0, 0, 1, '[]', 1)"
        )
    one, two = await asyncio.gather(place.open("one"), place.open("two"))
    assert place.sql("SELECT max(version) FROM schema_version") == str(migrations("postgresql")[-1].version)
    assert await one.claim_orphans(10.0, 5) == 1
    (due,) = await one.due(10.0, 5)
    assert (due.state, due.read_back, due.idempotency_key, due.answer) == (State.STORED, True, None, None)
    closed = await one.get("d2")
    assert closed is not None
    assert closed.state is State.COMMITTED
    await one.begin(replace(entry(3), idempotency_key="k1"))
    with pytest.raises(NotOwner):
        await two.begin(replace(entry(4), idempotency_key="k1"))
    await one.close()
    await two.close()


async def test_a_key_is_found_by_its_index(place: Database, journal: PostgresJournal) -> None:
    await journal.keyed(["k1"])
    plan = place.sql(
        "SET enable_seqscan = off; "
        "EXPLAIN SELECT decision_id FROM intent WHERE idempotency_key = ANY(ARRAY['k1', 'k2'])"
    )
    assert "intent_key" in plan
