"""The live path against a FHIR server that keeps versions and a log of everything."""

import asyncio
from dataclasses import replace

import pytest

from gateway.errors import Internal, Issue, IssueCode
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.saga.capability import Capability
from gateway.saga.intent import State
from gateway.saga.ports import UpstreamAnswer, UpstreamRequest
from gateway.saga.settle import Verified
from gateway.saga.table import Event
from gateway.sandbox.quirks import Quirks
from tests.saga.world import CAPABILITY, CONSERVATIVE, IF_MATCH, World, observation, request


async def test_a_create_that_holds_is_committed_with_the_servers_answer(world: World) -> None:
    settled = await world.create()
    assert settled.state is State.COMMITTED
    assert settled.answer is not None
    assert settled.answer.status == 201
    assert settled.detail == "judged"
    assert world.statuses() == ["final"]
    kept = await world.journal.get("d1")
    assert kept is not None
    assert (kept.state, kept.created, kept.body, kept.facts) == (State.COMMITTED, True, b"", "{}")


@pytest.mark.parametrize("capability", [CAPABILITY, CONSERVATIVE, IF_MATCH])
async def test_a_create_that_must_not_stay_is_deleted(world: World, capability: Capability) -> None:
    world.capability = capability
    settled = await world.create("forbidden")
    assert settled.state is State.UNDONE
    assert settled.undo == "delete"
    assert settled.failed == ("policy/rule",)
    assert world.statuses() == []
    assert world.watcher.undos[-1][1] == "ok"


async def test_an_update_that_must_not_stay_is_restored(world: World) -> None:
    world.put("o1", note="before")
    settled = await world.update("o1", "forbidden")
    assert (settled.state, settled.undo) == (State.UNDONE, "restore")
    current = world.server.store.current(("Observation", "o1"))
    assert current is not None
    assert current.version == "3"
    assert (current.resource or {})["identifier"] == [{"system": "urn:n", "value": "before"}]


async def test_tags_that_the_write_added_do_not_stay(world: World) -> None:
    world.server.store.quirks = Quirks.hapi()
    world.put("o1")
    body = observation("forbidden", id_="o1").replace(b'"status"', b'"meta":{"tag":[{"code":"t"}]},"status"')
    intent = world.intent(InteractionCode.UPDATE, body, id_="o1")
    guard = (b"if-match", b'W/"1"')
    settled = await world.settler.run(intent, request("PUT", "Observation/o1", body, guard))
    assert settled.state is State.UNDONE
    current = world.server.store.current(("Observation", "o1"))
    assert current is not None
    assert "tag" not in str((current.resource or {})["meta"])


async def test_tags_that_stick_are_told_to_a_person(world: World) -> None:
    world.server.store.quirks = Quirks.hapi()
    world.capability = replace(CAPABILITY, restore_headers=())
    world.put("o1")
    body = observation("forbidden", id_="o1").replace(b'"status"', b'"meta":{"tag":[{"code":"t"}]},"status"')
    intent = world.intent(InteractionCode.UPDATE, body, id_="o1")
    settled = await world.settler.run(intent, request("PUT", "Observation/o1", body, (b"if-match", b'W/"1"')))
    assert settled.state is State.STUCK
    assert settled.reason == "the server restored other content than the version before"


async def test_update_as_create_is_deleted(world: World) -> None:
    settled = await world.update("new", "forbidden")
    assert (settled.state, settled.undo) == (State.UNDONE, "delete")
    assert world.statuses() == []


async def test_a_revival_is_deleted_again(world: World) -> None:
    world.put("o1")
    world.server.store.delete(("Observation", "o1"))
    settled = await world.update("o1", "forbidden")
    assert (settled.state, settled.undo) == (State.UNDONE, "delete")
    assert world.statuses() == []


async def test_a_conditional_create_that_matched_wrote_nothing(world: World) -> None:
    world.put("o1", "forbidden", note="n1")
    settled = await world.create(if_none_exist="identifier=urn:n|n1", note="n1")
    assert settled.state is State.COMMITTED
    assert settled.answer is not None
    assert settled.answer.status == 200
    assert world.watcher.moves == [(State.COMMITTED, Event.ANSWERED_NOTHING)]
    assert world.statuses() == ["forbidden"]


