"""A network that delivers a write twice: what the write's mark proves of the other delivery is not left in silence."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.fhir.interaction import InteractionCode
from gateway.fhir.write_tag import with_tag
from gateway.saga.capability import FindLost
from gateway.saga.intent import State
from gateway.saga.ports import AnswerLost, UpstreamAnswer, UpstreamRequest
from gateway.sandbox.quirks import Quirks
from tests.saga.world import CAPABILITY, World, observation, read, request


def twice(
    world: World, answer: Callable[[UpstreamAnswer, UpstreamAnswer], UpstreamAnswer] = lambda one, _: one
) -> None:
    """Each write is delivered two times; `answer` says which of the two answers comes back."""

    async def deliver(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method not in ("POST", "PUT") or dict(sent.headers)[b"x-request-id"].startswith(b"U"):
            return None
        first = await world.upstream._exchange(sent)
        return answer(first, await world.upstream._exchange(sent))

    world.upstream.before.append(deliver)


async def test_both_of_a_forbidden_creation_are_removed(world: World) -> None:
    twice(world)
    settled = await world.create("forbidden")
    assert settled.state is State.UNDONE
    assert world.statuses() == []
    assert settled.reason is not None
    assert settled.reason.startswith("delivered twice: Observation/")


async def test_both_are_removed_where_tags_tell(world: World) -> None:
    world.capability = replace(CAPABILITY, find_lost=FindLost.TAG)
    world.server.store.quirks = Quirks(request_id_length=0)
    twice(world)
    intent = world.intent(InteractionCode.CREATE, b"")
    intent = replace(intent, body=with_tag(observation("forbidden"), intent.write_id))
    settled = await world.settler.run(intent, request("POST", "Observation", intent.body))
    assert settled.state is State.UNDONE
    assert world.statuses() == []


async def test_another_one_that_somebody_changed_is_for_a_person(world: World) -> None:
    world.capability = CAPABILITY

    async def change(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method == "DELETE":
            for each in world.server.store.live("Observation"):
                if each.id not in sent.path:
                    world.put(each.id, "amended")
                    world.upstream.before.remove(change)
        return None

    twice(world)
    world.upstream.before.append(change)
    settled = await world.create("forbidden")
    assert settled.state is State.STUCK
    assert settled.reason == "another writer changed the resource after this write"
    assert world.statuses() == ["amended"]


async def test_the_other_one_is_looked_for_again_after_an_outage(world: World) -> None:
    down = [True, True]

    async def unreachable(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if "_source=" in sent.query and down:
            down.pop()
            raise AnswerLost("down")
        return None

    world.upstream.before.append(unreachable)
    twice(world)
    settled = await world.create("forbidden")
    assert settled.state is State.UNDONE
    assert not down
    assert world.statuses() == []


async def test_a_lost_answer_to_two_deliveries_is_for_a_person(world: World) -> None:
    def lost(one: UpstreamAnswer, other: UpstreamAnswer) -> UpstreamAnswer:
        raise AnswerLost("lost on the way back")

    twice(world, lost)
    settled = await world.create("forbidden")
    assert settled.state is State.STUCK
    assert settled.reason == "several resources carry this write's request id"


@pytest.mark.parametrize("body", [True, False], ids=["with its body", "without a body"])
@pytest.mark.parametrize(("status", "state"), [("final", State.COMMITTED), ("forbidden", State.UNDONE)])
async def test_a_match_of_what_the_first_delivery_created_is_judged(
    world: World, status: str, state: State, body: bool
) -> None:
    """`If-None-Exist` matched the write's own first delivery: 200, and yet this write is what is stored."""
    twice(world, lambda _, other: other if body else replace(other, body=b""))
    settled = await world.create(status, if_none_exist="identifier=urn:n|n1", note="n1")
    assert settled.state is state
    assert world.statuses() == (["final"] if status == "final" else [])
    assert settled.intent is not None
    assert settled.intent.created is True
    if status == "final":
        assert settled.answer is not None
        assert settled.answer.status == 201


