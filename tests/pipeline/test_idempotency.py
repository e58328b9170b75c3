"""Writes under an `Idempotency-Key`, asked for again: through the whole line, by what the server receives."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gateway.fhir.interaction import Create, Update
from gateway.fhir.json import JsonObject
from gateway.identity.principal import Principal, ScopeSet
from gateway.pipeline.claim import claim_of
from gateway.saga.intent import State
from gateway.saga.journal_port import JournalUnavailable
from tests.pipeline.rig import AFTER, FHIR, LAB, PATIENTS, Rig, eventually, issues, observation, rigged

KEY = '"8e03978e-40d5-43e8-bc93-6894a57f9324"'
PLAIN = {"lab": LAB, "patients": PATIENTS}
NO_CONTENT_READ = {"scope": "system/Observation.c"}


async def keyed(rig: Rig, body: object, *, key: str = KEY, **more: object) -> httpx.Response:
    """POST an Observation under a key."""
    headers = {"idempotency-key": key, **(more.pop("headers", {}))}  # type: ignore[dict-item]
    return await rig.send("POST", "Observation", body, headers=headers, **more)  # type: ignore[arg-type]


def is_replay(answer: httpx.Response, first: httpx.Response) -> bool:
    named = answer.headers.get("x-original-decision-id") == first.headers["x-decision-id"]
    return named and answer.headers["idempotent-replayed"] == "true"


async def counted(rig: Rig) -> Mapping[str, float]:
    text = (await rig.admin.get("http://admin/metrics")).text
    name = 'fhir_gateway_idempotent_requests_total{result="'
    found = (line.removeprefix(name).split('"} ') for line in text.splitlines() if line.startswith(name))
    return {result: float(value) for result, value in found}


@pytest.mark.parametrize("policies", [PLAIN, {"lab": LAB + AFTER}], ids=["plain", "with an after rule"])
async def test_the_same_again_is_answered_from_the_record(tmp_path: Path, policies: dict[str, str]) -> None:
    async with rigged(tmp_path, policies) as rig:
        first = await keyed(rig, observation())
        again = await keyed(rig, observation())
        assert first.status_code == again.status_code == 201
        for name in ("etag", "last-modified", "location", "content-location", "content-type"):
            assert again.headers[name] == first.headers[name]
        assert again.json() == first.json()
        assert is_replay(again, first)
        assert "idempotent-replayed" not in first.headers
        assert again.headers["x-decision-id"] != first.headers["x-decision-id"]
        assert len(rig.writes()) == 1
        assert await counted(rig) == {"new": 1, "replayed": 1}


async def test_a_plain_write_under_a_key_costs_the_server_one_request(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        await keyed(rig, observation())
        assert [each.method for each in rig.wire.received if "/Observation" in each.path] == ["POST"]


async def test_the_header_never_leaves(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        await keyed(rig, observation())
        await rig.send("GET", "Patient/member", headers={"idempotency-key": KEY})
        assert all("idempotency-key" not in each.headers for each in rig.wire.received)
        assert rig.wire.received


async def test_an_update_asked_for_again_is_not_held_against_the_version_that_it_made(rig: Rig) -> None:
    made = (await rig.create(observation())).json()
    headers = {"idempotency-key": KEY, "if-match": 'W/"1"'}
    path, body = f"Observation/{made['id']}", made | {"status": "amended"}
    first = await rig.send("PUT", path, body, headers=headers)
    again = await rig.send("PUT", path, body, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert (again.headers["etag"], again.json()["status"]) == ('W/"2"', "amended")
    assert is_replay(again, first)
    assert len(rig.writes()) == 2


@pytest.mark.parametrize(
    ("path", "body", "more"),
    [
        ("Observation", observation(status="amended"), {}),
        ("Observation", observation(), {"if-none-exist": "identifier=a"}),
        ("Observation/o1", observation() | {"id": "o1"}, {}),
        ("Patient", {"resourceType": "Patient"}, {}),
    ],
    ids=["body", "condition", "url", "type"],
)
async def test_a_key_of_another_request_is_refused(rig: Rig, path: str, body: JsonObject, more: dict[str, str]) -> None:
    assert (await keyed(rig, observation())).status_code == 201
    method = "PUT" if "/" in path else "POST"
    answer = await rig.send(method, path, body, headers={"idempotency-key": KEY, **more})
    assert answer.status_code == 422
    assert issues(answer) == [("conflict", None)]
    assert len(rig.writes()) == 1
    assert (await counted(rig))["mismatch"] == 1


async def test_the_key_of_another_client_is_another_key(rig: Rig) -> None:
    await keyed(rig, observation())
    other = await keyed(rig, observation(), claims={"client_id": "another"})
    assert other.status_code == 201
    assert "idempotent-replayed" not in other.headers
    assert len(rig.writes()) == 2


async def test_a_quoted_and_a_bare_key_are_the_same(rig: Rig) -> None:
    first = await keyed(rig, observation(), key='"abc-1"')
    assert is_replay(await keyed(rig, observation(), key="abc-1"), first)


@pytest.mark.parametrize("key", ["", '""', '"a', "a b", "a;b=1", '"a";b', "a, b", '"' + "a" * 256 + '"', "é"])
async def test_a_malformed_key_is_refused(rig: Rig, key: str) -> None:
    answer = await rig.send("POST", "Observation", observation(), headers={"idempotency-key": key.encode("latin-1")})  # type: ignore[dict-item]
    assert answer.status_code == 400
    assert rig.writes() == []


async def test_while_the_first_is_under_way_the_second_is_told_to_come_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN, server_keys="") as rig:
        rig.quirks(answer_late=1.2)
        slow = asyncio.create_task(keyed(rig, observation()))
        await eventually(lambda: len(rig.writes()) == 1)
        second = await keyed(rig, observation())
        assert second.status_code == 409
        assert int(second.headers["retry-after"]) > 0
        first = await slow
        assert first.status_code == 201
        assert f"decision={first.headers['x-decision-id']}" in second.json()["issue"][0]["details"]["text"]
        assert is_replay(await keyed(rig, observation()), first)
        assert len(rig.writes()) == 1
        assert await counted(rig) == {"new": 1, "in_progress": 1, "replayed": 1}


async def test_of_many_at_once_exactly_one_is_sent(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        answers = await asyncio.gather(*(keyed(rig, observation()) for _ in range(12)))
        assert len(rig.writes()) == 1
        first = [each for each in answers if each.status_code == 201 and "idempotent-replayed" not in each.headers]
        assert len(first) == 1
        assert {each.status_code for each in answers} <= {201, 409}


async def test_an_undone_write_is_told_again_as_it_was(rig: Rig) -> None:
    rig.quirks(moves_subject_to="Patient/stranger")
    body = observation(meta={"tag": [{"code": "move"}]})
    first, again = await keyed(rig, body), await keyed(rig, body)
    assert first.status_code == again.status_code == 409
    assert [each["details"] for each in first.json()["issue"]] == [each["details"] for each in again.json()["issue"]]
    assert issues(again) == issues(first) == [("conflict", "lab/same-patient"), ("informational", None)]
    assert is_replay(again, first)
    assert len(rig.writes()) == 2  # the write, and its removal


async def test_an_undone_update_is_told_as_restored(rig: Rig) -> None:
    made = (await rig.create(observation())).json()
    rig.quirks(moves_subject_to="Patient/stranger")
    headers = {"idempotency-key": KEY}
    path, body = f"Observation/{made['id']}", observation(meta={"tag": [{"code": "move"}]}) | {"id": made["id"]}
    first = await rig.send("PUT", path, body, headers=headers)
    sent = len(rig.writes())
    again = await rig.send("PUT", path, body, headers=headers)
    assert "restored" in first.json()["issue"][-1]["details"]["text"]
    assert again.json()["issue"] == first.json()["issue"]
    assert (again.status_code, len(rig.writes())) == (first.status_code, sent)


async def test_policies_of_another_revision_tell_it_by_the_ones_of_then(tmp_path: Path) -> None:
    """Also where those are at hand in the journal only, as after a restart."""
    body = observation(meta={"tag": [{"code": "move"}]})
    async with rigged(tmp_path) as rig:
        rig.quirks(moves_subject_to="Patient/stranger")
        first = await keyed(rig, body)
        path = tmp_path / "policies" / "lab.yaml"
        path.write_text(LAB)
        before = rig.app._ports.policies.current().revision
        await rig.app.reload()
        rig.app._ports.policies._sets.pop(before)
        again = await keyed(rig, body)
        assert again.json()["issue"] == first.json()["issue"]
        assert is_replay(again, first)


async def test_policies_that_are_gone_leave_the_name_of_the_rule(tmp_path: Path) -> None:
    body = observation(meta={"tag": [{"code": "move"}]})
    async with rigged(tmp_path) as rig:
        rig.quirks(moves_subject_to="Patient/stranger")
        await keyed(rig, body)
        rig.app._ports.policies._sets.clear()
        rig.app._ports.policies._journal = None
        again = await keyed(rig, body)
        assert issues(again) == [("business-rule", "lab/same-patient"), ("informational", None)]


async def test_what_was_refused_before_it_was_sent_leaves_the_key_free(rig: Rig) -> None:
    assert (await keyed(rig, observation(status="preliminary"))).status_code == 422
    mended = await keyed(rig, observation())
    assert mended.status_code == 201
    assert "idempotent-replayed" not in mended.headers


async def test_what_the_server_refused_is_told_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN, quirks=None) as rig:
        body = observation(performer=[{"reference": "Practitioner/nobody"}])
        first, again = await keyed(rig, body), await keyed(rig, body)
        assert (first.status_code, again.status_code) == (400, 400)
        assert issues(again) == [("processing", None)]
        assert is_replay(again, first)
        assert len(rig.writes()) == 1


async def test_what_never_reached_the_server_leaves_the_key_free(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN, server_keys=", max_connections: 1, max_waiting: 0") as rig:
        await rig.create(observation())  # the Patient is in the cache
        rig.quirks(answer_late=0.5, strikes=1)
        slow = asyncio.create_task(rig.create(observation()))
        await eventually(lambda: len(rig.writes()) == 2)
        refused = await keyed(rig, observation())
        assert refused.status_code == 503
        await slow
        journal = rig.app._ports.journal
        assert (await journal.counts()).states[State.REJECTED] == 1
        again = await keyed(rig, observation())
        assert again.status_code == 201
        assert "idempotent-replayed" not in again.headers


async def test_a_client_that_may_not_read_gets_no_body_and_no_read_is_made(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        first = await keyed(rig, observation(), claims=NO_CONTENT_READ)
        reads = len(rig.wire.received)
        again = await keyed(rig, observation(), claims=NO_CONTENT_READ)
        assert (first.content, again.content) == (b"", b"")
        assert is_replay(again, first)
        assert len(rig.wire.received) == reads
        wider = await keyed(rig, observation())
        assert wider.status_code == 201
        assert wider.content == b""  # the answer had none, and nobody prefers one


async def test_prefer_says_whether_the_version_is_read_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        first = await keyed(rig, observation(), headers={"prefer": "return=minimal"})
        assert first.content == b""
        shown = await keyed(rig, observation(), headers={"prefer": "return=representation"})
        assert shown.json()["subject"] == {"reference": "Patient/member"}
        assert (await keyed(rig, observation(), headers={"prefer": "return=minimal"})).content == b""


async def test_a_version_that_cannot_be_read_any_more_is_told_without_a_body(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        first = await keyed(rig, observation())
        rig.wire.dead = True
        again = await keyed(rig, observation())
        assert again.status_code == 201
        assert again.content == b""
        assert "content-type" not in again.headers
        assert again.headers["location"] == first.headers["location"]


async def test_a_replay_reads_the_version_that_was_written_and_not_the_current_one(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        first = (await keyed(rig, observation())).json()
        await rig.send("PUT", f"Observation/{first['id']}", first | {"status": "amended"})
        again = await keyed(rig, observation())
        assert again.json() == first
        assert again.headers["etag"] == 'W/"1"'


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"scope": "system/Observation.r"}, 403),
        ({"exp": 1_000_000}, 401),
        ({"scope": "patient/*.cu", "patient": "x"}, 403),
    ],
    ids=["scopes", "expired", "another patient"],
)
async def test_a_token_that_no_longer_allows_the_write_is_told_nothing(
    rig: Rig, claims: dict[str, object], status: int
) -> None:
    await keyed(rig, observation())
    answer = await keyed(rig, observation(), claims=claims)
    assert answer.status_code == status
    assert "x-original-decision-id" not in answer.headers


async def test_a_client_that_no_policy_permits_any_more_is_told_nothing(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        await keyed(rig, observation())
        text = (tmp_path / "policies" / "lab.yaml").read_text()
        (tmp_path / "policies" / "lab.yaml").write_text(text.replace("permit: [create, update]", "permit: [update]"))
        await rig.app.reload()
        answer = await keyed(rig, observation())
        assert answer.status_code == 403
        assert issues(answer) == [("forbidden", "permit")]


async def test_a_rule_that_no_longer_holds_does_not_hide_what_is_stored(tmp_path: Path) -> None:
    """The Patient is no member any more: a refusal would say that nothing is stored."""
    async with rigged(tmp_path, PLAIN) as rig:
        first = await keyed(rig, observation())
        gone = {"resourceType": "Patient", "id": "member"}
        assert (await rig.send("PUT", "Patient/member", gone)).status_code == 200
        assert (await rig.create(observation())).status_code == 422
        assert is_replay(await keyed(rig, observation()), first)


async def test_a_conditional_create_that_matched_is_told_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        body = observation(identifier=[{"value": "a"}])
        made = await rig.create(body)
        condition = {"if-none-exist": "identifier=a"}
        first = await keyed(rig, body, headers=condition)
        again = await keyed(rig, body, headers=condition)
        assert (first.status_code, again.status_code) == (200, 200)
        assert again.headers["etag"] == first.headers["etag"]
        assert again.json() == first.json() == made.json()
        assert await rig.app._ports.journal.stored_versions("Observation", [made.json()["id"]]) == frozenset()


async def test_an_answer_that_was_lost_is_found_and_then_told_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        rig.quirks(drop_answer_after_store=True, strikes=1)
        first = await keyed(rig, observation())
        again = await keyed(rig, observation())
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        assert again.headers["location"] == first.headers["location"]
        assert len(rig.writes()) == 1


async def test_what_is_stuck_is_told_as_stuck(tmp_path: Path) -> None:
    async with rigged(tmp_path, {"lab": LAB + AFTER}) as rig:
        rig.quirks(moves_subject_to="Patient/stranger", delete_forbidden=True)
        body = observation(meta={"tag": [{"code": "move"}]})
        first, again = await keyed(rig, body), await keyed(rig, body)
        assert (await rig.app._ports.journal.counts()).states[State.STUCK] == 1
        assert (first.status_code, again.status_code) == (500, 500)
        assert again.json()["issue"] == first.json()["issue"]
        assert is_replay(again, first)
        assert [each.method for each in rig.writes()] == ["POST", "DELETE", "DELETE"]


async def test_while_the_undo_is_under_way_the_client_is_told_to_come_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, {"lab": LAB + AFTER}) as rig:
        rig.quirks(moves_subject_to="Patient/stranger")
        next_id = str(int(rig.store.new_id()) + 1)
        refers = {**observation(), "id": "refers", "derivedFrom": [{"reference": f"Observation/{next_id}"}]}
        rig.store.load(json.dumps(refers).encode())
        body = observation(meta={"tag": [{"code": "move"}]})
        assert (await keyed(rig, body)).status_code == 500, "something refers to it, so it cannot be removed yet"
        assert (await keyed(rig, body)).status_code == 409


async def test_a_keyed_write_needs_the_journal(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        journal = rig.app._ports.journal
        await journal.close()
        answer = await keyed(rig, observation())
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert rig.writes() == []
        assert (await rig.create(observation())).status_code == 201
        with pytest.raises(JournalUnavailable):
            await journal.counts()


async def test_the_outcome_of_a_plain_keyed_write_can_be_asked_for(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        first = await keyed(rig, observation())
        answer = await rig.send("GET", f"$write-outcome?decision={first.headers['x-decision-id']}")
        assert answer.json()["parameter"][0] == {"name": "outcome", "valueCode": "committed"}


async def test_a_rule_that_only_warns_is_still_judged_on_what_is_stored(tmp_path: Path) -> None:
    warns = LAB + AFTER.replace("phase: after", "phase: after\n    mode: warn")
    async with rigged(tmp_path, {"lab": warns}) as rig:
        rig.quirks(moves_subject_to="Patient/stranger")
        answer = await keyed(rig, observation(meta={"tag": [{"code": "move"}]}))
        assert answer.status_code == 201
        assert answer.headers["x-policy-warning"] == "lab/same-patient"


async def test_the_log_names_the_key_by_a_hash_and_the_write_that_is_told_again(tmp_path: Path) -> None:
    async with rigged(tmp_path, PLAIN) as rig:
        first = await keyed(rig, observation(), key="a-very-special-key")
        await keyed(rig, observation(), key="a-very-special-key")
        path = rig.folder / "decisions.ndjson"
        await eventually(lambda: path.exists() and len(path.read_text().splitlines()) == 2)
        one, two = (json.loads(line) for line in path.read_text().splitlines())
        assert one["idempotency_key_hash"] == two["idempotency_key_hash"]
        assert "replay_of" not in one
        assert two["replay_of"] == first.headers["x-decision-id"]
        assert (one["decision"], two["decision"]) == ("allow", "none")
        assert "special" not in path.read_text()
        kept = await rig.app._ports.journal.get(first.headers["x-decision-id"])
        assert "special" not in repr(kept)


async def test_a_key_on_a_read_means_nothing(rig: Rig) -> None:
    answer = await rig.send("GET", "Patient/member", headers={"idempotency-key": "a;b", "accept": FHIR})
    assert answer.status_code == 200


async def test_a_key_hashed_under_an_older_secret_is_still_found(tmp_path: Path) -> None:
    """After the rotation of the journal's keys: the newest one hashes, all of them find."""
    async with rigged(tmp_path, PLAIN) as rig:
        writer = rig.app.asgi._dispatcher.writer
        first = await keyed(rig, observation())
        secrets = (b"n" * 32, *writer.keyed.secrets)
        rotated = replace(writer, keyed=replace(writer.keyed, secrets=secrets))
        rig.app.asgi._dispatcher = replace(rig.app.asgi._dispatcher, writer=rotated)
        assert is_replay(await keyed(rig, observation()), first)
        other = observation(status="amended")
        assert (await keyed(rig, other)).status_code == 422
        assert len(rig.writes()) == 1


