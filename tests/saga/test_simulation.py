"""Seeded runs of many clients with faults, checked against the FHIR server's own log."""

import asyncio
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from gateway.saga.intent import State
from gateway.saga.ports import AnswerLost, NotSent, UpstreamAnswer, UpstreamRequest
from gateway.saga.settle import CrashPoint
from tests.saga.world import CAPABILITY, CONSERVATIVE, IF_MATCH, SETTINGS, Died, World


class Faults:
    """Breaks one exchange in so many, before or after the server did its work."""

    def __init__(self, world: World, random: Random) -> None:
        self.world, self.random, self.on = world, random, True

    async def __call__(self, request: UpstreamRequest) -> UpstreamAnswer | None:
        if not self.on or self.random.random() > 0.25:
            return None
        kind = self.random.randrange(5)
        if kind == 0:
            raise NotSent("refused")
        if kind == 1:
            raise AnswerLost("lost on the way out")
        if kind == 2:
            return UpstreamAnswer(status=503, headers=(), body=b"")
        self.world.upstream.requests.append(request)
        if kind == 3 or request.method == "GET":
            await self.world.upstream._exchange(request)
            raise AnswerLost("lost on the way back")
        task = asyncio.create_task(self._late(request))
        self.world.upstream.running.add(task)
        task.add_done_callback(self.world.upstream.running.discard)
        raise AnswerLost("applied late", timed_out=True)

    async def _late(self, request: UpstreamRequest) -> UpstreamAnswer:
        await asyncio.sleep(self.random.random() * 0.1)
        return await self.world.upstream._exchange(request)


@pytest.mark.parametrize("seed", range(16))
async def test_nothing_forbidden_stays_and_nothing_accepted_is_lost(folder: Path, seed: int) -> None:
    random = Random(seed)
    settings = replace(SETTINGS, live_wait=0.1, late_apply=0.25, send_window=0.3, most_refusals=50)
    world = World(folder=folder, settings=settings, capability=random.choice([CAPABILITY, CONSERVATIVE, IF_MATCH]))
    faults = Faults(world, random)
    world.upstream.before.append(faults)
    for number in range(3):
        world.put(f"o{number}", "preliminary", note=f"s{number}")
    await world.begin(crash_at=random.choice([None, *CrashPoint]))
    accepted: list[str] = []

    async def client(number: int) -> None:
        for turn in range(4):
            status, note = random.choice(["final", "forbidden"]), f"{number}-{turn}"
            if random.random() < 0.6:
                settled = await world.create(status, note=note)
            else:
                settled = await world.update(f"o{number}", status, note=note)
            if settled.state is State.COMMITTED and settled.answer is not None and settled.answer.status < 300:
                accepted.append(note)
                assert status == "final"
            await asyncio.sleep(random.random() * 0.02)

    outcomes = await asyncio.gather(*(client(number) for number in range(3)), return_exceptions=True)
    if any(isinstance(outcome, Died) for outcome in outcomes):
        await world.buried()
        await world.begin()
    for outcome in outcomes:
        assert outcome is None or isinstance(outcome, Died)
    faults.on = False
    await world.recovered(5.0)
    while world.upstream.running:
        await asyncio.wait(world.upstream.running)
    counts = (await world.journal.counts()).states
    if not counts[State.STUCK]:
        assert "forbidden" not in world.statuses()
    history = {
        str(each["value"])
        for version in world.server.store.history("Observation")
        for each in _identifiers((version.resource or {}).get("identifier"))
    }
    assert set(accepted) <= history
    ids = [dict(each.headers)[b"x-request-id"] for each in world.upstream.requests if each.method in ("POST", "PUT")]
    writes = [each for each in ids if not each.startswith(b"U")]
    assert len(writes) == len(set(writes))
    await world.end()


def _identifiers(value: object) -> list[dict[str, object]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
