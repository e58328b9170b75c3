"""A whole gateway behind a network that breaks, on real sockets: no write is lost, none forbidden stays, none is
sent twice (cases U 74 to U 81)."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.fhir.json import JsonObject
from gateway.sandbox.quirks import Quirks
from gateway.sandbox.store import Event
from tests.faults.processes import OPEN
from tests.faults.proxy import FaultProxy
from tests.pipeline.rig import LAB, Rig, observation, rigged

STAYS = """
  - id: may-stay
    phase: after
    fhirpath: note.text.where($this = 'must not stay').empty()
    deny: {code: business-rule, at: note, message: This must not stay.}
"""
WRITES = ("create", "update", "update-as-create", "conditional-create")
# About every 150 bytes of a request of some 700, and of an answer of some 900; `9000` is behind the last one.
UP = tuple(f"cut-up-{number}" for number in (0, 1, 90, 180, 300, 450, 600, 9000))
DOWN = tuple(f"cut-down-{number}" for number in (0, 1, 40, 170, 400, 700))
KINDS = (*UP, *DOWN, "drop", "late", "stall")
CASES = [(kind, write, stays) for kind in KINDS for write in WRITES for stays in (True, False)]
SECONDS = 60.0


@asynccontextmanager
async def broken(folder: Path) -> AsyncIterator[tuple[Rig, FaultProxy]]:
    """A gateway, the proxy, and the server behind it."""
    made: list[FaultProxy] = []

    async def between(port: int) -> int:
        made.append(await FaultProxy(port).start())
        return made[0].port

    async with rigged(folder, {"lab": LAB + STAYS}, quirks=Quirks.hapi(), between=between) as rig:
        try:
            yield rig, made[0]
        finally:
            await made[0].close()


def record(name: str, *, stays: bool) -> JsonObject:
    identifier = [{"system": "urn:case", "value": f"fault:{name}"}]
    return observation(identifier=identifier, note=[{"text": "may stay" if stays else "must not stay"}])


async def push(rig: Rig, write: str, name: str, *, stays: bool) -> int:
    """One write, told by its name; its status."""
    id_ = name.replace(".", "-")
    if write.startswith("update"):
        return (await rig.send("PUT", f"Observation/{id_}", {**record(name, stays=stays), "id": id_})).status_code
    headers = {"if-none-exist": f"identifier=urn:case|fault:{name}"} if write.startswith("cond") else {}
    return (await rig.send("POST", "Observation", record(name, stays=stays), headers=headers)).status_code


def before(rig: Rig, name: str) -> None:
    """What an update finds: it is there for long, and so not what a lost creation is looked for by."""
    id_, clock = name.replace(".", "-"), rig.store.clock
    rig.store.clock = lambda: clock() - timedelta(hours=1)
    rig.store.put(("Observation", id_), observation(status="preliminary"), method="PUT", request_id="")
    rig.store.clock = clock


async def settled(rig: Rig) -> dict[str, int]:
    """Wait until nothing is open; how many writes ended in which state."""
    deadline = time.monotonic() + SECONDS
    while True:
        with contextlib.closing(sqlite3.connect(rig.folder / "journal.db", timeout=10)) as connection:
            states = dict(connection.execute("SELECT state, count(*) FROM intent GROUP BY state"))
        if not states.keys() & OPEN:
            return states
        assert time.monotonic() < deadline, states
        await asyncio.sleep(0.2)


def changes(rig: Rig) -> dict[str, list[Event]]:
    """Every change of the server, by what was changed."""
    found: dict[str, list[Event]] = {}
    for event in rig.store.events:
        if event.effect != "none":
            found.setdefault(event.target, []).append(event)
    return found


async def test_every_fault_ends_well(tmp_path: Path) -> None:
    async with broken(tmp_path) as (rig, proxy):
        gate = asyncio.Semaphore(12)

        async def one(number: int) -> None:
            kind, write, stays = CASES[number]
            name = f"{kind}.case-{number}"
            if write == "update":
                before(rig, name)
            async with gate:
                # A circuit that opened turns writes away at once: nothing was sent, so the client may come again.
                for _ in range(100):
                    status = await push(rig, write, name, stays=stays)
                    if f"fault:{name}".encode() in proxy.struck:
                        break
                    assert status == 503
                    await asyncio.sleep(0.2)
            assert f"fault:{name}".encode() in proxy.struck
            assert stays or status >= 400

        await asyncio.gather(*(one(number) for number in range(len(CASES))))
        ended = await settled(rig)
        assert "stuck" not in ended
        assert ended["committed"] >= 20
        assert ended["undone"] >= 20
        sent = [event.request_id for event in rig.store.events if event.method in ("POST", "PUT")]
        own = [each for each in sent if not each.startswith("U")]
        assert len(own) == len(set(own))
        for events in changes(rig).values():
            assert len(events) <= 2
            assert all(event.request_id == f"U{events[0].request_id[1:]}" for event in events[1:])
        assert all("must not stay" not in str(each.resource) for each in rig.store.live("Observation"))


@pytest.mark.parametrize("write", WRITES)
async def test_nothing_is_there_to_be_reached(tmp_path: Path, write: str) -> None:
    """Connection refused: the write surely did not leave. Where the write is journalled, the journal knows it."""
    async with broken(tmp_path) as (rig, proxy):
        # The Patient is known, so that it is the write itself that finds the door closed, behind the look that an
        # update takes at the version before.
        assert await push(rig, "create", "none.first", stays=True) == 201
        name = "none.second"
        if write == "update":
            before(rig, name)
        if write.startswith("update"):
            proxy.refuses_after = 1
        else:
            await proxy.refuse()
        held = changes(rig)
        assert await push(rig, write, name, stays=True) in (502, 503)
        assert await settled(rig) == {"committed": 1, "rejected": 1}
        assert changes(rig) == held


@dataclass(frozen=True, slots=True)
class Twice:
    """A write that is delivered two times: whose answer comes back, how it ends, how many resources are left of it."""

    write: str
    answered: int
    stays: bool
    end: str
    left: int


TWICE = [
    Twice("create", 1, True, "committed", 2),  # a create has no guard: the README says so
    Twice("create", 2, True, "committed", 2),
    Twice("create", 1, False, "undone", 0),
    Twice("create", 2, False, "undone", 0),
    Twice("conditional-create", 1, True, "committed", 1),
    Twice("conditional-create", 2, True, "committed", 1),
    Twice("conditional-create", 1, False, "undone", 0),
    Twice("conditional-create", 2, False, "undone", 0),
    Twice("update", 1, True, "committed", 1),
    Twice("update", 2, True, "committed", 1),
    Twice("update", 1, False, "undone", 1),
    Twice("update", 2, False, "undone", 1),
    Twice("update-as-create", 1, True, "committed", 1),
    Twice("update-as-create", 2, True, "committed", 1),
    Twice("update-as-create", 1, False, "undone", 0),
    Twice("update-as-create", 2, False, "undone", 0),  # 200 and version 1, which carries the write's own request id
]


@pytest.mark.parametrize("case", TWICE, ids=lambda case: f"{case.write}-{case.answered}-{case.stays}")
async def test_a_network_that_delivers_twice(tmp_path: Path, case: Twice) -> None:
    """Whichever answer comes back, the journal says what the server's log says: nothing forbidden stays in silence."""
    async with broken(tmp_path) as (rig, proxy):
        name = f"twice-{case.answered}.only"
        if case.write == "update":
            before(rig, name)
        status = await push(rig, case.write, name, stays=case.stays)
        assert (status in (200, 201)) if case.stays else (status >= 400)
        assert len([each for each in proxy.delivered if each.startswith((b"POST", b"PUT"))]) >= 2
        assert await settled(rig) == {case.end: 1}
        live = list(rig.store.live("Observation"))
        assert len(live) == case.left
        assert all("must not stay" not in str(each.resource) for each in live)
