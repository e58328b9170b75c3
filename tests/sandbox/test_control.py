"""The switches over HTTP, and the log that tests believe."""

import httpx
import pytest

from gateway.sandbox.fhir_server import FhirServer
from gateway.sandbox.store import Store
from tests.sandbox.conftest import BASE

SWITCHES = "http://fhir.example/__sandbox"
PATIENT = '{"resourceType":"Patient","id":"ada"}'


async def test_switches_are_set_one_by_one_or_all_at_once(client: httpx.AsyncClient) -> None:
    set_one = await client.patch(f"{SWITCHES}/quirks", json={"apply_late": 1, "request_id_length": 0})
    assert set_one.json()["apply_late"] == 1
    assert (await client.patch(f"{SWITCHES}/quirks", json={"apply_late": 0.5})).json()["request_id_length"] == 0
    assert (await client.put(f"{SWITCHES}/quirks", json={})).json()["request_id_length"] == 16


@pytest.mark.parametrize("body", ['{"no_such_quirk":1}', '{"apply_late":"1"}', '{"tags_merged":1}', "[]", "{"])
async def test_a_wrong_switch_changes_nothing(client: httpx.AsyncClient, body: str) -> None:
    before = (await client.get(f"{SWITCHES}/quirks")).json()
    assert (await client.patch(f"{SWITCHES}/quirks", content=body)).status_code == 400
    assert (await client.get(f"{SWITCHES}/quirks")).json() == before


async def test_the_log_holds_every_request_with_its_effect(client: httpx.AsyncClient) -> None:
    await client.put("Patient/ada", content=PATIENT, headers={"x-request-id": "one", "if-match": ""})
    await client.get("Patient/ada?_format=json")
    await client.delete("Patient/ada", headers={"if-match": 'W/"1"'})
    events = (await client.get(f"{SWITCHES}/events")).json()
    assert [(event["method"], event["status"], event["effect"]) for event in events] == [
        ("PUT", 201, "created"),
        ("GET", 200, "none"),
        ("DELETE", 200, "deleted"),
    ]
    assert events[0]["request_id"] == "one"
    assert events[1]["path"] == "/fhir/Patient/ada?_format=json"
    assert events[2]["if_match"] == 'W/"1"'
    assert [event["seq"] for event in (await client.get(f"{SWITCHES}/events?after=2")).json()] == [3]


async def test_reset_forgets_everything(client: httpx.AsyncClient, store: Store) -> None:
    await client.put("Patient/ada", content=PATIENT)
    await client.patch(f"{SWITCHES}/quirks", json={"tags_merged": True})
    assert (await client.post(f"{SWITCHES}/reset")).status_code == 204
    assert (await client.get("Patient/ada")).status_code == 404
    assert store.quirks.tags_merged is False
    assert [event.path for event in store.events] == ["/fhir/Patient/ada"]


async def test_switches_are_not_served_unless_asked_for(store: Store) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=FhirServer(store)), base_url=BASE) as client:
        assert (await client.get(f"{SWITCHES}/events")).status_code == 404


async def test_an_unknown_switch_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{SWITCHES}/doors")).status_code == 404
