"""The statements of which every write has some: sent together to a real PostgreSQL, with whatever can go wrong."""

import asyncio
from dataclasses import replace

import psycopg
import pytest

from gateway.journal.postgres import PostgresJournal
from gateway.journal.postgres_connection import connected
from gateway.journal.postgres_together import NotTogether, PostgresConnection, Together
from gateway.journal.rows import Values
from gateway.journal.statements import statements
from gateway.saga.intent import State
from gateway.saga.journal_port import NotOwner
from tests.e2e.database import Database
from tests.journal.entries import entry

_SQL = {name: sql.encode() for name, sql in statements("postgresql").items()}
_LEASE: Values = {"owner": "o", "epoch": 1, "seconds": 1.5, "mark": 2}


async def test_an_ordinary_write_takes_no_other_way(journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    def ordinary(_: PostgresConnection) -> None:
        raise AssertionError("sent one by one")

    monkeypatch.setattr(PostgresConnection, "pipeline", ordinary)
    held = await asyncio.gather(*(journal.begin(entry(number)) for number in range(5)))
    moved = [replace(each, state=State.COMMITTED, stored_id="a", stored_version="1") for each in held]
    await asyncio.gather(*(journal.advance(each, expected=State.INTENDED) for each in moved))
    with pytest.raises(NotOwner):
        await journal.advance(moved[0], expected=State.INTENDED)
    monkeypatch.undo()
    assert (await journal.counts()).states[State.COMMITTED] == 5


async def test_values_arrive_as_they_were(journal: PostgresJournal) -> None:
    written = replace(
        entry(1), started_at=1764321000.123456789, server_time=-0.1, client_id="Zoë \U0001f300'\\x00", body=bytes(256),
        epoch=0, id="", read_back=False, idempotency_key="k" * 64, prior_version="0", created=None, attempts=2**31 - 1,
    )  # fmt: skip
    held = await journal.begin(written)
    assert await journal.get(written.decision_id) == held == replace(written, owner=held.owner, epoch=held.epoch)
    for created in (True, False):
        held = replace(held, created=created, upstream_status=201, failed=("a/b", "c"), next_attempt_at=1e-7)
        await journal.advance(held, expected=State.INTENDED)
        assert await journal.get(written.decision_id) == held


async def test_more_than_the_line_holds_at_once(journal: PostgresJournal) -> None:
    """Forty megabytes in one transaction: neither side may wait for the other to read."""
    bodies = [replace(entry(number), body=bytes(200_000)) for number in range(200)]
    assert len(await asyncio.gather(*(journal.begin(each) for each in bodies))) == 200
    assert (await journal.counts()).states[State.INTENDED] == 200


async def test_a_session_that_is_ended_while_it_waits_is_begun_anew(place: Database, journal: PostgresJournal) -> None:
    held = await journal.begin(entry(1))
    with connected(place.target) as other:
        other.execute("BEGIN")
        other.execute("SELECT 1 FROM intent WHERE decision_id = %s FOR UPDATE", (held.decision_id,))
        moving = asyncio.ensure_future(
            journal.advance(replace(held, state=State.COMMITTED), expected=State.INTENDED)
        )  # fmt: skip
        waits = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        async with asyncio.timeout(2):
            while not (pid := place.sql(waits).strip()):  # noqa: ASYNC110 (of another process)
                await asyncio.sleep(0.01)
        assert not moving.done()
        place.sql(f"SELECT pg_terminate_backend({pid})")
        other.execute("ROLLBACK")
    await asyncio.wait_for(moving, 5)
    assert (await journal.counts()).states[State.COMMITTED] == 1


def test_the_first_error_is_told_and_what_follows_it_does_not_count(place: Database) -> None:
    connection, asked = connected(place.target), []
    with pytest.raises(psycopg.errors.UndefinedTable), connection.together() as together:
        asked += [together.execute("BEGIN"), together.execute(_SQL["hold_lease"], _LEASE)]
    assert [answer.rowcount for answer in asked] == [0, -1]
    connection.close()


def test_what_has_to_be_looked_at_is_not_sent(place: Database) -> None:
    with connected(place.target) as connection:
        for unfit in (
            lambda together: together.execute(_SQL["get"], {"decision_id": "d"}),
            lambda together: together.execute(_SQL["hold_lease"]),
            lambda together: together.execute("BEGIN").fetchall(),
            Together.pipeline,
        ):
            with pytest.raises(NotTogether), connection.together() as together:
                unfit(together)
        row = connection.execute("SELECT 1 AS one").fetchone()
        assert row == {"one": 1}
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_connection_that_is_gone_is_told(place: Database) -> None:
    connection = connected(place.target)
    place.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fhir-gateway'")
    with pytest.raises(psycopg.OperationalError), connection.together() as together:
        together.execute("BEGIN")
    connection.close()