async def test_an_update_that_changes_nothing_has_nothing_to_undo(world: World) -> None:
    world.put("o1", "forbidden")
    intent = world.intent(InteractionCode.UPDATE, observation("forbidden", id_="o1"), id_="o1")

    async def unchanged(sent: UpstreamRequest) -> UpstreamAnswer | None:
        return UpstreamAnswer(status=200, headers=((b"etag", b'W/"1"'),), body=b"") if sent.method == "PUT" else None

    world.upstream.before.append(unchanged)
    settled = await world.update("o1", "forbidden", prepared=intent)
    assert (settled.state, settled.undo) == (State.UNDONE, "nothing")
    assert world.server.store.current(("Observation", "o1")) is not None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422, 429])
async def test_a_refusal_by_the_server_passes_on(world: World, status: int) -> None:
    async def refuse(sent: UpstreamRequest) -> UpstreamAnswer | None:
        return UpstreamAnswer(status=status, headers=(), body=b"no")

    world.upstream.before.append(refuse)
    settled = await world.create()
    assert settled.state is State.REJECTED
    assert settled.answer is not None
    assert settled.answer.status == status


async def test_a_server_that_is_not_reached_stored_nothing(world: World) -> None:
    world.upstream.unreachable = True
    settled = await world.create()
    assert (settled.state, settled.answer) == (State.REJECTED, None)


async def test_an_intent_that_is_too_old_is_not_sent(world: World) -> None:
    world.settings = replace(world.settings, send_window=-1.0)
    await world.end()
    await world.begin()
    settled = await world.create()
    assert settled.state is State.REJECTED
    assert world.upstream.requests == []


@pytest.mark.parametrize("status", ["final", "forbidden"])
@pytest.mark.parametrize(
    "quirks", [Quirks(error_though_stored=True, strikes=1), Quirks(drop_answer_after_store=True, strikes=1)]
)
@pytest.mark.parametrize("capability", [CAPABILITY, CONSERVATIVE])
async def test_a_lost_answer_to_a_create_is_found_by_looking(
    world: World, status: str, quirks: Quirks, capability: Capability
) -> None:
    world.capability, world.server.store.quirks = capability, quirks
    settled = await world.create(status)
    assert settled.state is (State.COMMITTED if status == "final" else State.UNDONE)
    assert world.statuses() == (["final"] if status == "final" else [])
    assert world.writes_sent() == [("POST", "Observation")]
    if status == "final":
        assert settled.answer is not None
        assert settled.answer.status == 201
        assert settled.answer.header(b"etag") == 'W/"1"'


@pytest.mark.parametrize("capability", [CAPABILITY, CONSERVATIVE])
@pytest.mark.parametrize("version_ids", ["number", "skipping"])
async def test_a_lost_answer_to_an_update_is_found_by_its_version(
    world: World, capability: Capability, version_ids: str
) -> None:
    world.capability = capability
    world.server.store.quirks = Quirks().changed({"version_ids": version_ids})
    world.put("o1", note="before")
    world.server.store.quirks = world.server.store.quirks.changed({"drop_answer_after_store": True, "strikes": 1})
    settled = await world.update("o1", "forbidden")
    assert (settled.state, settled.undo) == (State.UNDONE, "restore")
    assert world.statuses() == ["final"]
    assert len(world.writes_sent()) == 1


async def test_a_write_that_is_applied_late_is_found_later(world: World) -> None:
    world.server.store.quirks = Quirks(apply_late=0.3, strikes=1)
    settled = await world.create("forbidden")
    assert settled.state is State.UNDONE
    assert world.statuses() == []
    assert (State.INTENDED, Event.NOT_FOUND_YET) in world.watcher.moves


async def test_a_write_that_is_never_applied_is_given_up_after_the_wait(world: World) -> None:
    async def swallow(sent: UpstreamRequest) -> UpstreamAnswer | None:
        return UpstreamAnswer(status=502, headers=(), body=b"") if sent.method == "POST" else None

    world.upstream.before.append(swallow)
    settled = await world.create()
    assert settled.state is State.REJECTED
    assert settled.answer is None
    assert world.watcher.moves[-1] == (State.REJECTED, Event.NOT_FOUND)


