"""Answers that no honest server gives, and a journal that fails in the middle."""

import asyncio
import sys
from dataclasses import replace

import pytest

from gateway.fhir.interaction import InteractionCode
from gateway.saga.intent import State
from gateway.saga.journal_port import JournalUnavailable
from gateway.saga.moves import NOT_JUDGED
from gateway.saga.ports import AnswerLost, UpstreamAnswer, UpstreamRequest
from gateway.saga.settle import CrashPoint, crash_point_of
from gateway.saga.table import Event, retry_of
from gateway.sandbox.quirks import Quirks
from tests.saga.world import CAPABILITY, CONSERVATIVE, World, observation, read, request


def reading(world: World, status: int, body: bytes = b"", *, after: str, etag: bytes | None = None) -> None:
    """Reads of paths that hold `after` get this answer."""

    async def hook(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method != "GET" or after not in f"{sent.path}?{sent.query}":
            return None
        headers = ((b"etag", etag),) if etag else ()
        return UpstreamAnswer(status=status, headers=headers, body=body)

    world.upstream.before.append(hook)


def losing(world: World, *, store: bool = True) -> None:
    """The next write is stored (or not), and its answer is lost."""
    world.server.store.quirks = replace(world.server.store.quirks, drop_answer_after_store=store, strikes=1)


async def test_a_stored_resource_that_cannot_be_read_does_not_stay(world: World) -> None:
    world.capability = replace(world.capability)
    reading(world, 200, b'{"a":1,"a":2}', after="/_history/1", etag=b'W/"1"')
    settled = await world.create()
    assert (settled.state, settled.failed) == (State.UNDONE, (NOT_JUDGED,))
    assert world.statuses() == []


async def test_a_stored_resource_that_is_not_there_does_not_stay(world: World) -> None:
    reading(world, 404, after="/_history/1")
    reading(world, 404, after="Observation/")
    settled = await world.create()
    assert settled.state is State.UNDONE


async def test_a_server_without_versions_is_read_as_it_stands(world: World) -> None:
    reading(world, 405, after="/_history/1")
    assert (await world.create()).state is State.COMMITTED
    assert (await world.create("forbidden")).state is State.UNDONE
    assert world.statuses() == ["final"]


async def test_a_server_that_shows_another_resource_is_not_trusted_with_a_delete(world: World) -> None:
    other = b'{"resourceType":"Observation","id":"other","meta":{"versionId":"1"}}'
    reading(world, 200, other, after="/_history/1")
    settled = await world.create()
    assert settled.state is State.STUCK
    assert world.statuses() == ["final"]


async def test_a_read_back_that_is_refused_does_not_pass(world: World) -> None:
    reading(world, 403, after="Observation/")
    settled = await world.create()
    assert settled.state is State.STUCK
    assert "cannot be read" in (settled.reason or "")


async def test_an_outage_before_the_judgement_is_waited_out(world: World) -> None:
    reading(world, 503, after="/_history/")
    world.settings = replace(world.settings, live_wait=0.05)
    await world.end()
    await world.begin()
    settled = await world.create("forbidden")
    assert (settled.state, settled.undo) == (State.STORED, None)
    world.upstream.before.clear()
    await world.recovered()
    assert world.statuses() == []


@pytest.mark.parametrize(("proven", "state"), [(True, State.REJECTED), (False, State.STUCK)])
async def test_a_version_that_another_wrote_first_means_that_ours_never_came(
    world: World, proven: bool, state: State
) -> None:
    """Where our ids are not known to arrive, it may be our write all the same, altered by the server."""
    world.capability = replace(CAPABILITY, records_ids=proven)
    world.put("o1", note="before")
    theirs = read(observation("final", id_="o1", note="theirs"))
    intent = world.intent(InteractionCode.UPDATE, observation("forbidden", id_="o1"), id_="o1")

    async def swallow(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method != "PUT":
            return None
        world.server.store.put(("Observation", "o1"), theirs, method="PUT", request_id="another-request-")
        raise AnswerLost("lost on the way out")

    world.upstream.before.append(swallow)
    settled = await world.update("o1", "forbidden", prepared=intent)
    assert settled.state is state
    assert world.statuses() == ["final"]


@pytest.mark.parametrize(("moved", "state"), [(False, State.REJECTED), (True, State.STUCK)])
async def test_a_lost_update_on_a_server_without_history(world: World, moved: bool, state: State) -> None:
    world.capability = CONSERVATIVE
    world.put("o1", note="before")
    intent = world.intent(InteractionCode.UPDATE, observation("forbidden", id_="o1"), id_="o1")
    reading(world, 405, after="_history")

    async def swallow(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method != "PUT":
            return None
        if moved:
            world.put("o1", note="theirs")
        raise AnswerLost("lost on the way out")

    world.upstream.before.append(swallow)
    assert (await world.update("o1", "forbidden", prepared=intent)).state is state


async def test_a_lost_update_as_create_that_never_came_is_given_up(world: World) -> None:
    reading(world, 405, after="_history")

    async def swallow(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method == "PUT":
            raise AnswerLost("lost on the way out")
        return None

    world.upstream.before.append(swallow)
    assert (await world.update("new", "forbidden")).state is State.REJECTED


async def test_a_lost_create_on_a_server_without_history_ends_stuck(world: World) -> None:
    world.capability = CONSERVATIVE
    reading(world, 405, after="_history")
    losing(world)
    assert (await world.create("forbidden")).state is State.STUCK


async def test_two_new_resources_that_say_the_same_are_left_to_a_person(world: World) -> None:
    world.capability = CONSERVATIVE
    world.server.store.quirks = Quirks(request_id_length=0)
    assert (await world.upstream.send(request("POST", "Observation", observation("forbidden")))).status == 201
    losing(world)
    settled = await world.create("forbidden")
    assert settled.state is State.STUCK
    assert world.statuses() == ["forbidden", "forbidden"]


async def test_what_another_journalled_write_explains_is_not_ours(world: World) -> None:
    world.capability = CONSERVATIVE
    assert (await world.create("final")).state is State.COMMITTED

    async def swallow(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method == "POST":
            raise AnswerLost("lost on the way out")
        return None

    world.upstream.before.append(swallow)
    assert (await world.create("final")).state is State.REJECTED


async def test_a_create_that_somebody_changed_since_is_found_by_its_first_version(world: World) -> None:
    changed: list[str] = []

    async def meddle(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if "_source" in sent.query and not changed:
            (live,) = world.server.store.live("Observation")
            changed.append(live.id)
            world.put(live.id, "amended")
        return None

    world.upstream.before.append(meddle)
    losing(world)
    settled = await world.create("forbidden")
    assert settled.state is State.STUCK
    assert world.statuses() == ["amended"]


async def test_a_write_that_carries_another_payload_than_can_be_read_is_left_to_a_person(world: World) -> None:
    intent = world.intent(InteractionCode.CREATE, b"not json")
    losing(world)
    settled = await world.settler.run(intent, request("POST", "Observation", observation("final")))
    assert settled.state is State.STUCK


async def test_a_prior_version_that_cannot_be_read_is_not_written_back(world: World) -> None:
    world.put("o1", note="before")
    intent = replace(
        world.intent(InteractionCode.UPDATE, observation("forbidden", id_="o1"), id_="o1"), prior_body=b"not json"
    )
    settled = await world.update("o1", "forbidden", prepared=intent)
    assert settled.state is State.STUCK


async def test_nothing_is_sent_without_a_durable_intent(world: World) -> None:
    await world.journal._writer.do(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchone())
    with pytest.raises(JournalUnavailable):
        await world.create(note="x" * 1_000_000)
    assert world.upstream.requests == []


async def test_a_journal_that_fails_after_the_send_gives_no_success(world: World) -> None:
    def break_it(stored: object) -> bool:
        world.journal._writer.broken = "SQLITE_IOERR"
        return True

    world.holds = break_it
    settled = await world.create()
    assert settled.state is not State.COMMITTED
    assert settled.reason == "the journal is out of order"
    await world.buried()
    await world.begin()
    world.holds = lambda stored: True
    await world.recovered()
    kept = await world.journal.get("d1")
    assert kept is not None
    assert kept.state is State.COMMITTED


async def test_a_write_that_another_process_took_over_is_left_to_it(world: World) -> None:
    async def robbed(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method == "GET":  # what is stored is read back, and durable as stored
            await world.journal._writer.do(
                lambda connection: connection.execute("UPDATE intent SET owner = 'another'").rowcount
            )
        return None

    world.upstream.before.append(robbed)
    settled = await world.create()
    assert settled.state is not State.COMMITTED
    assert settled.reason == "another process settles this write"
    world.upstream.before.clear()
    await world.recovered()


async def test_a_retry_by_a_person_goes_on(world: World) -> None:
    world.server.store.quirks = Quirks(delete_forbidden=True)
    settled = await world.create("forbidden")
    assert (settled.state, settled.undo) == (State.STUCK, "delete")
    stuck = await world.journal.get("d1")
    assert stuck is not None
    assert retry_of(stuck) is Event.RETRY_UNDO
    await world.journal.decide("d1", retry_of(stuck), by="ann", why="allowed now", now=0.0)
    world.server.store.quirks = Quirks()
    await world.recovered()
    assert world.statuses() == []


async def test_closed_entries_are_pruned_in_the_background(world: World) -> None:
    world.settings = replace(world.settings, keep_closed=-1.0, prune_every=0.0)
    await world.end()
    await world.begin()
    await world.create()
    await world.settler.recover()
    await world.settler.recover()
    for _ in range(100):
        if await world.journal.get("d1") is None:
            break
        await asyncio.sleep(0.02)
    assert await world.journal.get("d1") is None


async def test_nothing_is_looked_for_or_undone_before_the_server_was_asked(world: World) -> None:
    world.settings = replace(world.settings, live_wait=0.05)
    await world.end()
    await world.begin()
    world.capability = replace(CONSERVATIVE, known=False)
    assert (await world.create("forbidden")).state is State.COMPENSATING
    losing(world)
    assert (await world.create("forbidden", note="n")).state is State.INTENDED
    assert not [each for each in world.upstream.requests if each.method == "DELETE" or "_source" in each.query]
    world.capability = CAPABILITY
    await world.recovered()
    assert world.statuses() == []


async def test_a_crash_point_kills_as_kill_9_does() -> None:
    program = "from gateway.saga.settled import kill_self; kill_self()"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == -9


def test_crash_points_have_names() -> None:
    assert crash_point_of({}) is None
    assert crash_point_of({"FHIR_GATEWAY_CRASH_AT": "after-send"}) is CrashPoint.AFTER_SEND
    with pytest.raises(ValueError, match="after-lunch"):
        crash_point_of({"FHIR_GATEWAY_CRASH_AT": "after-lunch"})
