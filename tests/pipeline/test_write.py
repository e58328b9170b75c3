"""Writes through the whole line: what the client is told, what the server holds, what is left behind."""

import asyncio
import contextlib
import json
import sqlite3
import time
from pathlib import Path

import pytest

from gateway import steady_clock
from gateway.sandbox.quirks import Quirks
from tests.pipeline.rig import AFTER, LAB, MEMBER, Rig, issues, observation, rigged


async def test_an_allowed_create_is_stored_and_answered_as_the_server_answers(rig: Rig) -> None:
    answer = await rig.create(observation())
    assert answer.status_code == 201
    assert answer.headers["location"].startswith(f"{rig.base}/Observation/")
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.json()["subject"] == {"reference": "Patient/member"}
    assert len(rig.writes()) == 1


async def test_the_bytes_that_were_judged_are_the_bytes_that_are_sent(rig: Rig) -> None:
    body = (
        b'{ "status" :"final",\n"resourceType":"Observation","code":{"text":"\\u00e9"},'
        b'"subject":{"reference":"Patient/member"},"valueQuantity":{"value":1.50}}'
    )
    answer = await rig.send("POST", "Observation", body)
    assert answer.status_code == 201
    assert rig.writes()[0].body == body


async def test_every_rule_that_does_not_hold_is_named(rig: Rig) -> None:
    answer = await rig.create(observation("stranger", status="preliminary"))
    assert answer.status_code == 422
    assert issues(answer) == [("business-rule", "lab/is-member"), ("business-rule", "lab/final")]
    assert [issue["expression"] for issue in answer.json()["issue"]] == [
        ["Observation.subject"],
        ["Observation.status"],
    ]
    assert rig.writes() == []


async def test_a_type_that_no_policy_permits_is_forbidden(rig: Rig) -> None:
    answer = await rig.create({"resourceType": "Basic", "code": {"text": "x"}})
    assert answer.status_code == 403
    assert issues(answer) == [("forbidden", "permit")]
    assert rig.writes() == []


async def test_a_patient_that_does_not_exist_is_refused_without_telling_so(rig: Rig) -> None:
    answer = await rig.create(observation("nobody"))
    assert answer.status_code == 422
    assert ("value", "lab/patient") in issues(answer)
    assert "nobody" not in answer.text
    assert rig.writes() == []


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/member/_history/1"},
        {"reference": "Patient?identifier=x"},
        {"reference": "urn:uuid:0a1b2c3d-0000-4000-8000-000000000000"},
        {"reference": "https://elsewhere.example/fhir/Patient/member"},
        {"identifier": {"value": "1"}},
        {"display": "Somebody"},
    ],
)
async def test_a_subject_that_is_no_literal_reference_is_refused(rig: Rig, subject: dict[str, object]) -> None:
    answer = await rig.create(observation(subject=subject))
    assert answer.status_code == 422
    assert rig.writes() == []


async def test_a_contained_subject_is_refused(rig: Rig) -> None:
    contained = [{"resourceType": "Patient", "id": "p", "identifier": MEMBER["identifier"]}]
    answer = await rig.create(observation(subject={"reference": "#p"}, contained=contained))
    assert answer.status_code == 422
    assert rig.writes() == []


async def test_an_absolute_reference_below_the_public_base_is_the_same_patient(rig: Rig) -> None:
    answer = await rig.create(observation(subject={"reference": f"{rig.base}/Patient/stranger"}))
    assert issues(answer) == [("business-rule", "lab/is-member")]


async def test_a_second_patient_is_judged_too(rig: Rig) -> None:
    answer = await rig.create(observation(performer=[{"reference": "Patient/stranger"}]))
    assert issues(answer) == [("business-rule", "lab/is-member")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"resourceType":"Observation","status":"final","status":"final"}', 400),
        (b'{"resourceType":"Patient"}', 400),
        (b"{'resourceType':'Observation'}", 400),
    ],
)
async def test_a_body_without_one_reading_is_refused(rig: Rig, body: bytes, status: int) -> None:
    answer = await rig.send("POST", "Observation", body)
    assert answer.status_code == status
    assert rig.writes() == []


async def test_an_unknown_element_is_refused_with_a_hint(rig: Rig) -> None:
    answer = await rig.create(observation(subjct={"reference": "Patient/member"}))
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == ["Observation"]
    assert "subject" in answer.json()["issue"][0]["details"]["text"]