async def test_a_server_that_cannot_be_asked_ends_stuck(world: World) -> None:
    from gateway.saga.capability import FindLost

    world.capability = replace(CONSERVATIVE, find_lost=FindLost.NONE)
    world.server.store.quirks = Quirks(error_though_stored=True, strikes=1)
    settled = await world.create("forbidden")
    assert settled.state is State.STUCK
    assert len(world.watcher.alarms) == 1


async def test_a_search_that_never_finds_anything_does_not_hide_the_write(world: World) -> None:
    async def nothing(sent: UpstreamRequest) -> UpstreamAnswer | None:
        empty = b'{"resourceType":"Bundle","type":"searchset"}'
        return UpstreamAnswer(status=200, headers=(), body=empty) if "_source" in sent.query else None

    world.upstream.before.append(nothing)
    world.server.store.quirks = Quirks(error_though_stored=True, strikes=1)
    settled = await world.create("forbidden")
    assert settled.state is State.UNDONE
    assert world.statuses() == []


async def test_a_search_by_request_id_that_was_switched_off_leaves_history(world: World) -> None:
    world.server.store.quirks = Quirks(source_disabled=True, error_though_stored=True, strikes=1)
    settled = await world.create("forbidden")
    assert settled.state is State.UNDONE
    assert world.statuses() == []


async def test_another_writer_in_between_is_not_overwritten(world: World) -> None:
    world.put("o1", note="before")
    judged = world.holds

    def meddle(stored: JsonObject) -> bool:
        if len(list(world.server.store.history("Observation", "o1"))) == 2:
            world.put("o1", "amended", note="other")
        return judged(stored)

    world.holds = meddle
    settled = await world.update("o1", "forbidden")
    assert settled.state is State.STUCK
    assert world.statuses() == ["amended"]
    assert "another writer" in (settled.reason or "")


@pytest.mark.parametrize("capability", [CAPABILITY, CONSERVATIVE, IF_MATCH])
async def test_another_writer_of_a_created_resource_is_not_deleted(world: World, capability: Capability) -> None:
    world.capability = capability

    def meddle(stored: JsonObject) -> bool:
        world.put(str(stored["id"]), "amended")
        return False

    world.holds = meddle
    settled = await world.create("forbidden")
    assert settled.state is State.STUCK
    assert world.statuses() == ["amended"]


