"""Death at every crash point, and what the next process makes of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.saga.capability import Capability
from gateway.saga.intent import State
from gateway.saga.settle import CrashPoint, Settled
from gateway.sandbox.quirks import Quirks
from tests.saga.world import CAPABILITY, CONSERVATIVE, SETTINGS, Died, World

Write = Callable[[World, str], Awaitable[Settled]]


async def create(world: World, status: str) -> Settled:
    return await world.create(status)


async def conditional(world: World, status: str) -> Settled:
    return await world.create(status, if_none_exist="identifier=urn:n|n1", note="n1")


async def update(world: World, status: str) -> Settled:
    return await world.update("o1", status)


async def update_as_create(world: World, status: str) -> Settled:
    return await world.update("new", status)


async def revive(world: World, status: str) -> Settled:
    return await world.update("gone", status)


def prepared(folder: Path, capability: Capability) -> World:
    world = World(folder=folder, settings=replace(SETTINGS, send_window=0.2, late_apply=0.1), capability=capability)
    store, now = world.server.store, world.server.store.clock
    store.clock = lambda: now() - timedelta(minutes=1)  # what was there before is not taken for what is looked for
    world.put("o1", "preliminary", note="before")
    world.put("gone", note="once")
    store.delete(("Observation", "gone"))
    store.clock = now
    return world


def right(world: World, write: Write, status: str, *, sent: bool) -> list[object]:
    """What may be on the server in the end."""
    if not sent or status == "forbidden":
        return ["preliminary"]
    return ["final"] if write is update else ["preliminary", "final"]


WRITES = [create, conditional, update, update_as_create, revive]

_TO_STORED = (CrashPoint.BEFORE_INTENT, CrashPoint.AFTER_INTENT, CrashPoint.AFTER_SEND, CrashPoint.AFTER_STORED)
# The points that a write passes on an ordinary day.
PASSED = {
    "final": (*_TO_STORED, CrashPoint.AFTER_COMMITTED),
    "forbidden": (*_TO_STORED, CrashPoint.AFTER_COMPENSATING, CrashPoint.AFTER_UNDO, CrashPoint.AFTER_UNDONE),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("status", ["final", "forbidden"])
@pytest.mark.parametrize("point", list(CrashPoint))
@pytest.mark.parametrize("capability", [CAPABILITY, CONSERVATIVE], ids=["hapi", "plain"])
async def test_death_and_recovery(
    folder: Path, write: Write, status: str, point: CrashPoint, capability: Capability
) -> None:
    world = await prepared(folder, capability).begin(crash_at=point)
    if point in PASSED[status]:
        with pytest.raises(Died):
            await write(world, status)
        await world.buried()
        await world.begin()
        await world.recovered()
    else:
        await write(world, status)
    kept = await world.journal.get("d1")
    sent = point not in (CrashPoint.BEFORE_INTENT, CrashPoint.AFTER_INTENT)
    assert world.statuses() == right(world, write, status, sent=sent)
    assert len(world.writes_sent()) == int(sent)
    if point is CrashPoint.BEFORE_INTENT:
        assert kept is None
    else:
        assert kept is not None
        ended = State.COMMITTED if status == "final" else State.UNDONE
        assert kept.state is (ended if sent else State.REJECTED)
    assert (await world.journal.counts()).oldest_open_at is None
    await world.end()


@pytest.mark.parametrize("first", [CrashPoint.AFTER_SEND, CrashPoint.AFTER_STORED, CrashPoint.AFTER_COMPENSATING])
@pytest.mark.parametrize(
    "second",
    [
        CrashPoint.AFTER_CLAIM,
        CrashPoint.AFTER_STORED,
        CrashPoint.AFTER_COMPENSATING,
        CrashPoint.AFTER_UNDO,
        CrashPoint.AFTER_UNDONE,
    ],
)
async def test_death_again_during_recovery(folder: Path, first: CrashPoint, second: CrashPoint) -> None:
    world = await prepared(folder, CAPABILITY).begin(crash_at=first)
    with pytest.raises(Died):
        await update(world, "forbidden")
    await world.buried()
    await world.begin(crash_at=second)
    try:
        await world.recovered()
    except Died:
        await world.buried()
        await world.begin()
        await world.recovered()
    assert world.statuses() == ["preliminary"]
    assert len(world.writes_sent()) == 1
    await world.end()


async def test_a_write_that_is_applied_after_the_death_is_found(folder: Path) -> None:
    world = prepared(folder, CAPABILITY)
    world.settings = replace(world.settings, live_wait=0.0, late_apply=0.5)
    world.server.store.quirks = Quirks(apply_late=0.3, strikes=1)
    await world.begin()
    settled = await world.create("forbidden")
    assert settled.state is State.INTENDED
    await world.buried()
    await world.begin()
    await world.recovered()
    assert world.statuses() == ["preliminary"]
    await world.end()


async def test_two_processes_share_a_journal_without_touching_each_others_entries(folder: Path) -> None:
    one = await prepared(folder, CAPABILITY).begin()
    two = World(folder=folder, server=one.server, count=100)
    await two.begin()
    released = asyncio.Event()

    async def slow(request: object) -> None:
        await released.wait()

    one.upstream.before.append(slow)
    writing = asyncio.create_task(one.create("forbidden"))
    await asyncio.sleep(0.05)
    assert await two.settler.recovered()
    assert two.upstream.requests == []
    released.set()
    assert (await writing).state is State.UNDONE
    await one.end()
    await two.end()


async def test_many_orphans_are_settled_in_pages(folder: Path) -> None:
    world = await prepared(folder, CAPABILITY).begin(crash_at=CrashPoint.AFTER_SEND)
    for _ in range(100):
        with pytest.raises(Died):
            await world.create("forbidden")
    await world.buried()
    await world.begin()
    await world.settler.recover()
    await world.until(State.UNDONE, 100)
    assert world.statuses() == ["preliminary"]
    await world.end()