async def test_an_update_is_guarded_by_the_version_that_was_judged(rig: Rig) -> None:
    made = (await rig.create(observation())).json()
    answer = await rig.send("PUT", f"Observation/{made['id']}", made | {"status": "amended"})
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"2"'
    assert rig.writes()[-1].headers["if-match"] == 'W/"1"'


async def test_a_stale_if_match_is_refused_before_anything_is_sent(rig: Rig) -> None:
    made = (await rig.create(observation())).json()
    answer = await rig.send("PUT", f"Observation/{made['id']}", made, headers={"if-match": 'W/"7"'})
    assert answer.status_code == 412
    assert len(rig.writes()) == 1


async def test_if_match_on_nothing_is_refused_though_servers_would_create(rig: Rig) -> None:
    rig.quirks(if_match_ignored_when_absent=True)
    answer = await rig.send("PUT", "Observation/fresh", observation() | {"id": "fresh"}, headers={"if-match": 'W/"1"'})
    assert answer.status_code == 412
    assert rig.writes() == []


async def test_update_as_create(rig: Rig) -> None:
    answer = await rig.send("PUT", "Observation/fresh", observation() | {"id": "fresh"})
    assert answer.status_code == 201
    assert rig.store.current(("Observation", "fresh")) is not None


async def test_a_body_id_other_than_the_urls_is_refused(rig: Rig) -> None:
    answer = await rig.send("PUT", "Observation/fresh", observation() | {"id": "other"})
    assert answer.status_code == 400
    assert rig.writes() == []


async def test_a_record_cannot_be_taken_away_from_a_stranger(rig: Rig) -> None:
    """hapi#667: the old version's Patient is judged as well as the new one's."""
    rig.store.load(json.dumps(observation("stranger") | {"id": "theirs"}).encode())
    answer = await rig.send("PUT", "Observation/theirs", observation() | {"id": "theirs"})
    assert issues(answer) == [("business-rule", "lab/is-member")]
    assert rig.writes() == []


async def test_a_conditional_create_that_matches_writes_nothing_and_undoes_nothing(rig: Rig) -> None:
    first = observation(identifier=[{"system": "urn:lab", "value": "7"}])
    made = (await rig.create(first)).json()
    again = await rig.create(first, headers={"if-none-exist": "identifier=urn:lab|7"})
    assert again.status_code == 200
    assert again.json()["id"] == made["id"]
    assert [event.method for event in rig.writes()] == ["POST", "POST"]


async def test_a_write_that_the_server_changed_is_removed(rig: Rig) -> None:
    rig.quirks(moves_subject_to="Patient/stranger")
    answer = await rig.create(observation(meta={"tag": [{"code": "move"}]}))
    assert answer.status_code == 409
    assert issues(answer)[0] == ("conflict", "lab/same-patient")
    assert issues(answer)[1][0] == "informational"
    assert list(rig.store.live("Observation")) == []


async def test_an_update_that_the_server_changed_is_restored(rig: Rig) -> None:
    made = (await rig.create(observation())).json()
    rig.quirks(moves_subject_to="Patient/stranger")
    moved = made | {"status": "amended", "meta": {"tag": [{"code": "move"}]}}
    rig.quirks(if_match_ignored_on_update=False)
    answer = await rig.send("PUT", f"Observation/{made['id']}", moved)
    assert answer.status_code == 409
    current = rig.store.current(("Observation", made["id"]))
    assert current is not None
    assert current.resource is not None
    assert current.resource["status"] == "final"
    assert current.resource["subject"] == {"reference": "Patient/member"}


async def test_an_upstream_refusal_is_passed_on(rig: Rig) -> None:
    answer = await rig.create(observation(encounter={"reference": "Encounter/none"}))
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_a_client_that_may_not_read_gets_no_body(rig: Rig) -> None:
    answer = await rig.create(observation(), claims={"scope": "system/Observation.cu"})
    assert answer.status_code == 201
    assert answer.content == b""
    assert "content-type" not in answer.headers
    assert answer.headers["location"].startswith(rig.base)


@pytest.mark.parametrize("scope", ["system/Observation.rs", "system/Patient.cruds", "openid", "system/Observation.u"])
async def test_a_scope_that_does_not_cover_the_write_is_forbidden(rig: Rig, scope: str) -> None:
    answer = await rig.create(observation(), claims={"scope": scope})
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert rig.writes() == []


