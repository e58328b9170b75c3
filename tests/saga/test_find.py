"""Finding a write again on servers that keep less of its request id than it was told by."""

import json
import time
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import Json, JsonObject
from gateway.fhir.resource import BodyLimits
from gateway.saga.capability import Capability
from gateway.saga.find import Finder, Stamps, Untellable
from gateway.saga.intent import Intent, State
from gateway.saga.lookup_port import Absent, Hits, Look, Seen, Trouble, Unclear
from gateway.saga.ports import AnswerLost, UpstreamAnswer, UpstreamRequest
from gateway.saga.proof import Stored
from gateway.sandbox.quirks import Quirks
from tests.saga.world import CAPABILITY, CONSERVATIVE, World, observation, read, request

MOVED = "the resource changed, and the server keeps no history to tell by whom"
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


@pytest.mark.parametrize(("proven", "state"), [(True, State.REJECTED), (False, State.STUCK)])
async def test_a_stranger_with_an_id_of_his_own_is_not_taken_for_ours(world: World, proven: bool, state: State) -> None:
    world.capability = replace(CAPABILITY, records_ids=proven)

    theirs = read(observation("final"))

    async def swallow(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method != "POST":
            return None
        world.server.store.put(("Observation", "theirs"), theirs, method="POST", request_id="another-request-")
        raise AnswerLost("lost on the way out")

    world.upstream.before.append(swallow)
    settled = await world.create()
    assert settled.state is state
    assert world.statuses() == ["final"], "what somebody else wrote stays"


@pytest.mark.parametrize("status", ["final", "forbidden"])
@pytest.mark.parametrize("ours", [-86_400.0, -600.0, -120.0, -4.0, 4.0, 300.0, 86_400.0])
async def test_a_creation_is_found_whatever_our_clock_said_when_it_began(
    world: World, ours: float, status: str
) -> None:
    """By the server's own clock, where the history of the type and the content are all there is."""
    world.capability = CONSERVATIVE
    world.server.store.quirks = Quirks().changed(LOST)
    body = observation(status)
    intent = world.intent(InteractionCode.CREATE, body)
    intent = replace(intent, started_at=intent.started_at + ours)
    settled = await world.settler.run(intent, request("POST", "Observation", body))
    assert settled.state is (State.COMMITTED if status == "final" else State.UNDONE)
    assert world.statuses() == (["final"] if status == "final" else [])


@pytest.mark.parametrize(
    ("noted", "stored", "state"),
    [
        (-1.0, True, State.UNDONE),
        (0.5, True, State.UNDONE),  # `Date` has whole seconds
        (20.0, True, State.STUCK),  # perhaps by a machine of the server's whose clock is behind, perhaps a stranger's
        (None, True, State.STUCK),
        (None, False, State.STUCK),
        (-1.0, False, State.REJECTED),
    ],
)
async def test_what_was_made_before_the_write_began_is_not_taken_for_it(
    world: World, noted: float | None, stored: bool, state: State
) -> None:
    """A stranger's from five minutes ago is there, too, and says the same."""
    world.capability = CONSERVATIVE
    store = world.server.store
    store.clock, clock = lambda: datetime.now(UTC) - timedelta(minutes=5), store.clock
    world.put("stranger", "forbidden")
    store.clock = clock

    async def lost(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method != "POST":
            return None
        if stored:
            kept = tuple(header for header in sent.headers if header[0] != b"x-request-id")
            await world.upstream._exchange(replace(sent, headers=kept))
        raise AnswerLost("lost on the way")

    world.upstream.before.append(lost)
    body = observation("forbidden")
    intent = world.intent(InteractionCode.CREATE, body)
    intent = replace(intent, server_time=None if noted is None else time.time() + noted)
    settled = await world.settler.run(intent, request("POST", "Observation", body))
    await world.recovered()
    kept = await world.journal.get(intent.decision_id)
    assert kept is not None
    assert kept.state is state, settled.reason
    assert world.statuses() == ["forbidden"] * (1 + (stored and state is not State.UNDONE))


def bare(world: World) -> None:
    """Answers to a POST lose their ETag and their body."""

    async def without(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method != "POST":
            return None
        answer = await world.upstream._exchange(sent)
        return replace(answer, headers=tuple(each for each in answer.headers if each[0] != b"etag"), body=b"")

    world.upstream.before.append(without)


class AppliedBetweenLooks:
    """A server on which the write appears after the first look; until then it knows no history of the id at all."""

    def __init__(self, shown: Seen) -> None:
        self.shown = shown

    async def version(self, type_: str, id_: str, version: str) -> Look:
        return Absent()

    async def history(self, type_: str, id_: str | None, since: float, *, by_server: float | None = None) -> Hits:
        return Unclear(trouble=Trouble.UNSUPPORTED)

    async def current(self, type_: str, id_: str) -> Look:
        return self.shown

    async def by_request_id(self, type_: str, request_id: str, since: float, *, by_server: float | None = None) -> Hits:
        return ()

    async def by_tag(self, type_: str, system: str, code: str) -> Hits:
        return ()


@pytest.mark.parametrize(
    ("interaction", "status", "version", "found"),
    [
        (InteractionCode.CREATE, "final", "1", True),
        (InteractionCode.CREATE, "final", "2", False),
        (InteractionCode.UPDATE, "final", "1", True),
        (InteractionCode.UPDATE, "other", "1", False),
    ],
)
async def test_a_write_that_is_applied_between_two_looks_is_found(
    interaction: InteractionCode, status: str, version: str, found: bool
) -> None:
    """HAPI answers 404 to the history of an id that it does not know yet; one look later the write was there."""
    sent = json.dumps(read(observation("final")) | {"id": "g-1"}).encode()
    resource = read(sent) | {"status": status}
    seen = Seen(id="g-1", version=version, resource=resource, body=sent)

    async def nothing(type_: str, ids: Collection[str]) -> frozenset[tuple[str, str]]:
        return frozenset()

    finder = Finder(lookups=AppliedBetweenLooks(seen), stored=nothing, limits=BodyLimits(), stamps=Stamps())
    intent = Intent(
        decision_id="d",
        write_id="w" * 16,
        interaction=interaction,
        type="Observation",
        id="g-1",
        body=sent,
        client_id="c",
        issuer="i",
        started_at=0.0,
    )
    outcome = await finder.find(intent, CAPABILITY)
    assert outcome == (Stored(id="g-1", version="1", created=True) if found else Untellable(reason=MOVED))


ALTERING = Quirks(request_id_length=0, moves_subject_to="Patient/eve", moves_when_tagged="move")
MOVE = (
    b'{"resourceType":"Observation",%s"status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p1"},'
    b'"meta":{"tag":[{"code":"move"}]}}'
)


@pytest.mark.parametrize("fault", ["drop_answer_after_store", "error_though_stored"])
@pytest.mark.parametrize(
    "server",
    [
        {"version_ids": versions, "source_disabled": disabled}
        for versions in ("number", "skipping", "uuid")
        for disabled in (True, False)
    ],
    ids=lambda server: f"{server['version_ids']}-{server['source_disabled']}",
)
@pytest.mark.parametrize("capability", [CAPABILITY, CONSERVATIVE], ids=["hapi", "plain"])
@pytest.mark.parametrize("id_", [None, "o1", "new"])
async def test_a_lost_write_that_the_server_altered_is_not_taken_for_one_that_never_came(
    world: World, fault: str, server: dict[str, Json], capability: Capability, id_: str | None
) -> None:
    """Without a request id it cannot be told from another writer's; that is for a person, and no "nothing is there"."""
    world.capability = capability
    world.holds = lambda stored: stored.get("subject") == {"reference": "Patient/p1"}
    world.server.store.load(b'{"resourceType":"Patient","id":"eve"}')
    world.server.store.quirks = ALTERING.changed(server)
    if id_ == "o1":
        world.put("o1", note="before")
    world.server.store.quirks = ALTERING.changed({**server, fault: True, "strikes": 1})
    body = MOVE % (b"" if id_ is None else f'"id":"{id_}",'.encode())
    if id_ is None:
        intent = world.intent(InteractionCode.CREATE, body)
        sent = request("POST", "Observation", body)
    else:
        intent = world.intent(InteractionCode.UPDATE, body, id_=id_)
        guard = ((b"if-match", f'W/"{intent.prior_version}"'.encode()),) if intent.prior_version else ()
        sent = request("PUT", f"Observation/{id_}", body, *guard)
    await world.settler.run(intent, sent)
    await world.recovered()
    kept = await world.journal.get(intent.decision_id)
    assert kept is not None
    assert kept.state is State.STUCK
    assert kept.reason == "what was written since may be this write, altered by the server"


async def test_a_creation_named_without_its_version_is_found_under_that_id(world: World) -> None:
    """201 with a Location and no version anywhere in the head: the id alone tells where to look."""
    world.capability = CONSERVATIVE
    world.server.store.quirks = Quirks(request_id_length=0, location_unversioned=True)
    bare(world)
    settled = await world.create("forbidden")
    assert settled.state is State.UNDONE
    assert world.statuses() == []


async def test_what_the_server_said_it_stored_is_not_given_up_when_it_is_not_found(world: World) -> None:
    async def nothing_told(sent: UpstreamRequest) -> UpstreamAnswer | None:
        return UpstreamAnswer(status=201, headers=(), body=b"") if sent.method == "POST" else None

    world.upstream.before.append(nothing_told)
    settled = await world.create()
    assert settled.state is State.STUCK
    assert settled.reason == "the server said that it stored the write, and it is not found"


async def test_a_creation_under_opaque_versions_is_undone_when_its_history_holds_nothing_else(world: World) -> None:
    world.capability = CONSERVATIVE
    world.server.store.quirks = Quirks().changed({"version_ids": "uuid"})
    settled = await world.create("forbidden")
    assert settled.state is State.UNDONE
    assert world.statuses() == []


async def test_request_ids_that_were_seen_to_arrive_speak_for_other_writers(world: World) -> None:
    """What was read back of earlier writes says whether the server records the gateway's ids."""
    assert (await world.create()).state is State.COMMITTED
    theirs = read(observation("final", note="theirs"))

    async def swallow(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method != "POST":
            return None
        world.server.store.put(("Observation", "theirs"), theirs, method="POST", request_id="another-request-")
        raise AnswerLost("lost on the way out")

    world.upstream.before.append(swallow)
    settled = await world.create()
    assert settled.state is State.REJECTED


@pytest.mark.parametrize(
    ("versions", "explained", "found"),
    [
        ("uuid", False, True),
        ("uuid", True, False),
        ("number", True, True),  # the first version is still the one that was created
    ],
)
async def test_a_creation_named_without_its_version_is_not_what_another_write_stored_there(
    world: World, versions: str, explained: bool, found: bool
) -> None:
    """Others changed the resource and changed it back: that says the same, and is not what this write stored."""
    world.capability = replace(CONSERVATIVE, numbered_versions=versions == "number")
    world.server.store.quirks = Quirks(request_id_length=0).changed({"version_ids": versions})
    for status in ("final", "amended", "final"):
        world.put("ours", status)
    current = world.server.store.current(("Observation", "ours"))
    assert current is not None
    if explained:
        held = await world.journal.begin(world.intent(InteractionCode.UPDATE, b"", id_="ours"))
        await world.journal.advance(
            replace(held, state=State.STORED, stored_id="ours", stored_version=current.version),
            expected=State.INTENDED,
        )
    intent = replace(world.intent(InteractionCode.CREATE, observation("final")), stored_id="ours", upstream_status=201)
    steps = world.settler._steps
    outcome = await steps._finder().find(intent, world.capability)
    if not found:
        reason = "the server did not tell which version it stored, and another one may be current"
        assert outcome == Untellable(reason=reason)
    elif versions == "number":
        assert outcome == Stored(id="ours", version="1", created=True)
    else:
        assert outcome == Stored(id="ours", version=current.version, created=None)
