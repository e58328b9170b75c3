"""`find_lost_writes: assigned-id`: a POST goes out as a PUT to an id that the gateway drew, and is found by it."""

import json
from pathlib import Path

import pytest

from gateway.sandbox.quirks import Quirks
from tests.pipeline.rig import AFTER, BLIND, LAB, LOST, observation, rigged, stored

KEYS = ", find_lost_writes: assigned-id"


@pytest.mark.parametrize("body", [observation(), observation(id="of-the-client"), {"id": "x"} | observation()])
async def test_a_create_goes_out_under_an_id_of_its_own(tmp_path: Path, body: dict[str, object]) -> None:
    async with rigged(tmp_path, server_keys=KEYS) as rig:
        text = json.dumps(body, indent=1).encode()
        answer = await rig.send("POST", "Observation", text)
        assert answer.status_code == 201
        (sent,) = rig.writes()
        (id_,) = stored(rig)
        assert (sent.method, sent.path) == ("PUT", f"/fhir/Observation/{id_}")
        assert id_ == f"g-{sent.headers['x-request-id']}"
        assert sent.headers["x-intermediary"] == "fhir-policy-gateway"
        assert "if-match" not in sent.headers
        assert answer.headers["location"] == f"{rig.base}/Observation/{id_}/_history/1"
        if "id" in body:
            assert sent.body == text.replace(str(body["id"]).encode(), id_.encode(), 1)
        else:
            assert sent.body.replace(f'"id":"{id_}",'.encode(), b"") == text


@pytest.mark.parametrize("policies", [{"lab": LAB}, {"lab": LAB + AFTER}])
@pytest.mark.parametrize("fault", [LOST, {"error_though_stored": True, "strikes": 1}])
async def test_a_lost_answer_is_found_by_the_id(
    tmp_path: Path, policies: dict[str, str], fault: dict[str, object]
) -> None:
    async with rigged(tmp_path, policies, quirks=BLIND, server_keys=KEYS) as rig:
        rig.quirks(**fault)
        answer = await rig.create(observation())
        (id_,) = stored(rig)
        # What a 500 says about a write without rules of phase after is passed on.
        if fault is LOST or AFTER in policies["lab"]:
            assert answer.status_code == 201
            assert answer.headers["location"] == f"{rig.base}/Observation/{id_}/_history/1"
        assert len(rig.writes()) == 1


async def test_what_must_not_stay_is_removed_though_its_answer_was_lost(tmp_path: Path) -> None:
    async with rigged(tmp_path, quirks=BLIND, server_keys=KEYS) as rig:
        rig.quirks(moves_subject_to="Patient/stranger", **LOST)
        answer = await rig.create(observation(meta={"tag": [{"code": "move"}]}))
        assert answer.status_code == 409
        assert stored(rig) == []
        assert [write.method for write in rig.writes()] == ["PUT", "DELETE"]


async def test_a_conditional_create_and_an_update_go_out_as_they_came(tmp_path: Path) -> None:
    async with rigged(tmp_path, server_keys=KEYS) as rig:
        header = {"if-none-exist": "identifier=urn:n|1"}
        resource = observation(identifier=[{"system": "urn:n", "value": "1"}])
        assert (await rig.create(resource, headers=header)).status_code == 201
        assert (await rig.send("PUT", "Observation/o1", observation(id="o1"))).status_code == 201
        assert [(write.method, write.path) for write in rig.writes()] == [
            ("POST", "/fhir/Observation"),
            ("PUT", "/fhir/Observation/o1"),
        ]
        assert all("x-intermediary" not in write.headers for write in rig.writes())


async def test_without_the_setting_nothing_is_changed(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig:
        body = json.dumps(observation()).encode()
        assert (await rig.send("POST", "Observation", body)).status_code == 201
        assert [(write.method, write.body) for write in rig.writes()] == [("POST", body)]


async def test_a_server_that_takes_no_ids_of_clients_says_so(tmp_path: Path) -> None:
    async with rigged(tmp_path, quirks=Quirks(id_of_client_refused=True), server_keys=KEYS) as rig:
        assert (await rig.create(observation())).status_code == 400
        assert stored(rig) == []