async def test_update_as_create_needs_u_not_c(rig: Rig) -> None:
    body = observation() | {"id": "fresh"}
    assert (
        await rig.send("PUT", "Observation/fresh", body, claims={"scope": "system/Observation.c"})
    ).status_code == 403
    assert (
        await rig.send("PUT", "Observation/fresh", body, claims={"scope": "system/Observation.u"})
    ).status_code == 201


async def test_a_conditional_create_needs_the_search_scope(rig: Rig) -> None:
    headers = {"if-none-exist": "identifier=urn:lab|7"}
    answer = await rig.create(observation(), headers=headers, claims={"scope": "system/Observation.c"})
    assert answer.status_code == 403


async def test_a_filtered_scope_binds_the_payload_and_the_prior_version(rig: Rig) -> None:
    category = [{"coding": [{"system": "urn:cat", "code": "laboratory"}]}]
    claims = {"scope": "system/Observation.cu?category=urn:cat|laboratory"}
    assert (await rig.create(observation(category=category), claims=claims)).status_code == 201
    assert (await rig.create(observation(), claims=claims)).status_code == 403
    rig.store.load(json.dumps(observation() | {"id": "other"}).encode())
    taken = observation(category=category) | {"id": "other"}
    assert (await rig.send("PUT", "Observation/other", taken, claims=claims)).status_code == 403


async def test_a_patient_scope_binds_every_patient_concerned(rig: Rig) -> None:
    claims = {"scope": "patient/Observation.c", "patient": "member"}
    assert (await rig.create(observation(), claims=claims)).status_code == 201
    both = observation(performer=[{"reference": "Patient/stranger"}])
    assert (await rig.create(both, claims=claims)).status_code == 403
    assert (await rig.create(observation(), claims=claims | {"patient": "stranger"})).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "", 501),
        ("PATCH", "Observation/1", 405),
        ("DELETE", "Observation/1", 405),
        ("PUT", "Observation?identifier=x", 405),
        ("POST", "Observation/1/$meta-add", 501),
        ("POST", "$process-message", 501),
        ("DELETE", "Observation/1/_history/1", 405),
    ],
)
async def test_what_is_not_judged_is_not_forwarded(rig: Rig, method: str, path: str, status: int) -> None:
    before = len(rig.wire.received)
    answer = await rig.send(method, path, {"resourceType": "Bundle", "type": "transaction"})
    assert answer.status_code == status
    assert issues(answer)
    assert len(rig.wire.received) == before


async def test_xml_is_refused_as_a_media_type(rig: Rig) -> None:
    answer = await rig.send("POST", "Observation", b"<Observation/>", headers={"content-type": "application/fhir+xml"})
    assert answer.status_code == 415
    assert rig.writes() == []


async def test_headers_that_servers_act_on_do_not_pass(rig: Rig) -> None:
    sent = {
        "content-location": "Observation/other",
        "x-rewrite-history": "true",
        "x-cascade": "delete",
        "x-meta-snapshot-mode": "TAG",
        "x-upsert-extistence-check": "disabled",
        "x-request-id": "client-chosen",
        "cookie": "a=b",
        "prefer": "respond-async, return=minimal",
    }
    answer = await rig.create(observation(), headers=sent)
    assert answer.status_code == 201
    passed = rig.writes()[0].headers
    assert not set(sent) & set(passed) - {"x-request-id", "prefer"}
    assert passed["x-request-id"] != "client-chosen"
    assert passed["prefer"] == "return=minimal"
    assert "authorization" not in passed


