"""The journal on a disk that fails and forgets: ENOSPC and EIO at each write and sync, and power loss at each.

PROMISES 3 (nothing leaves without a durable intent), 4, 5 and 8, for a real journal below a real settler.
"""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from gateway.fhir.interaction import InteractionCode
from gateway.journal.sqlite import SqliteJournal
from gateway.saga.intent import Intent, State
from gateway.saga.journal_port import JournalUnavailable
from gateway.saga.settle import SettleSettings
from tests.faults.disk import FULL, IOERR_WRITE, Disk, beneath_sqlite, failing_at, sound
from tests.saga.test_recovery import Write as Writing
from tests.saga.test_recovery import conditional, create, prepared, right, update, update_as_create
from tests.saga.world import CAPABILITY, SETTINGS, World, observation

QUICK: SettleSettings = replace(SETTINGS, send_window=0.12, late_apply=0.05, live_wait=0.3)
WRITES = {
    "create": create,
    "update": update,
    "update-as-create": update_as_create,
    "conditional-create": conditional,
}
SECONDS = 3.0


def world_in(folder: Path) -> World:
    folder.mkdir()
    world = prepared(folder, CAPABILITY)
    world.settings = QUICK
    return world


async def operations_of(folder: Path, write: Writing, status: str) -> int:
    """How many operations of the disk a whole write takes."""
    with beneath_sqlite(Disk()) as disk:
        world = await world_in(folder / "measured").begin()
        before = len(disk.operations)
        await write(world, status)
        await world.end()
        return len(disk.operations) - before


async def broken(world: World, disk: Disk, write: Writing, status: str, plan: Callable[[str, str], int]) -> bool:
    """One write while the disk goes wrong. Whether the journal took the intent; if not, nothing may have left."""
    disk.plan = plan
    try:
        await write(world, status)
    except JournalUnavailable:
        assert world.upstream.requests == []
        return False
    return True


async def gone_on(world: World, folder: Path, write: Writing, status: str) -> None:
    """The next process, over what is on the disk: the promises hold."""
    world.folder = folder
    await world.begin()
    await world.recovered(SECONDS)
    sent = bool(world.writes_sent())
    assert len(world.writes_sent()) <= 1
    assert world.statuses() == right(world, write, status, sent=sent)
    counts = (await world.journal.counts()).states
    assert counts[State.STUCK] == 0
    await world.end()


def keys_kept(before: Path, folder: Path) -> None:
    """The key of the payloads is a file of its own, synced when it was made."""
    for path in before.iterdir():
        if path.name.endswith("key"):
            shutil.copy(path, folder / path.name)


@pytest.mark.parametrize("status", ["final", "forbidden"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_power_loss_at_each_operation(folder: Path, write: Writing, status: str) -> None:
    operations = await operations_of(folder, write, status)
    assert operations >= 6  # three commits, each a write and a sync at least
    for number in range(1, operations + 1):
        with beneath_sqlite(Disk()) as disk:
            world = await world_in(folder / f"at-{number}").begin()
            await broken(world, disk, write, status, failing_at(number, IOERR_WRITE))
            disk.lose_power(folder / f"after-{number}", Random(number))
            keys_kept(world.folder, folder / f"after-{number}")
            await world.buried()
        await gone_on(world, folder / f"after-{number}", write, status)


CODES = {"ENOSPC": FULL, "EIO": IOERR_WRITE}
# Every code of every kind with one interaction, and each other interaction with each code.
FAILING = [
    ("create", status, code, often) for status in ("final", "forbidden") for code in CODES for often in ("once", "on")
]
FAILING += [
    (write, "forbidden", code, often) for write in WRITES for code, often in (("ENOSPC", "on"), ("EIO", "once"))
]


@pytest.mark.parametrize(("write", "status", "code", "often"), sorted(set(FAILING)))
async def test_a_failing_disk(folder: Path, write: str, status: str, code: str, often: str) -> None:
    pushed = WRITES[write]
    for number in range(1, await operations_of(folder, pushed, status) + 1):
        with beneath_sqlite(Disk()) as disk:
            world = await world_in(folder / f"at-{number}").begin()
            plan = failing_at(number, CODES[code], only_once=often == "once")
            taken = await broken(world, disk, pushed, status, plan)
            requests = len(world.writes_sent())
            if world.journal.broken is not None:
                # A write that would need the journal is refused from here on, also when the disk is well again.
                disk.plan = sound
                with pytest.raises(JournalUnavailable):
                    await pushed(world, "final")
                assert len(world.writes_sent()) == requests
            assert taken or requests == 0
            await world.buried()
            disk.plan = sound
        await gone_on(world, world.folder, pushed, status)


def intent(number: int) -> Intent:
    return Intent(
        decision_id=f"d{number}",
        write_id=f"w{number:015d}",
        interaction=InteractionCode.CREATE,
        type="Observation",
        body=observation("final", note=str(number)),
        client_id="lab",
        issuer="https://issuer.example",
        started_at=1.0,
    )


@pytest.mark.parametrize("seed", range(12))
async def test_what_was_acknowledged_outlives_the_power(folder: Path, seed: int) -> None:
    """Many at once, so that they share commits; then the power goes, at any moment."""
    random = Random(seed)
    (folder / "journal").mkdir()
    known: dict[str, State] = {}
    with beneath_sqlite(Disk()) as disk:
        journal = SqliteJournal(folder / "journal" / "journal.db", "worker")
        await journal.open()
        disk.plan = failing_at(random.randrange(1, 120), IOERR_WRITE)

        async def one(number: int) -> None:
            made = replace(intent(number), owner=journal.owner)
            await journal.begin(made)
            known[made.decision_id] = State.INTENDED
            stored = replace(made, state=State.STORED, stored_id=str(number), stored_version="1")
            await journal.advance(stored, expected=State.INTENDED)
            known[made.decision_id] = State.STORED
            await journal.advance(replace(stored, state=State.COMMITTED), expected=State.STORED)
            known[made.decision_id] = State.COMMITTED

        for start in range(0, 60, 6):
            await asyncio.gather(*(one(start + each) for each in range(6)), return_exceptions=True)
        after = folder / "after"
        disk.lose_power(after, random)
        keys_kept(folder / "journal", after)
        journal._lock.abandon()
        await journal._writer.close()
    assert known
    again = SqliteJournal(after / "journal.db", "worker")
    await again.open()
    order = (State.INTENDED, State.STORED, State.COMMITTED)
    for decision_id, state in known.items():
        kept = await again.get(decision_id)
        assert kept is not None
        assert order.index(kept.state) >= order.index(state)
    await again.close()


async def test_the_model_of_the_disk_forgets(folder: Path) -> None:
    """Without a sync there is nothing: else the tests above would prove nothing."""
    with beneath_sqlite(Disk()) as disk:
        journal = SqliteJournal(folder / "journal.db", "worker")
        await journal.open()
        await journal.begin(replace(intent(1), owner=journal.owner))  # the first of a log syncs the log's head as well
        syncs = [each for each in disk.operations if each[0] == "sync"]
        await journal.begin(replace(intent(2), owner=journal.owner))
        assert len([each for each in disk.operations if each[0] == "sync"]) == len(syncs) + 1
        wal = disk.platter(str(folder / "journal.db-wal"))
        assert not wal.pending
        assert wal.durable
        await journal.close()
