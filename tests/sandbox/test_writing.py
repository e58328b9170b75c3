"""create, update and delete on the sandbox, as http://hl7.org/fhir/R4/http.html has them."""

import httpx
import pytest

from gateway.sandbox.quirks import Quirks
from gateway.sandbox.store import Store
from tests.sandbox.conftest import BASE, Clock

PATIENT = '{"resourceType":"Patient","id":"ada","identifier":[{"system":"urn:m","value":"1"}]}'
RESULT = (
    '{"resourceType":"Observation","status":"final","subject":{"reference":"Patient/ada"},'
    '"valueQuantity":{"value":1.50}}'
)


def effects(store: Store) -> list[str]:
    return [event.effect for event in store.events if event.effect != "none"]


async def put(
    client: httpx.AsyncClient, text: str = PATIENT, url: str = "Patient/ada", **headers: str
) -> httpx.Response:
    return await client.put(url, content=text, headers={name.replace("_", "-"): v for name, v in headers.items()})


async def test_create_is_answered_as_the_specification_says(client: httpx.AsyncClient) -> None:
    await put(client)
    answer = await client.post("Observation", content=RESULT, headers={"x-request-id": "0123456789abcdefGHI"})
    url = f"{BASE}/Observation/1001/_history/1"
    assert answer.status_code == 201
    assert answer.headers["location"] == answer.headers["content-location"] == url
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["last-modified"] == "Fri, 02 Jan 2026 03:04:05 GMT"
    assert answer.headers["x-request-id"] == "0123456789abcdefGHI"
    meta = {"versionId": "1", "lastUpdated": "2026-01-02T03:04:05.678Z", "source": "#0123456789abcdef"}
    assert answer.json()["meta"] == meta
    assert (await client.get("Observation/1001")).content == answer.content


async def test_a_decimal_keeps_its_digits(client: httpx.AsyncClient) -> None:
    await put(client)
    answer = await client.post("Observation", content=RESULT)
    assert '"value":1.50}' in answer.text


@pytest.mark.parametrize(("wish", "type_"), [("minimal", None), ("OperationOutcome", "OperationOutcome")])
async def test_prefer_decides_on_the_body(client: httpx.AsyncClient, wish: str, type_: str | None) -> None:
    answer = await put(client, prefer=f"return={wish}")
    assert answer.status_code == 201
    assert (answer.json()["resourceType"] if answer.content else None) == type_
    assert answer.headers["etag"] == 'W/"1"'


async def test_the_clients_source_keeps_its_uri_but_never_its_fragment(client: httpx.AsyncClient) -> None:
    text = '{"resourceType":"Patient","id":"ada","meta":{"source":"http://lab.example#forged"}}'
    answer = await put(client, text, x_request_id="real")
    assert answer.json()["meta"]["source"] == "http://lab.example#real"


async def test_if_none_exist_creates_finds_or_refuses(client: httpx.AsyncClient, store: Store) -> None:
    patient = PATIENT.replace('"id":"ada",', "")
    answers = [
        await client.post("Patient", content=patient, headers={"if-none-exist": "identifier=urn:m|1"}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    await client.post("Patient", content=patient)
    refused = await client.post("Patient", content=patient, headers={"if-none-exist": "identifier=urn:m|1"})
    assert refused.status_code == 412
    assert effects(store) == ["created", "created"]


async def test_update_makes_a_version_unless_nothing_changes(client: httpx.AsyncClient, store: Store) -> None:
    assert (await put(client)).status_code == 201
    same = await put(client)
    assert (same.status_code, same.headers["etag"]) == (200, 'W/"1"')
    changed = await put(client, PATIENT.replace('"value":"1"', '"value":"2"'))
    assert (changed.status_code, changed.headers["etag"]) == (200, 'W/"2"')
    assert "location" not in changed.headers
    assert effects(store) == ["created", "updated"]


@pytest.mark.parametrize(
    ("url", "text", "status"),
    [
        ("Patient/eve", PATIENT, 400),
        ("Patient/ada", '{"resourceType":"Patient"}', 400),
        ("Patient/ada", '{"resourceType":"Observation","id":"ada"}', 400),
        ("Patient/123", '{"resourceType":"Patient","id":"123"}', 400),
        ("Patient/ada", "{", 400),
        ("Patient/ada", "[]", 400),
        ("Patient/ada", '{"resourceType":"Patient","id":"ada","x":NaN}', 400),
        ("Patients/ada", PATIENT, 404),
        ("patient/ada", PATIENT, 404),
        ("Patient/a_b", PATIENT, 405),
    ],
)
async def test_a_wrong_update_stores_nothing(
    client: httpx.AsyncClient, store: Store, url: str, text: str, status: int
) -> None:
    answer = await put(client, text, url)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert not effects(store)


async def test_another_media_type_is_not_read(client: httpx.AsyncClient) -> None:
    assert (await put(client, content_type="text/plain")).status_code == 415


@pytest.mark.parametrize("stale", [409, 412])
async def test_if_match_guards_an_update(client: httpx.AsyncClient, store: Store, stale: int) -> None:
    store.quirks = Quirks(stale_if_match_status=stale)
    await put(client)
    changed = PATIENT.replace('"value":"1"', '"value":"2"')
    assert (await put(client, changed, if_match='W/"7"')).status_code == stale
    assert (await put(client, changed, if_match='W/"1"')).status_code == 200
    assert (await put(client, PATIENT.replace("ada", "eve"), "Patient/eve", if_match='W/"1"')).status_code == stale
    store.quirks = Quirks(if_match_ignored_when_absent=True)
    assert (await put(client, PATIENT.replace("ada", "eve"), "Patient/eve", if_match='W/"1"')).status_code == 201


async def test_delete_leaves_a_tombstone_and_a_put_revives(client: httpx.AsyncClient, store: Store) -> None:
    await put(client)
    deleted = await client.delete("Patient/ada")
    assert deleted.headers["content-location"] == f"{BASE}/Patient/ada/_history/2"
    gone = await client.get("Patient/ada")
    assert (gone.status_code, gone.headers["location"]) == (410, f"{BASE}/Patient/ada/_history/2")
    assert (await client.get("Patient/ada/_history/1")).status_code == 200
    assert (await client.get("Patient/ada/_history/2")).status_code == 410
    assert (await client.delete("Patient/ada")).status_code == 200
    assert (await client.delete("Patient/nobody")).status_code == 200
    revived = await put(client)
    assert (revived.status_code, revived.headers["etag"]) == (201, 'W/"3"')
    assert effects(store) == ["created", "deleted", "revived"]


async def test_delete_of_a_version_compares_first(client: httpx.AsyncClient, store: Store) -> None:
    await put(client)
    assert (await client.delete("Patient/ada/_history/2")).status_code == 409
    assert (await client.delete("Patient/ada/_history/1")).status_code == 200
    assert effects(store) == ["created", "deleted"]


async def test_references_have_to_hold(client: httpx.AsyncClient) -> None:
    assert (await client.post("Observation", content=RESULT)).status_code == 400
    await put(client)
    created = await client.post("Observation", content=RESULT)
    assert created.status_code == 201
    assert (await client.delete("Patient/ada")).status_code == 409
    assert (await client.delete(f"Observation/{created.json()['id']}")).status_code == 200
    assert (await client.delete("Patient/ada")).status_code == 200


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        ("#inside", 201),
        (f"{BASE}/Patient/ada", 201),
        ("Patient/ada/_history/1", 201),
        ("http://other.example/fhir/Patient/ada", 400),
        ("urn:uuid:1", 400),
        ("ada", 400),
        ("Patient/nobody", 400),
    ],
)
async def test_forms_of_reference(client: httpx.AsyncClient, reference: str, status: int) -> None:
    await put(client)
    answer = await client.post("Observation", content=RESULT.replace("Patient/ada", reference))
    assert answer.status_code == status


