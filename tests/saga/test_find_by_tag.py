"""Finding a lost creation by its tag: each hit is held against the tag, the first version, and what others explain."""

from dataclasses import replace

from gateway.fhir.interaction import InteractionCode
from gateway.fhir.write_tag import with_tag
from gateway.saga.capability import FindLost
from gateway.saga.find import Finder, NotThere, Stamps, Untellable
from gateway.saga.intent import Intent, State
from gateway.saga.lookup_port import Trouble, Unclear
from gateway.saga.ports import AnswerLost, UpstreamAnswer, UpstreamRequest
from gateway.saga.proof import Stored
from gateway.sandbox.quirks import Quirks
from tests.saga.world import CAPABILITY, LIMITS, World, observation, read

TAG = replace(CAPABILITY, find_lost=FindLost.TAG)


def lost(world: World) -> Intent:
    made = world.intent(InteractionCode.CREATE, b"")
    return replace(made, body=with_tag(observation("final"), made.write_id))


def put(world: World, intent: Intent, id_: str) -> None:
    world.server.store.put(("Observation", id_), read(intent.body), method="POST", request_id="")


def finder(world: World) -> Finder:
    return Finder(
        lookups=world.settler._steps.lookups, stored=world.journal.stored_versions, limits=LIMITS, stamps=Stamps()
    )


async def test_it_is_found_among_others_that_say_the_same(world: World) -> None:
    world.put("same", "final")
    intent = lost(world)
    put(world, intent, "ours")
    assert await finder(world).find(intent, TAG) == Stored(id="ours", version="1", created=True)


async def test_the_first_version_is_what_was_written_whatever_is_current(world: World) -> None:
    intent = lost(world)
    put(world, intent, "ours")
    put(world, replace(intent, body=with_tag(observation("amended"), intent.write_id)), "ours")
    assert await finder(world).find(intent, TAG) == Stored(id="ours", version="1", created=True)


async def test_a_tag_that_somebody_took_off_since_is_found_in_history(world: World) -> None:
    intent = lost(world)
    put(world, intent, "ours")
    world.put("ours", "amended")
    assert await finder(world).find(intent, TAG) == NotThere()
    assert await finder(world).find(intent, TAG, last=True) == Stored(id="ours", version="1", created=True)


async def test_what_another_write_explains_is_a_copy(world: World) -> None:
    intent = lost(world)
    put(world, intent, "ours")
    put(world, intent, "copy")
    assert await finder(world).find(intent, TAG) == Untellable(reason="several resources carry this write's tag")
    held = await world.journal.begin(replace(lost(world), decision_id="other"))
    await world.journal.advance(
        replace(held, state=State.STORED, stored_id="copy", stored_version="1"), expected=State.INTENDED
    )
    assert await finder(world).find(intent, TAG) == Stored(id="ours", version="1", created=True)


async def test_a_hit_that_does_not_carry_the_tag_is_not_believed(world: World) -> None:
    """A server that answers an unknown parameter with everything."""
    world.server.store.quirks = Quirks(unknown_parameter="everything", tag_disabled=True)
    world.put("stranger", "final")
    assert await finder(world).find(lost(world), TAG) == NotThere()


async def test_where_tags_cannot_be_searched_for_history_is_read(world: World) -> None:
    world.server.store.quirks = Quirks(tag_disabled=True, request_id_length=0)
    intent = lost(world)
    world.put("same", "final")
    put(world, intent, "ours")
    assert await finder(world).find(intent, TAG) == Stored(id="ours", version="1", created=True)


async def test_an_outage_tells_nothing(world: World) -> None:
    async def down(sent: UpstreamRequest) -> UpstreamAnswer | None:
        raise AnswerLost("down")

    world.upstream.before.append(down)
    assert await finder(world).find(lost(world), TAG) == Unclear(trouble=Trouble.OUTAGE)


async def test_an_outage_between_the_search_and_the_first_version_tells_nothing(world: World) -> None:
    intent = lost(world)
    put(world, intent, "ours")
    put(world, replace(intent, body=with_tag(observation("amended"), intent.write_id)), "ours")

    async def down(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if "_history" in sent.path:
            raise AnswerLost("down")
        return None

    world.upstream.before.append(down)
    assert await finder(world).find(intent, TAG) == Unclear(trouble=Trouble.OUTAGE)


async def test_one_that_left_without_a_tag_is_looked_for_in_history(world: World) -> None:
    intent = replace(lost(world), body=observation("final"))
    put(world, intent, "ours")
    assert await finder(world).find(intent, TAG) == Stored(id="ours", version="1", created=True)