async def test_nothing_about_resources_before_authentication(rig: Rig) -> None:
    answers = [
        await rig.client.request(method, f"{rig.base}/{path}")
        for method, path in [("GET", "Patient/member"), ("GET", "Patient/none"), ("POST", "Nonsense"), ("PATCH", "x")]
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({tuple(issues(answer)) for answer in answers}) == 1
    assert all(answer.headers["www-authenticate"].startswith("Bearer") for answer in answers)


async def test_an_upstream_that_is_down_stores_nothing_and_says_so(tmp_path: Path) -> None:
    async with rigged(
        tmp_path,
        {
            "lab": LAB.replace("policy: lab", "policy: lab\npatient: none").replace(
                "patient.identifier.exists(i, i.system == 'https://plan.example/member')", "has(resource.subject)"
            )
        },
    ) as rig:
        rig.quirks(error_though_stored=True)
        answer = await rig.create(observation())
        assert answer.status_code == 500


async def test_a_journalled_write_whose_answer_was_lost_is_found_and_committed(tmp_path: Path) -> None:
    async with rigged(tmp_path, {"lab": LAB + AFTER}, quirks=Quirks(drop_answer_after_store=True, strikes=1)) as rig:
        answer = await rig.create(observation())
        assert answer.status_code == 201
        assert len(rig.writes()) == 1
        assert len(list(rig.store.live("Observation"))) == 1


async def test_the_outcome_of_a_write_can_be_asked_for_by_its_client_only(rig: Rig) -> None:
    answer = await rig.create(observation())
    path = f"$write-outcome?decision={answer.headers['x-decision-id']}"
    own = await rig.send("GET", path)
    assert own.status_code == 200
    assert {"name": "outcome", "valueCode": "committed"} in own.json()["parameter"]
    assert (await rig.send("GET", path, claims={"client_id": "another"})).status_code == 404


async def test_a_patient_is_never_judged_from_the_cache_across_a_write_to_it(rig: Rig) -> None:
    assert (await rig.create(observation())).status_code == 201
    patient = {"resourceType": "Patient", "id": "member"}
    assert (await rig.send("PUT", "Patient/member", patient)).status_code == 200
    assert issues(await rig.create(observation())) == [("business-rule", "lab/is-member")]


async def test_many_writes_about_one_patient_read_it_once(rig: Rig) -> None:
    await asyncio.gather(*(rig.create(observation()) for _ in range(8)))
    before = [each for each in rig.wire.received if each.path.endswith("/Patient/member")]
    assert len(list(rig.store.live("Observation"))) == 8
    assert len(before) == 1  # for the eight of them; the rule of phase after does not name it


async def test_warn_and_audit_rules_let_the_write_through(tmp_path: Path) -> None:
    warned = LAB.replace("  - id: final\n", "  - id: final\n    mode: warn\n").replace(
        "  - id: is-member\n", "  - id: is-member\n    mode: audit\n"
    )
    async with rigged(tmp_path, {"lab": warned}) as rig:
        answer = await rig.create(observation("stranger", status="preliminary"))
        assert answer.status_code == 201
        assert answer.headers["x-policy-warning"] == "lab/final"
        quiet = await rig.create(
            observation("stranger", status="preliminary"), claims={"scope": "system/Observation.c"}
        )
        assert issues(quiet) == [("informational", None), ("business-rule", "lab/final")]
        assert quiet.json()["issue"][1]["severity"] == "warning"


async def test_a_rule_of_phase_after_that_only_warns_undoes_nothing(tmp_path: Path) -> None:
    warned = LAB + AFTER.replace("phase: after", "phase: after\n    mode: warn")
    async with rigged(tmp_path, {"lab": warned}, quirks=Quirks(moves_subject_to="Patient/stranger")) as rig:
        answer = await rig.create(observation(meta={"tag": [{"code": "move"}]}))
        assert answer.status_code == 201
        assert answer.headers["x-policy-warning"] == "lab/same-patient"
        assert len(list(rig.store.live("Observation"))) == 1


async def test_a_patient_scope_to_read_gives_nothing_back_about_another_patient(rig: Rig) -> None:
    claims = {"scope": "system/Observation.c patient/Observation.r", "patient": "stranger"}
    answer = await rig.create(observation(), claims=claims)
    assert answer.status_code == 201
    assert answer.content == b""


@pytest.mark.parametrize("search", ["patient/Observation.s", "system/Observation.s?status=final"])
async def test_a_narrow_search_scope_does_not_probe_by_if_none_exist(rig: Rig, search: str) -> None:
    claims = {"scope": f"system/Observation.c {search}", "patient": "member"}
    answer = await rig.create(observation(), headers={"if-none-exist": "identifier=urn:lab|7"}, claims=claims)
    assert answer.status_code == 403
    assert rig.writes() == []


async def test_a_patient_scope_is_not_enough_where_a_reference_cannot_be_followed(tmp_path: Path) -> None:
    policy = LAB.replace("policy: lab", "policy: lab\npatient: none").replace(
        "patient.identifier.exists(i, i.system == 'https://plan.example/member')", "has(resource.subject)"
    )
    async with rigged(tmp_path, {"lab": policy}) as rig:
        unknown = observation(performer=[{"identifier": {"system": "urn:x", "value": "1"}}])
        claims = {"scope": "patient/Observation.c", "patient": "member"}
        assert (await rig.create(observation(), claims=claims)).status_code == 201
        assert (await rig.create(unknown, claims=claims)).status_code == 403


async def test_a_plain_write_whose_answer_was_lost_is_found_too_and_never_sent_again(tmp_path: Path) -> None:
    """No write stays in doubt, whether or not a rule of phase after applies."""
    async with rigged(tmp_path, {"lab": LAB}, quirks=Quirks(drop_answer_after_store=True, strikes=1)) as rig:
        answer = await rig.create(observation())
        assert answer.status_code == 201
        assert answer.headers["location"].startswith(f"{rig.base}/Observation/")
        assert [each.method for each in rig.writes()] == ["POST"]
        told = await rig.send("GET", f"$write-outcome?decision={answer.headers['x-decision-id']}")
        assert {"name": "outcome", "valueCode": "committed"} in told.json()["parameter"]


@pytest.mark.parametrize(("journalled", "states"), [("undoable", []), ("all", ["intended"])])
async def test_a_plain_write_is_recorded_before_it_leaves_where_that_is_configured(
    tmp_path: Path, journalled: str, states: list[str]
) -> None:
    """Killed with such a write in flight, the gateway knows of it at its next start."""
    seen: list[str] = []

    def look() -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as journal:
            seen.extend(state for (state,) in journal.execute("SELECT state FROM intent"))

    async with rigged(tmp_path, {"lab": LAB}, extra=f"journal_writes: {journalled}\n") as rig:
        rig.wire.before_the_next_write = look
        answer = await rig.create(observation())
        assert answer.status_code == 201
        assert seen == states
        told = await rig.send("GET", f"$write-outcome?decision={answer.headers['x-decision-id']}")
        if journalled == "all":
            assert {"name": "outcome", "valueCode": "committed"} in told.json()["parameter"]
        else:
            assert told.status_code == 404
            assert "journalled only under an Idempotency-Key" in told.text


@pytest.mark.parametrize("policy", [LAB, LAB + AFTER])
async def test_a_clock_that_is_set_while_a_write_is_in_doubt_decides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """The server applies it late; a day passes on the wall clock between the first look and the next."""
    wall, step = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: wall() + step[0])
    async with rigged(tmp_path, {"lab": policy}) as rig:  # which waits two seconds for an answer
        rig.quirks(apply_late=4.0, strikes=1)
        answer = await rig.create(observation())
        assert answer.status_code >= 500
        assert rig.store.current(("Observation", "1000")) is None, "it is looked for, and not there"
        step[0] = 86_400.0
        await asyncio.sleep(1.5)
        step[0] = 0.0
        for _ in range(200):
            told = await rig.send("GET", f"$write-outcome?decision={answer.headers['x-decision-id']}")
            if told.json()["parameter"][0]["valueCode"] != "open":
                break
            await asyncio.sleep(0.05)
        assert told.json()["parameter"][0] == {"name": "outcome", "valueCode": "committed"}
        assert [each.method for each in rig.writes()] == ["POST"]


