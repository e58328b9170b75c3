"""`find_lost_writes: tag`: a POST carries the id of its write as a `meta.tag`, and is found by it."""

import json
from pathlib import Path

import pytest

from gateway.fhir.write_tag import SYSTEM, with_tag
from gateway.sandbox.quirks import Quirks
from tests.pipeline.rig import AFTER, BLIND, LAB, LOST, observation, rigged, stored

KEYS = ", find_lost_writes: tag"
AS_SENT = """
  - id: as-sent
    phase: after
    cel: stored.?meta.?tag == resource.?meta.?tag && stored.status == resource.status
    deny: {code: conflict, message: Stored otherwise than it was sent.}
"""


@pytest.mark.parametrize("body", [observation(), observation(meta={"tag": [{"code": "mine"}]})])
async def test_a_create_carries_the_tag_and_nothing_else_moves(tmp_path: Path, body: dict[str, object]) -> None:
    async with rigged(tmp_path, server_keys=KEYS) as rig:
        text = json.dumps(body, indent=1).encode()
        answer = await rig.send("POST", "Observation", text)
        assert answer.status_code == 201
        (sent,) = rig.writes()
        write_id = sent.headers["x-request-id"]
        assert sent.body == with_tag(text, write_id)
        assert sent.headers["x-intermediary"] == "fhir-policy-gateway"
        assert {"system": SYSTEM, "code": write_id} in answer.json()["meta"]["tag"]


@pytest.mark.parametrize("policies", [{"lab": LAB}, {"lab": LAB + AFTER}])
async def test_a_lost_answer_is_found_by_the_tag(tmp_path: Path, policies: dict[str, str]) -> None:
    async with rigged(tmp_path, policies, quirks=BLIND, server_keys=KEYS) as rig:
        for number in range(2):  # others that say the same
            rig.store.load(json.dumps(observation(id=f"same{number}")).encode())
        rig.quirks(**LOST)
        answer = await rig.create(observation())
        assert answer.status_code == 201
        assert any(f"_tag={SYSTEM}" in unquoted(event.path) for event in rig.store.events)
        assert len(stored(rig)) == 3
        assert len(rig.writes()) == 1


def unquoted(path: str) -> str:
    return path.replace("%3A", ":").replace("%7C", "|")


async def test_what_must_not_stay_is_removed_though_its_answer_was_lost(tmp_path: Path) -> None:
    async with rigged(tmp_path, quirks=BLIND, server_keys=KEYS) as rig:
        rig.quirks(moves_subject_to="Patient/stranger", **LOST)
        answer = await rig.create(observation(meta={"tag": [{"code": "move"}]}))
        assert answer.status_code == 409
        assert stored(rig) == []
        assert [write.method for write in rig.writes()] == ["POST", "DELETE"]


async def test_a_conditional_create_is_found_too(tmp_path: Path) -> None:
    async with rigged(tmp_path, quirks=BLIND, server_keys=KEYS) as rig:
        rig.quirks(**LOST)
        resource = observation(identifier=[{"system": "urn:n", "value": "1"}])
        answer = await rig.create(resource, headers={"if-none-exist": "identifier=urn:n|1"})
        assert answer.status_code == 201
        assert len(stored(rig)) == len(rig.writes()) == 1


@pytest.mark.parametrize("answers", ["everything", "nothing", "refuse"])
async def test_a_server_that_does_not_know_the_parameter_is_not_believed(tmp_path: Path, answers: str) -> None:
    quirks = Quirks(request_id_length=0, source_disabled=True, tag_disabled=True, unknown_parameter=answers)  # type: ignore[arg-type]
    async with rigged(tmp_path, quirks=quirks, server_keys=KEYS) as rig:
        rig.store.load(json.dumps(observation(id="same")).encode())
        rig.quirks(**LOST)
        answer = await rig.create(observation(), headers={"idempotency-key": "k"})
        if answers == "nothing":
            # Believed only when the server could no longer apply it, and after a look into history.
            assert answer.status_code == 500
            assert (await rig.app._ports.journal.counts()).oldest_open_at is not None
        else:
            assert answer.status_code == 201
        assert len(stored(rig)) == 2
        assert len(rig.writes()) == 1


@pytest.mark.parametrize("mode", ["enforce", "warn"])
async def test_the_tag_is_expected_in_what_is_stored(tmp_path: Path, mode: str) -> None:
    rule = AS_SENT.replace("phase: after", f"phase: after\n    mode: {mode}")
    async with rigged(tmp_path, {"lab": LAB + rule}, server_keys=KEYS) as rig:
        answer = await rig.create(observation())
        assert answer.status_code == 201
        assert "x-policy-warning" not in answer.headers
        rig.quirks(drops_element="meta")
        dropped = await rig.create(observation())
        assert (dropped.status_code, "x-policy-warning" in dropped.headers) == (
            (409, False) if mode == "enforce" else (201, True)
        )


async def test_an_undone_update_puts_the_tag_of_the_creation_back(tmp_path: Path) -> None:
    """Also where the server merges tags: what is restored is the version before, with the tag that it had."""
    async with rigged(tmp_path, quirks=Quirks.hapi(), server_keys=KEYS) as rig:
        made = (await rig.create(observation())).json()
        rig.quirks(moves_subject_to="Patient/stranger")
        body = observation(id=made["id"], meta={"tag": [{"code": "move"}]})
        assert (await rig.send("PUT", f"Observation/{made['id']}", body)).status_code == 409
        (current,) = rig.store.live("Observation")
        assert (current.resource or {})["meta"]["tag"] == made["meta"]["tag"]  # type: ignore[index,call-overload]
        assert rig.writes()[1].body == json.dumps(body).encode()  # an update goes out as it came


async def test_a_body_that_the_tag_makes_too_large_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    body = json.dumps(observation()).encode()
    extra = f"limits: {{body: {len(body) + 20}}}\n"
    async with rigged(tmp_path, server_keys=KEYS, extra=extra) as rig:
        assert (await rig.send("POST", "Observation", body)).status_code == 413
        assert rig.writes() == []


async def test_auto_never_adds_a_tag(tmp_path: Path) -> None:
    async with rigged(tmp_path, quirks=BLIND) as rig:
        body = json.dumps(observation()).encode()
        assert (await rig.send("POST", "Observation", body)).status_code == 201
        (sent,) = rig.writes()
        assert sent.body == body
        assert "x-intermediary" not in sent.headers
