"""How long missing writes are waited for, in bounded memory."""

from dataclasses import replace

from gateway.saga.first_looks import FirstLooks
from gateway.saga.intent import State
from gateway.saga.ports import AnswerLost, UpstreamAnswer, UpstreamRequest
from tests.saga.world import World


def test_the_wait_begins_with_the_first_look_and_not_before_there_is_room() -> None:
    looks = FirstLooks(60.0, most=2)
    assert [looks.of("a", 1.0), looks.of("b", 2.0), looks.of("c", 3.0)] == [1.0, 2.0, None]
    assert looks.of("a", 50.0) == 1.0
    looks.forget("a")
    looks.forget("never noted")
    assert looks.of("c", 51.0) == 51.0
    assert len(looks) == 2


def test_one_that_nobody_waits_for_any_more_gives_its_room_up() -> None:
    looks = FirstLooks(60.0, most=1)
    looks.of("settled elsewhere", 0.0)
    assert looks.of("a", 600.0) is None
    assert looks.of("a", 601.0) == 601.0
    assert len(looks) == 1


async def test_more_missing_writes_than_there_is_room_for_all_end(world: World) -> None:
    """What each of them cost stayed for ever where the entry ended otherwise than by the last look."""

    async def swallow(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method == "POST":
            raise AnswerLost("lost on the way out")
        return None

    steps = world.settler._steps
    narrow = FirstLooks(0.1, most=3)
    world.settler._steps = replace(steps, settings=replace(steps.settings, late_apply=0.1), first_looks=narrow)
    world.upstream.before.append(swallow)
    for number in range(9):
        await world.create(note=f"n{number}")
        assert len(narrow) <= 3
    await world.recovered(20.0)
    assert (await world.journal.counts()).states[State.REJECTED] == 9
    assert len(narrow) == 0