@pytest.mark.parametrize("quirks", [Quirks(), Quirks.hapi()], ids=["412", "409"])
@pytest.mark.parametrize(("status", "state"), [("final", State.COMMITTED), ("forbidden", State.UNDONE)])
async def test_a_stale_guard_of_what_the_first_delivery_replaced_is_judged(
    world: World, status: str, state: State, quirks: Quirks
) -> None:
    world.server.store.quirks = quirks
    world.put("o1", "preliminary", note="before")
    twice(world, lambda _, other: other)
    settled = await world.update("o1", status)
    assert settled.state is state
    assert world.statuses() == (["final"] if status == "final" else ["preliminary"])
    assert settled.answer is None or settled.answer.status == 200


@pytest.mark.parametrize("makes_version", [False, True], ids=["no new version", "a new version"])
@pytest.mark.parametrize("deleted", [False, True], ids=["never there", "deleted before"])
@pytest.mark.parametrize(("status", "state"), [("final", State.COMMITTED), ("forbidden", State.UNDONE)])
async def test_a_put_that_met_its_own_first_delivery_created_the_resource(
    world: World, status: str, state: State, deleted: bool, makes_version: bool
) -> None:
    """The second delivery is answered with 200: it replaced, or left as it was, what the first one had created."""
    world.server.store.quirks = Quirks(same_content_makes_version=makes_version)
    if deleted:
        world.put("o1", "preliminary")
        world.server.store.delete(("Observation", "o1"))
    twice(world, lambda _, other: other)
    settled = await world.update("o1", status)
    assert settled.state is state
    assert world.statuses() == (["final"] if status == "final" else [])


@pytest.mark.parametrize(("status", "state"), [("final", State.COMMITTED), ("forbidden", State.UNDONE)])
async def test_an_unguarded_put_that_replaced_its_own_first_delivery_replaced_what_was_judged(
    world: World, status: str, state: State
) -> None:
    """Not the first delivery is restored, which must not stay either, but the version before it."""
    world.server.store.quirks = Quirks(same_content_makes_version=True, if_match_ignored_on_update=True)
    world.capability = replace(CAPABILITY, guarded_update=False)
    world.put("o1", "preliminary", note="before")
    twice(world, lambda _, other: other)
    settled = await world.update("o1", status)
    assert settled.state is state
    assert world.statuses() == (["final"] if status == "final" else ["preliminary"])


@pytest.mark.parametrize("deliveries", [1, 2])
async def test_a_stranger_before_the_first_delivery_is_put_back(world: World, deliveries: int) -> None:
    world.server.store.quirks = Quirks(same_content_makes_version=True, if_match_ignored_on_update=True)
    world.capability = replace(CAPABILITY, guarded_update=False)
    world.put("o1", "preliminary")
    prepared = world.intent(InteractionCode.UPDATE, observation("final", id_="o1"), id_="o1")
    world.put("o1", "amended")
    if deliveries > 1:
        twice(world, lambda _, other: other)
    settled = await world.update("o1", prepared=prepared)
    assert settled.state is State.UNDONE
    assert world.statuses() == ["amended"]


async def test_what_another_writer_created_alike_is_not_taken_for_a_first_delivery(world: World) -> None:
    prepared = world.intent(InteractionCode.UPDATE, observation("forbidden", id_="o1"), id_="o1")
    theirs = read(observation("forbidden", id_="o1"))
    world.server.store.put(("Observation", "o1"), theirs, method="PUT", request_id="x" * 16)
    settled = await world.update("o1", "forbidden", prepared=prepared)
    assert settled.state is State.STUCK
    assert world.statuses() == ["forbidden"]


async def test_what_another_writer_stored_first_is_a_conflict_as_ever(world: World) -> None:
    world.put("o1", "preliminary")
    prepared = world.intent(InteractionCode.UPDATE, observation("final", id_="o1"), id_="o1")
    world.server.store.put(
        ("Observation", "o1"), read(observation("final", id_="o1")), method="PUT", request_id="x" * 16
    )
    settled = await world.update("o1", prepared=prepared)
    assert settled.state is State.REJECTED
    assert settled.answer is not None
    assert settled.answer.status in (409, 412)


async def test_what_another_writer_created_first_is_a_match_as_ever(world: World) -> None:
    world.put("theirs", "final", note="n1")
    settled = await world.create("forbidden", if_none_exist="identifier=urn:n|n1", note="n1")
    assert settled.state is State.COMMITTED
    assert settled.answer is not None
    assert settled.answer.status == 200
    assert world.statuses() == ["final"]
