"""A process that was paused for so long that others may have taken over: it sends nothing any more."""

import pytest

from gateway.journal.sqlite import SqliteJournal
from gateway.saga.intent import Intent, State
from gateway.saga.journal_port import NotOwner
from tests.saga.world import World


class Lapsed(SqliteJournal):
    """Not surely the owner of what is in `doubted`, as a journal with leases is after a pause."""

    doubted: State

    def still_owner(self, intent: Intent) -> None:
        if intent.state is self.doubted:
            raise NotOwner


class LapsedBeforeSending(Lapsed):
    doubted = State.INTENDED


class LapsedBeforeUndo(Lapsed):
    doubted = State.COMPENSATING


async def next_process(world: World) -> None:
    await world.end()
    world.make_journal = SqliteJournal
    await world.begin()
    await world.recovered()


@pytest.fixture
async def lapsed(world: World, request: pytest.FixtureRequest) -> World:
    await world.end()
    world.make_journal = request.param
    return await world.begin()


@pytest.mark.parametrize("lapsed", [LapsedBeforeSending], indirect=True)
async def test_a_write_is_not_sent(lapsed: World) -> None:
    settled = await lapsed.create()
    assert (settled.state, settled.reason) == (State.REJECTED, "too late to send")
    assert lapsed.statuses() == []
    assert lapsed.upstream.requests == []
    await next_process(lapsed)
    assert (await lapsed.journal.counts()).states[State.REJECTED] == 1
    assert lapsed.statuses() == []


@pytest.mark.parametrize("lapsed", [LapsedBeforeUndo], indirect=True)
async def test_an_undo_is_left_to_whoever_took_over(lapsed: World) -> None:
    settled = await lapsed.create("forbidden")
    assert (settled.state, settled.reason) == (State.COMPENSATING, "another process settles this write")
    assert lapsed.statuses() == ["forbidden"]
    assert lapsed.watcher.undos == []
    await next_process(lapsed)
    assert lapsed.statuses() == []
    assert (await lapsed.journal.counts()).states[State.UNDONE] == 1