async def test_two_requests_in_turn_hash_their_parts_apart() -> None:
    """What ends one part must not pass for the beginning of the next."""
    principal = replace(_SOMEBODY, issuer="i", client_id="c")
    one = claim_of("ab", Create(type="Observation"), b"{}", principal, [b"s"])
    assert one != claim_of("ab", Create(type="Observation"), b"{ }", principal, [b"s"])
    assert one.keys != claim_of("b", Create(type="Observation"), b"{}", replace(principal, client_id="ca"), [b"s"]).keys
    conditional = Create(type="Observation", if_none_exist="a=b")
    assert one.requests != claim_of("ab", conditional, b"{}", principal, [b"s"]).requests
    update = Update(type="Observation", id="x", if_match="1")
    unguarded = Update(type="Observation", id="x")
    both = [claim_of("ab", each, b"{}", principal, [b"s"]) for each in (update, unguarded)]
    assert both[0].keys == both[1].keys == one.keys
    assert both[0].requests != both[1].requests
    assert one.keys != claim_of("ab", Create(type="Observation"), b"{}", principal, [b"t"]).keys


_SOMEBODY = Principal(
    issuer="", client_id="", subject=None, patient=None, scope_texts=(), scopes=ScopeSet(scopes=()), claims={},
    expires_at=0.0, enforce_scopes=False,
)  # fmt: skip
