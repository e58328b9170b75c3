"""Safety lines that no other test missed when they were taken away (`make sabotage`)."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.fhir.interaction import InteractionCode
from gateway.saga.intent import State
from gateway.saga.ports import AnswerLost, UpstreamAnswer, UpstreamRequest
from gateway.saga.settle import CrashPoint
from tests.faults.processes import Gateway
from tests.pipeline.rig import observation as record
from tests.pipeline.rig import rigged
from tests.saga.world import SETTINGS, World, observation, request


async def test_the_write_goes_out_under_its_own_request_id_alone(folder: Path) -> None:
    """A server takes the first of two, and the write would never be found again."""
    world = await World(folder=folder).begin()
    body = observation("final")
    intent = world.intent(InteractionCode.CREATE, body)
    await world.settler.run(intent, request("POST", "Observation", body, (b"x-request-id", b"another")))
    (sent,) = [each for each in world.upstream.requests if each.method == "POST"]
    ids = [value for name, value in sent.headers if name == b"x-request-id"]
    assert ids == [intent.write_id.encode()]
    await world.end()


async def test_a_hit_of_the_search_is_held_against_the_writes_own_id(folder: Path) -> None:
    """A server that answers a search with everything, as some do for a parameter that they do not know."""
    world = World(folder=folder, settings=replace(SETTINGS, late_apply=0.1, send_window=0.2, live_wait=0.1))

    async def lost_and_found(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method == "POST":
            world.put("stranger", "final")
            raise AnswerLost("lost on the way out")
        if "_source" in sent.query:
            return await world.upstream._exchange(replace(sent, query=""))
        return None

    world.upstream.before.append(lost_and_found)
    await world.begin()
    settled = await world.create("forbidden")
    assert settled.intent is not None
    await world.recovered()
    kept = await world.journal.get(settled.intent.decision_id)
    assert kept is not None
    assert kept.state is State.STUCK, "it may be the write, altered by the server; it is not touched"
    assert world.statuses() == ["final"]
    await world.end()


async def test_nothing_is_sent_while_decisions_cannot_be_recorded(tmp_path: Path) -> None:
    """The disk of the decision log is full: the first decision finds out, the next write is not begun."""
    (tmp_path / "decisions.ndjson").symlink_to("/dev/full")
    async with rigged(tmp_path) as rig:
        for _ in range(50):
            answer = await rig.create(record())
            if answer.status_code == 503:
                break
        sent = len(rig.writes())
        assert (await rig.create(record())).status_code == 503
        assert len(rig.writes()) == sent


@pytest.mark.parametrize("crash_at", [None, CrashPoint.AFTER_CLAIM])
def test_a_crash_point_shows_as_an_unsafe_setting(gateway: Gateway, crash_at: CrashPoint | None) -> None:
    gateway.start(**({} if crash_at is None else {"FHIR_GATEWAY_CRASH_AT": crash_at.value}))
    status = gateway.site.client.get(f"{gateway.admin}/status").json()
    logged = [json.loads(line) for line in (gateway.folder / "log").read_text().splitlines() if line.startswith("{")]
    warned = [line["setting"] for line in logged if line["event"] == "gateway.unsafe_setting"]
    expected = [] if crash_at is None else [f"crash at {crash_at.value}"]
    assert status["unsafe_settings"] == expected
    assert warned == expected
