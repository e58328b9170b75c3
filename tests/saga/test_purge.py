"""What was undone leaves history too, where that is wanted and the server can do it; nothing else does."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.saga.compensation import UndoAction
from gateway.saga.intent import State
from gateway.saga.ports import AnswerLost, NotSent, UpstreamAnswer, UpstreamRequest
from gateway.saga.settle import CrashPoint
from gateway.sandbox.quirks import Quirks
from tests.saga.world import CAPABILITY, SETTINGS, Died, World

PURGING = replace(CAPABILITY, purges=True)


async def purging(folder: Path, *, wanted: bool = True, possible: bool = True) -> World:
    world = World(
        folder=folder,
        settings=replace(SETTINGS, purge=wanted),
        capability=replace(CAPABILITY, purges=possible),
    )
    world.server.store.quirks = replace(Quirks.hapi(), expunge=True)
    return world


def versions(world: World, id_: str) -> list[str]:
    """Oldest first; with a `-` where the resource was deleted."""
    kept = list(world.server.store.history("Observation", id_))
    return [f"{version.version}{'-' if version.deleted else ''}" for version in reversed(kept)]


async def test_a_removed_creation_leaves_history(folder: Path) -> None:
    world = await (await purging(folder)).begin()
    settled = await world.create("forbidden")
    assert (settled.state, settled.undo) == (State.UNDONE, UndoAction.DELETE)
    assert settled.intent is not None
    assert versions(world, settled.intent.stored_id or "") == ["2-"]
    assert (UndoAction.PURGE, "ok") in world.watcher.undos
    kept = await world.journal.get("d1")
    assert kept is not None
    assert (kept.reason or "").endswith("purged from history, too")
    await world.end()


async def test_a_replaced_version_leaves_history_and_its_neighbours_stay(folder: Path) -> None:
    world = await (await purging(folder)).begin()
    world.put("o1", note="a")
    world.put("o1", note="b")
    settled = await world.update("o1", "forbidden")
    assert (settled.state, settled.undo) == (State.UNDONE, UndoAction.RESTORE)
    assert versions(world, "o1") == ["1", "2", "4"]
    await world.end()


async def test_a_revival_that_is_removed_leaves_what_was_there_before(folder: Path) -> None:
    world = await (await purging(folder)).begin()
    world.put("o1", note="a")
    world.server.store.delete(("Observation", "o1"))
    settled = await world.update("o1", "forbidden")
    assert settled.state is State.UNDONE
    assert versions(world, "o1") == ["1", "2-", "4-"]
    await world.end()


@pytest.mark.parametrize(("wanted", "possible"), [(False, True), (True, False)])
async def test_without_wish_or_means_history_stays(folder: Path, wanted: bool, possible: bool) -> None:
    world = await (await purging(folder, wanted=wanted, possible=possible)).begin()
    settled = await world.create("forbidden")
    assert settled.state is State.UNDONE
    assert settled.intent is not None
    assert versions(world, settled.intent.stored_id or "") == ["1", "2-"]
    assert [action for action, _ in world.watcher.undos] == [UndoAction.DELETE]
    await world.end()


async def test_what_holds_is_never_purged(folder: Path) -> None:
    world = await (await purging(folder)).begin()
    world.put("o1")
    assert (await world.update("o1", "final", note="new")).state is State.COMMITTED
    assert (await world.create(if_none_exist="identifier=urn:n|new")).state is State.COMMITTED
    assert not [each for each in world.upstream.requests if "$expunge" in each.path]
    await world.end()


@pytest.mark.parametrize(
    "trouble", [NotSent("x"), AnswerLost("x"), UpstreamAnswer(status=405, headers=(), body=b""), None]
)
async def test_a_purge_that_fails_does_not_unprove_the_undo(
    folder: Path, trouble: Exception | UpstreamAnswer | None
) -> None:
    world = await (await purging(folder)).begin()

    async def fail(request: UpstreamRequest) -> UpstreamAnswer | None:
        if "$expunge" not in request.path:
            return None
        if isinstance(trouble, Exception):
            raise trouble
        return trouble

    world.upstream.before.append(fail)
    if trouble is None:
        world.server.store.quirks = replace(world.server.store.quirks, expunge=False)
    settled = await world.create("forbidden")
    assert settled.state is State.UNDONE
    assert world.statuses() == []
    assert (UndoAction.PURGE, "error") in world.watcher.undos
    kept = await world.journal.get("d1")
    assert kept is not None
    assert (kept.reason or "").endswith("its version is still in history")
    await world.end()


async def test_a_purge_that_a_crash_cut_short_is_made_up_for(folder: Path) -> None:
    world = await (await purging(folder)).begin(crash_at=CrashPoint.AFTER_UNDO)
    with pytest.raises(Died):
        await world.create("forbidden")
    await world.buried()
    await world.begin()
    await world.recovered()
    kept = await world.journal.get("d1")
    assert kept is not None
    assert kept.state is State.UNDONE
    assert versions(world, kept.stored_id or "") == ["2-"]
    await world.end()
