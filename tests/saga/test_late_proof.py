"""A process is stopped right before its first byte leaves; others close the write, and then it wakes up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.fhir.interaction import InteractionCode
from gateway.journal.sqlite import SqliteJournal
from gateway.saga.capability import Capability, FindLost
from gateway.saga.intent import Intent, State
from gateway.saga.journal_port import JournalUnavailable, NotOwner
from gateway.saga.ports import AnswerLost, NotSent, TooLate, UpstreamAnswer, UpstreamRequest
from gateway.saga.settle import Settled
from gateway.saga.table import Event
from gateway.sandbox.quirks import Quirks
from tests.saga.world import CONSERVATIVE, SETTINGS, World, observation, request

QUICK = replace(SETTINGS, late_apply=0.05, send_window=60.0)
Meanwhile = Callable[[World], Awaitable[None]]


@pytest.fixture
async def world(folder: Path) -> AsyncIterator[World]:
    made = await World(folder=folder, settings=QUICK).begin()
    yield made
    await made.end()


async def others_settle(world: World) -> None:
    """Another process takes over what this one holds, and settles it to its end."""
    world.journal._lock.abandon()
    other = World(folder=world.folder, settings=QUICK, server=world.server, capability=world.capability)
    await other.begin()
    await other.recovered()
    await other.end()


async def others_forget(world: World) -> None:
    """They close it, and it is pruned, too."""
    await others_settle(world)
    assert await world.journal.prune(float("inf")) == 1


async def a_person_says_that_it_is_not_there(world: World) -> None:
    world.capability = replace(world.capability, find_lost=FindLost.NONE)
    await others_settle(world)
    await world.journal.decide("d1", Event.RESOLVED_UNDONE, by="ann", why="looked", now=1.0)


async def others_give_it_to_a_person(world: World) -> None:
    world.capability = replace(world.capability, find_lost=FindLost.NONE)
    await others_settle(world)


def stopped(world: World, meanwhile: Meanwhile) -> None:
    """The next write stops between the last check and its first byte."""

    async def stand_still(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method in ("POST", "PUT") and not dict(sent.headers)[b"x-request-id"].startswith(b"U"):
            world.upstream.before.remove(stand_still)
            await meanwhile(world)
        return None

    world.upstream.before.append(stand_still)


async def kept(world: World) -> Intent:
    found = await world.journal.get("d1")
    assert found is not None
    return found


async def create(world: World, status: str) -> Settled:
    return await world.create(status)


async def update(world: World, status: str) -> Settled:
    world.put("o1", "preliminary")
    return await world.update("o1", status)


LEFT: list[Meanwhile] = [
    others_settle,
    others_forget,
    others_give_it_to_a_person,
    a_person_says_that_it_is_not_there,
]


# An update is found by its version, whatever the server can search.
FORBIDDEN = [
    *((create, [], meanwhile) for meanwhile in LEFT),
    *((update, ["preliminary"], meanwhile) for meanwhile in (others_settle, others_forget)),
]


@pytest.mark.parametrize(("write", "before", "meanwhile"), FORBIDDEN)
async def test_what_is_stored_after_all_is_judged_and_undone(
    world: World, write: Callable[[World, str], Awaitable[Settled]], before: list[str], meanwhile: Meanwhile
) -> None:
    stopped(world, meanwhile)
    settled = await write(world, "forbidden")
    assert (settled.state, settled.failed) == (State.UNDONE, ("policy/rule",))
    assert world.statuses() == before
    assert (State.STORED, Event.STORED_AFTER_ALL) in world.watcher.moves
    entry = await kept(world)
    assert (entry.state, entry.body, entry.facts) == (State.UNDONE, b"", "{}")
    audited = (await world.journal.resolutions("d1"))[-1]
    assert (audited.event, audited.by) == (Event.STORED_AFTER_ALL, world.journal.owner)
    assert "woke up" in audited.why


@pytest.mark.parametrize("meanwhile", LEFT)
async def test_the_client_that_waits_gets_the_truth(world: World, meanwhile: Meanwhile) -> None:
    stopped(world, meanwhile)
    settled = await world.create()
    assert settled.state is State.COMMITTED
    assert settled.answer is not None
    assert settled.answer.status == 201
    assert world.statuses() == ["final"]
    assert (await kept(world)).state is State.COMMITTED


@pytest.mark.parametrize("meanwhile", [others_settle, others_forget])
@pytest.mark.parametrize(("status", "state"), [("final", State.COMMITTED), ("forbidden", State.UNDONE)])
async def test_a_write_that_left_and_whose_answer_is_lost_is_looked_for_again(
    world: World, meanwhile: Meanwhile, status: str, state: State
) -> None:
    world.server.store.quirks = Quirks(drop_answer_after_store=True, strikes=1)
    stopped(world, meanwhile)
    settled = await world.create(status)
    assert settled.state is state
    assert (State.INTENDED, Event.SENT_AFTER_ALL) in world.watcher.moves
    assert world.statuses() == ["final"] * (state is State.COMMITTED)
    assert len(world.writes_sent()) == 1


async def test_what_did_not_leave_stays_closed(world: World) -> None:
    async def refuse(sent: UpstreamRequest) -> UpstreamAnswer | None:
        return UpstreamAnswer(status=422, headers=(), body=b"") if sent.method == "POST" else None

    stopped(world, others_settle)
    world.upstream.before.append(refuse)
    settled = await world.create()
    assert settled.state is State.REJECTED
    assert settled.answer is not None
    assert settled.answer.status == 422
    assert await world.journal.resolutions("d1") == ()


@pytest.mark.parametrize(
    ("status", "state"), [("final", State.COMMITTED), ("forbidden", State.UNDONE), ("unsent", State.REJECTED)]
)
async def test_the_sender_knows_best_while_others_still_look(world: World, status: str, state: State) -> None:
    """Their next move is refused: a look that ended before the byte left must not close the entry."""
    other = World(folder=world.folder, settings=QUICK, server=world.server)

    async def claim(world: World) -> None:
        world.journal._lock.abandon()
        await other.begin()
        assert await other.journal.claim_orphans(1.0, 10) == 1
        if status == "unsent":
            raise NotSent("refused")

    stopped(world, claim)
    settled = await world.create(status)
    assert settled.state is state
    entry = await kept(world)
    assert (entry.state, entry.owner) == (state, world.journal.owner)
    assert await other.journal.due(1e12, 10) == ()
    await other.end()


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize(("status", "state"), [("final", State.COMMITTED), ("forbidden", State.UNDONE)])
async def test_what_others_found_meanwhile_is_theirs_and_told_as_it_is(
    world: World, lost: bool, status: str, state: State
) -> None:
    """The process stops after its write arrived, before it read the answer."""

    async def stand_still(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method != "POST":
            return None
        world.upstream.before.remove(stand_still)
        answer = await world.upstream._exchange(sent)
        await others_settle(world)
        if lost:
            raise AnswerLost("the connection broke")
        return answer

    world.upstream.before.append(stand_still)
    settled = await world.create(status)
    assert settled.state is state
    assert world.watcher.moves in ([], [(State.STORED, Event.ANSWERED_STORED)]), "it moved nothing"
    assert (await kept(world)).owner != world.journal.owner
    assert await world.journal.resolutions("d1") == ()
    if state is State.COMMITTED:
        assert settled.answer is not None
        assert (settled.answer.status, settled.answer.header(b"etag")) == (201, 'W/"1"')


async def test_the_client_waits_no_longer_than_it_would(world: World) -> None:
    other = World(folder=world.folder, settings=QUICK, server=world.server)

    async def find(world: World) -> None:
        world.journal._lock.abandon()
        await other.begin()
        assert await other.journal.claim_orphans(1.0, 10) == 1
        (held,) = await other.journal.due(1e12, 10)
        found = replace(held, state=State.STORED, stored_id="x", stored_version="1")
        await other.journal.advance(found, expected=State.INTENDED)

    stopped(world, find)
    settled = await asyncio.wait_for(world.create("forbidden"), 5)
    assert (settled.state, settled.reason) == (State.STORED, "another process settles this write")
    await other.end()


class Failing(SqliteJournal):
    """Cannot be had for a while, just when what was sent has to be recorded."""

    failures = 2

    async def reclaim(self, intent: Intent, event: Event) -> tuple[Intent, Event]:
        if self.failures:
            self.failures -= 1
            raise JournalUnavailable("gone")
        return await super().reclaim(intent, event)


async def test_what_it_knows_is_kept_until_the_journal_can_be_had(world: World) -> None:
    await world.end()
    world.make_journal = Failing
    await world.begin()
    stopped(world, others_settle)
    settled = await world.create("forbidden")
    assert settled.reason == "the journal is out of order"
    assert world.statuses() == ["forbidden"]
    await world.until(State.UNDONE)
    assert world.statuses() == []
    assert world.settler._in_flight == set()


@pytest.mark.parametrize("capability", [CONSERVATIVE, Capability(find_lost=FindLost.NONE)])
async def test_what_is_not_known_to_be_stored_is_not_taken_from_a_person(world: World, capability: Capability) -> None:
    """A sender that knows no more than they do leaves it stuck."""
    world.capability = capability
    world.server.store.quirks = Quirks(drop_answer_after_store=True, strikes=1)
    stopped(world, others_give_it_to_a_person)
    settled = await world.create("forbidden")
    assert settled.state is State.STUCK
    assert world.statuses() == ["forbidden"]


async def test_a_write_held_back_at_the_last_instant_is_closed_at_once(world: World) -> None:
    """It waited for a connection until its time was up: its client hears that nothing was written."""
    body = observation("final")
    intent = world.intent(InteractionCode.CREATE, body)
    asked: list[bool] = []

    async def late(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.may_leave is not None:
            world.journal.still_owner = lapsed  # type: ignore[method-assign]
            asked.append(sent.may_leave())
            raise TooLate
        return None

    def lapsed(intent: Intent) -> None:
        raise NotOwner

    world.upstream.before.append(late)
    settled = await world.settler.run(intent, request("POST", "Observation", body))
    assert asked == [False]
    assert (settled.state, settled.reason) == (State.REJECTED, "too late to send")