@pytest.mark.parametrize("policy", [LAB, LAB + AFTER])
async def test_a_write_is_looked_for_from_before_it_left_whenever_it_is_journalled(tmp_path: Path, policy: str) -> None:
    """A plain one is recorded when its answer is lost, perhaps half a minute later: the search begins before it."""
    arrived: list[float] = []
    async with rigged(tmp_path, {"lab": policy}, quirks=Quirks(drop_answer_after_store=True, strikes=1)) as rig:
        rig.wire.before_the_next_write = lambda: arrived.append(steady_clock.now())
        answer = await rig.create(observation())
        assert answer.status_code == 201
        entry = await rig.app._ports.journal.get(answer.headers["x-decision-id"])
    assert entry is not None
    assert entry.started_at < arrived[0]
    assert entry.server_time is not None
    assert arrived[0] - 10 < entry.server_time < arrived[0]


async def test_a_record_that_another_writer_made_meanwhile_is_put_back(tmp_path: Path) -> None:
    """Update-as-create: nothing was there when the write was judged, and no guard exists for that."""
    async with rigged(tmp_path, {"lab": LAB}) as rig:
        theirs = observation("stranger") | {"id": "fresh"}
        rig.wire.before_the_next_write = lambda: rig.store.load(json.dumps(theirs).encode())
        answer = await rig.send("PUT", "Observation/fresh", observation() | {"id": "fresh"})
        assert answer.status_code == 409
        assert issues(answer)[0][0] == "conflict"
        current = rig.store.current(("Observation", "fresh"))
        assert current is not None
        assert current.resource is not None
        assert current.resource["subject"] == {"reference": "Patient/stranger"}