async def test_a_writer_between_look_and_delete_wins(world: World) -> None:
    async def meddle(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method == "DELETE":
            world.put(sent.path.split("/")[1], "amended")
        return None

    world.upstream.before.append(meddle)
    settled = await world.create("forbidden")
    assert settled.state is State.STUCK
    assert world.statuses() == ["amended"]


async def test_an_unguarded_server_that_let_a_lost_update_through_gets_it_back(world: World) -> None:
    world.capability = CONSERVATIVE
    world.put("o1", note="judged")
    intent = world.intent(InteractionCode.UPDATE, observation("final", id_="o1", note="ours"), id_="o1")
    world.put("o1", note="theirs")
    world.server.store.quirks = Quirks(if_match_ignored_on_update=True)
    settled = await world.update("o1", note="ours", prepared=intent)
    assert (settled.state, settled.undo) == (State.UNDONE, "restore")
    current = world.server.store.current(("Observation", "o1"))
    assert current is not None
    assert (current.resource or {})["identifier"] == [{"system": "urn:n", "value": "theirs"}]


@pytest.mark.parametrize("status", ["final", "forbidden"])
async def test_what_another_removed_is_not_brought_back_by_an_update_that_did_not_know(
    world: World, status: str
) -> None:
    """The version that was judged is deleted before the write arrives, at a server that ignores its guard."""
    world.capability = CONSERVATIVE
    world.put("o1", note="judged")
    intent = world.intent(InteractionCode.UPDATE, observation(status, id_="o1", note="ours"), id_="o1")
    world.server.store.delete(("Observation", "o1"))
    world.server.store.quirks = Quirks(if_match_ignored_on_update=True)
    settled = await world.update("o1", status, note="ours", prepared=intent)
    assert (settled.state, settled.undo) == (State.UNDONE, "delete")
    assert "another writer had removed" in (settled.reason or "")
    assert world.statuses() == []


async def test_a_server_that_forbids_the_delete_ends_stuck(world: World) -> None:
    """A second look, to be sure, and no more: the client that waits hears of it."""
    world.server.store.quirks = Quirks(delete_forbidden=True)
    world.settings = replace(world.settings, most_refusals=100)
    await world.end()
    await world.begin()
    settled = await world.create("forbidden")
    assert settled.state is State.STUCK
    assert "405" in (settled.reason or "")
    assert [result for _, result in world.watcher.undos] == ["conflict"] * 2


async def test_a_resource_that_stays_referenced_keeps_its_tries(world: World) -> None:
    async def referenced(sent: UpstreamRequest) -> UpstreamAnswer | None:
        return UpstreamAnswer(status=409, headers=(), body=b"") if sent.method == "DELETE" else None

    world.upstream.before.append(referenced)
    settled = await world.create("forbidden")
    assert settled.state is State.STUCK
    assert [result for _, result in world.watcher.undos] == ["conflict"] * 3


async def test_a_referenced_resource_is_tried_again(world: World) -> None:
    tried: list[str] = []

    async def referenced(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method != "DELETE" or len(tried) == 2:
            return None
        tried.append(sent.path)
        return UpstreamAnswer(status=409, headers=(), body=b"")

    world.upstream.before.append(referenced)
    settled = await world.create("forbidden")
    assert settled.state is State.UNDONE
    assert [result for _, result in world.watcher.undos] == ["conflict", "conflict", "ok"]


async def test_an_outage_during_the_undo_is_waited_out(world: World) -> None:
    world.settings = replace(world.settings, live_wait=0.1)
    await world.end()
    await world.begin()

    def outage(stored: JsonObject) -> bool:
        world.upstream.unreachable = True
        return False

    world.holds = outage
    settled = await world.create("forbidden")
    assert (settled.state, settled.undo) == (State.COMPENSATING, "delete")
    for _ in range(5):
        await world.settler.recovered()
        await asyncio.sleep(0.05)
    assert (await world.journal.counts()).states[State.COMPENSATING] == 1
    world.upstream.unreachable = False
    await world.settler.recover()
    await world.until(State.UNDONE)
    assert world.statuses() == []


async def test_what_cannot_be_judged_does_not_hold(world: World) -> None:
    def broken(stored: JsonObject) -> bool:
        raise Internal(Issue(code=IssueCode.EXCEPTION, text="no policies"))

    world.holds = broken
    settled = await world.create()
    assert settled.state is State.UNDONE
    assert world.statuses() == []


async def test_a_defect_of_the_judge_ends_stuck_and_the_others_go_on(world: World) -> None:
    def broken(stored: JsonObject) -> bool:
        raise RuntimeError("defect")

    world.holds = broken
    world.settings = replace(world.settings, send_window=0.1)
    await world.end()
    await world.begin()
    with pytest.raises(RuntimeError):
        await world.create()
    await world.settler.recover()
    await world.until(State.STUCK)
    assert len(world.watcher.alarms) == 1
    assert len(world.watcher.defects) == 3
    world.holds = lambda stored: True
    assert (await world.create()).state is State.COMMITTED


async def test_a_client_that_leaves_does_not_stop_the_write(world: World) -> None:
    body = observation("forbidden")
    intent = world.intent(InteractionCode.CREATE, body)
    future = world.settler.start(intent, request("POST", "Observation", body))
    await asyncio.sleep(0)
    future.cancel()
    await world.settler.close(2.0)
    kept = await world.journal.get(intent.decision_id)
    assert kept is not None
    assert kept.state is State.UNDONE
    assert world.statuses() == []


async def test_the_judge_gets_the_stored_resource_by_version(world: World) -> None:
    seen: list[JsonObject] = []

    def keep(stored: JsonObject) -> bool:
        seen.append(stored)
        return True

    world.holds = keep
    settled = await world.create()
    assert seen[0]["id"] == (settled.intent.stored_id if settled.intent else "")
    assert [each.path for each in world.upstream.requests if each.method == "GET"] == [
        f"Observation/{seen[0]['id']}/_history/1"
    ]
    assert isinstance(await world.verify(world.intent(InteractionCode.CREATE, b""), seen[0]), Verified)
