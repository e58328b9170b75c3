"""Entries of keyed writes: what is kept of an answer, and when a key is free again."""

import json
from dataclasses import replace

import pytest

from gateway.fhir.interaction import InteractionCode
from gateway.saga.intent import Intent, State
from gateway.saga.ports import AnswerLost, NotSent, UpstreamAnswer, UpstreamRequest
from gateway.saga.recorded_answer import answer_of, had_body, text_of
from gateway.saga.settled import Settled
from gateway.saga.table import Event
from tests.saga.world import World, observation, request


def keyed(world: World, body: bytes, *, read_back: bool = False) -> Intent:
    made = world.intent(InteractionCode.CREATE, body)
    return replace(made, idempotency_key=f"k{made.decision_id}", request_hash="r", read_back=read_back)


async def created(world: World, *, read_back: bool = False) -> Settled:
    body = observation("final")
    return await world.settler.run(keyed(world, body, read_back=read_back), request("POST", "Observation", body))


async def kept(world: World, settled: Settled) -> Intent:
    assert settled.intent is not None
    found = await world.journal.get(settled.intent.decision_id)
    assert found is not None
    return found


async def test_a_write_that_nobody_judges_goes_from_intent_to_commit(world: World) -> None:
    before = world.journal._writer.commits
    settled = await created(world)
    assert world.watcher.moves == [(State.COMMITTED, Event.STORED_FOR_GOOD)]
    assert world.journal._writer.commits - before == 2
    assert [each.method for each in world.upstream.requests] == ["POST"]
    entry = await kept(world, settled)
    answer = answer_of(entry)
    assert answer is not None
    assert settled.answer is not None
    assert (answer.status, answer.header(b"etag")) == (201, 'W/"1"')
    assert answer.header(b"last-modified") == settled.answer.header(b"last-modified")
    assert answer.header(b"location") == f"Observation/{entry.stored_id}/_history/1"
    assert had_body(entry)


async def test_one_that_is_judged_keeps_its_answer_too(world: World) -> None:
    settled = await created(world, read_back=True)
    assert [event for _, event in world.watcher.moves] == [Event.ANSWERED_STORED, Event.HOLDS]
    assert json.loads((await kept(world, settled)).answer or "{}")["status"] == 201


async def test_without_a_key_no_answer_is_kept(world: World) -> None:
    assert (await kept(world, await world.create())).answer is None


@pytest.mark.parametrize("status", [400, 409, 412, 422])
async def test_a_refusal_of_the_server_is_kept(world: World, status: int) -> None:
    entry = await kept(world, await answered(world, status))
    assert (entry.state, entry.idempotency_key is None) == (State.REJECTED, False)
    answer = answer_of(entry)
    assert answer is not None
    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize("status", [401, 429])
async def test_a_refusal_that_is_not_about_the_write_leaves_the_key_free(world: World, status: int) -> None:
    settled = await answered(world, status)
    assert settled.answer is not None
    assert settled.answer.status == status
    entry = await kept(world, settled)
    assert (entry.state, entry.idempotency_key, entry.answer) == (State.REJECTED, None, None)


async def answered(world: World, status: int) -> Settled:
    async def refuse(sent: UpstreamRequest) -> UpstreamAnswer | None:
        return UpstreamAnswer(status=status, headers=(), body=b"{}") if sent.method == "POST" else None

    world.upstream.before.append(refuse)
    return await created(world)


@pytest.mark.parametrize("failure", [NotSent("refused"), AnswerLost("cut")], ids=["not sent", "looked for, not found"])
async def test_what_surely_was_not_written_leaves_the_key_free(world: World, failure: Exception) -> None:
    async def fail(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method == "POST":
            raise failure
        return None

    world.upstream.before.append(fail)
    settled = await created(world)
    await world.recovered()
    entry = await kept(world, settled)
    assert (entry.state, entry.idempotency_key) == (State.REJECTED, None)
    assert world.statuses() == []


async def test_a_lost_answer_is_made_for_whoever_waits(world: World) -> None:
    async def lose(sent: UpstreamRequest) -> UpstreamAnswer | None:
        if sent.method == "POST":
            await world.upstream._exchange(sent)
            raise AnswerLost("cut")
        return None

    world.upstream.before.append(lose)
    settled = await created(world)
    assert settled.state is State.COMMITTED
    assert settled.answer is not None
    assert json.loads(settled.answer.body)["status"] == "final"
    entry = await kept(world, settled)
    assert answer_of(entry) == UpstreamAnswer(status=201, headers=settled.answer.headers[1:], body=b"")


async def test_an_undone_write_keeps_its_key_and_no_answer(world: World) -> None:
    body = observation("forbidden")
    settled = await world.settler.run(keyed(world, body, read_back=True), request("POST", "Observation", body))
    entry = await kept(world, settled)
    assert (entry.state, entry.failed, entry.answer) == (State.UNDONE, ("policy/rule",), None)
    assert entry.idempotency_key is not None
    assert answer_of(entry) is None


def entry(**changes: object) -> Intent:
    made = Intent(
        decision_id="d", write_id="w", interaction=InteractionCode.CREATE, type="Observation", body=b"", client_id="c",
        issuer="i", started_at=0.0, state=State.COMMITTED,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_an_entry_that_a_person_resolved_tells_what_is_known() -> None:
    """Nobody noted an answer; of a write whose place is not known even that is not told."""
    made = answer_of(entry(stored_id="o", stored_version="3", created=False))
    assert made is not None
    assert (made.status, made.header(b"content-location")) == (200, "Observation/o/_history/3")
    assert answer_of(entry()) == UpstreamAnswer(status=200, headers=(), body=b"")
    assert had_body(entry())


def test_only_what_is_listed_is_kept_of_an_answer() -> None:
    answer = UpstreamAnswer(
        status=201,
        headers=(
            (b"etag", b'W/"1"'),
            (b"set-cookie", b"secret"),
            (b"last-modified", b"x" * 500),
            (b"location", b"https://server/fhir/Observation/o/_history/1"),
            (b"content-location", b"https://server/fhir/Observation?name=secret"),
        ),
        body=b'{"secret":1}',
    )
    text = text_of(answer)
    assert "secret" not in text
    assert answer_of(entry(answer=text)) == UpstreamAnswer(
        status=201, headers=((b"etag", b'W/"1"'), (b"location", b"Observation/o/_history/1")), body=b""
    )
    assert had_body(entry(answer=text))
    assert had_body(entry(answer=text_of(UpstreamAnswer(status=201, headers=(), body=b""), made=True)))
    assert not had_body(entry(answer=text_of(UpstreamAnswer(status=201, headers=(), body=b""))))
