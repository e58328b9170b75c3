"""Finding a write again on servers that keep less of its request id than it was told by."""

import pytest

from gateway.fhir.json import JsonObject
from gateway.saga.intent import State
from gateway.saga.ports import AnswerLost, UpstreamAnswer, UpstreamRequest
from gateway.sandbox.quirks import Quirks
from tests.saga.world import CAPABILITY, World, observation, read

LOST: JsonObject = {"drop_answer_after_store": True, "strikes": 1}


@pytest.mark.parametrize("kept", [0, 8, 15])
@pytest.mark.parametrize("status", ["final", "forbidden"])
async def test_a_creation_whose_request_id_was_cut_is_not_given_up_for_lost(
    world: World, kept: int, status: str
) -> None:
    world.capability = CAPABILITY
    world.server.store.quirks = Quirks(request_id_length=kept).changed(LOST)
    settled = await world.create(status)
    assert settled.state is (State.COMMITTED if status == "final" else State.UNDONE)
    assert world.statuses() == (["final"] if status == "final" else [])


@pytest.mark.parametrize("kept", [0, 8])
async def test_an_update_whose_request_id_was_cut_is_not_given_up_for_lost(world: World, kept: int) -> None:
    world.capability = CAPABILITY
    world.put("o1", note="before")
    world.server.store.quirks = Quirks(request_id_length=kept).changed(LOST)
    settled = await world.update("o1", "forbidden")
    assert settled.state is State.UNDONE
    assert world.statuses() == ["final"]


async def test_two_that_look_alike_and_carry_no_request_id_are_for_a_person(world: World) -> None:
    world.capability = CAPABILITY
    world.server.store.quirks = Quirks(request_id_length=0).changed(LOST)
    world.put("theirs", "forbidden")
    settled = await world.create("forbidden")
    assert settled.state is State.STUCK
    assert world.statuses() == ["forbidden", "forbidden"]


async def test_a_stranger_with_an_id_of_his_own_is_not_taken_for_ours(world: World) -> None:
    world.capability = CAPABILITY

    theirs = read(observation("final"))

    async def swallow(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method != "POST":
            return None
        world.server.store.put(("Observation", "theirs"), theirs, method="POST", request_id="another-request-")
        raise AnswerLost("lost on the way out")

    world.upstream.before.append(swallow)
    settled = await world.create()
    assert settled.state is State.REJECTED
    assert world.statuses() == ["final"], "what somebody else wrote stays"