async def test_tags_are_merged_where_the_server_does_so(client: httpx.AsyncClient, store: Store) -> None:
    store.quirks = Quirks.hapi()
    tagged = '{"resourceType":"Patient","id":"ada","meta":{"tag":[{"code":"a"}]}}'
    await put(client, tagged)
    merged = await put(client, tagged.replace('"a"', '"b"'))
    assert [tag["code"] for tag in merged.json()["meta"]["tag"]] == ["b", "a"]
    snapshot = await put(client, tagged.replace('"a"', '"c"'), x_meta_snapshot_mode="TAG,SECURITY,PROFILE")
    assert [tag["code"] for tag in snapshot.json()["meta"]["tag"]] == ["c"]


async def test_a_server_may_change_what_it_stores(client: httpx.AsyncClient, store: Store) -> None:
    await put(client)
    store.quirks = Quirks(moves_subject_to="Patient/eve", moves_when_tagged="move", drops_element="valueQuantity")
    tagged = RESULT.replace('"status"', '"meta":{"tag":[{"code":"move"}]},"status"')
    moved = (await client.post("Observation", content=tagged)).json()
    assert moved["subject"]["reference"] == "Patient/eve"
    assert "valueQuantity" not in moved
    assert (await client.post("Observation", content=RESULT)).json()["subject"]["reference"] == "Patient/ada"


@pytest.mark.parametrize(("style", "second"), [("number", "2"), ("skipping", "11")])
async def test_version_ids_differ_between_servers(
    client: httpx.AsyncClient, store: Store, style: str, second: str
) -> None:
    store.quirks = Quirks().changed({"version_ids": style})
    await put(client)
    assert (await put(client, PATIENT.replace('"value":"1"', '"value":"2"'))).json()["meta"]["versionId"] == second


async def test_uuid_versions_are_found_by_their_id(client: httpx.AsyncClient, store: Store) -> None:
    store.quirks = Quirks(version_ids="uuid")
    created = await put(client)
    assert (await client.get(created.headers["location"])).content == created.content


@pytest.mark.parametrize(
    ("quirks", "status", "deleted"),
    [
        (Quirks(), 412, False),
        (Quirks.hapi(), 200, True),
        (Quirks(delete_forbidden=True), 405, False),
        (Quirks(delete_answers_without_body=True, if_match_ignored_on_delete=True), 204, True),
    ],
)
async def test_a_guarded_delete_differs_between_servers(
    client: httpx.AsyncClient, store: Store, quirks: Quirks, status: int, deleted: bool
) -> None:
    await put(client)
    store.quirks = quirks
    assert (await client.delete("Patient/ada", headers={"if-match": 'W/"9"'})).status_code == status
    assert ("deleted" in effects(store)) is deleted


async def test_a_server_without_versioned_delete_says_so(client: httpx.AsyncClient, store: Store) -> None:
    await put(client)
    store.quirks = Quirks(versioned_delete=False)
    assert (await client.delete("Patient/ada/_history/1")).status_code == 405


async def test_an_error_answer_may_hide_a_stored_write(client: httpx.AsyncClient, store: Store, clock: Clock) -> None:
    store.quirks = Quirks(error_though_stored=True, apply_late=0.01, strikes=1)
    clock.forward(1)
    assert (await put(client)).status_code == 500
    assert effects(store) == ["created"]
    assert (await put(client, PATIENT.replace('"value":"1"', '"value":"2"'))).status_code == 200
