"""read, vread, history, search and capabilities on the sandbox."""

import httpx
import pytest

from gateway.sandbox.quirks import Quirks
from gateway.sandbox.r4_types import RESOURCE_TYPES
from gateway.sandbox.store import Store
from tests.sandbox.conftest import BASE, Clock

RESULT = (
    '{"resourceType":"Observation","id":"%s","meta":{"tag":[{"system":"urn:t","code":"x"}]},"status":"final",'
    '"category":[{"coding":[{"code":"laboratory"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"4548-4"}]},'
    '"identifier":[{"system":"urn:r","value":"%s"}],"subject":{"reference":"Patient/ada"}}'
)


@pytest.fixture(autouse=True)
async def results(client: httpx.AsyncClient, clock: Clock) -> None:
    """A Patient and three results of hers, a minute apart."""
    await client.put("Patient/ada", content='{"resourceType":"Patient","id":"ada"}')
    for name in ("r1", "r2", "r3"):
        clock.forward(60)
        await client.put(
            f"Observation/{name}", content=RESULT % (name, name), headers={"x-request-id": f"request-of-{name}"}
        )


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert bundle["type"] == "searchset"
    return [entry["resource"]["id"] for entry in bundle["entry"]]


async def test_read_is_conditional(client: httpx.AsyncClient) -> None:
    answer = await client.get("Patient/ada")
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"1"')
    known = await client.get("Patient/ada", headers={"if-none-match": 'W/"1"'})
    assert (known.status_code, known.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["Patient/nobody", "Patient/ada/_history/2", "Patient/nobody/_history", "Nothing/1", ""]
)
async def test_what_is_not_there(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.json()["issue"][0]["code"] == "not-found"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["r1", "r2", "r3"]),
        ("_id=r2", ["r2"]),
        ("_id=r1,r3", ["r1", "r3"]),
        ("identifier=urn:r|r3", ["r3"]),
        ("identifier=r3", ["r3"]),
        ("identifier=urn:r%7C", ["r1", "r2", "r3"]),
        ("identifier=urn:other|r3", []),
        ("identifier=|r3", []),
        ("patient=ada", ["r1", "r2", "r3"]),
        ("subject=Patient/ada", ["r1", "r2", "r3"]),
        ("subject=Patient/eve", []),
        ("code=4548-4&category=laboratory", ["r1", "r2", "r3"]),
        ("code=http://loinc.org|4548-4", ["r1", "r2", "r3"]),
        ("status=preliminary", []),
        ("_tag=urn:t|x", ["r1", "r2", "r3"]),
        ("_source=%23request-of-r2", ["r2"]),
        ("_source=%23nothing-like-it", []),
        ("_lastUpdated=ge2026-01-02T03:06:05Z", ["r2", "r3"]),
        ("_lastUpdated=gt2026-01-02T03:06:05Z", ["r3"]),
        ("_lastUpdated=lt2026-01-02T03:06:05Z", ["r1"]),
        ("_lastUpdated=le2026-01-02T03:06:05Z", ["r1", "r2"]),
        ("_lastUpdated=2026-01-02", ["r1", "r2", "r3"]),
        ("_lastUpdated=ne2026-01-02", []),
    ],
)
async def test_search(client: httpx.AsyncClient, query: str, found: list[str]) -> None:
    assert ids(await client.get(f"Observation?{query}")) == found
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert ids(await client.post("Observation/_search", content=query, headers=form)) == found


@pytest.mark.parametrize("query", ["unknown=1", "_lastUpdated=yesterday", "_count=many"])
async def test_what_cannot_be_searched(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"Observation?{query}")).status_code == 400


@pytest.mark.parametrize(("habit", "found"), [("everything", ["r1", "r2", "r3"]), ("nothing", [])])
async def test_servers_differ_on_unknown_parameters(
    client: httpx.AsyncClient, store: Store, habit: str, found: list[str]
) -> None:
    store.quirks = Quirks().changed({"unknown_parameter": habit})
    assert ids(await client.get("Observation?unknown=1")) == found


async def test_pages_lead_through_everything(client: httpx.AsyncClient) -> None:
    url: str | None = f"{BASE}/Observation?_count=2&code=4548-4"
    seen: list[str] = []
    while url is not None:
        answer = await client.get(url)
        seen += ids(answer)
        url = next((link["url"] for link in answer.json()["link"] if link["relation"] == "next"), None)
    assert seen == ["r1", "r2", "r3"]


async def test_a_source_is_found_in_every_version(client: httpx.AsyncClient, store: Store) -> None:
    changed = (RESULT % ("r1", "r1")).replace("final", "amended")
    await client.put("Observation/r1", content=changed, headers={"x-request-id": "later"})
    assert ids(await client.get("Observation?_source=%23request-of-r1")) == ["r1"]
    assert ids(await client.get("Observation?_source=%23later")) == ["r1"]
    await client.delete("Observation/r1")
    assert ids(await client.get("Observation?_source=%23later")) == []
    store.quirks = Quirks(source_disabled=True)
    assert (await client.get("Observation?_source=%23later")).status_code == 400


async def test_a_cached_search_misses_a_write(client: httpx.AsyncClient, store: Store, clock: Clock) -> None:
    store.quirks = Quirks.hapi()
    query = "Observation?identifier=r4"
    assert ids(await client.get(query)) == []
    await client.put("Observation/r4", content=RESULT % ("r4", "r4"))
    cached = await client.get(query)
    assert ids(cached) == []
    assert cached.headers["x-cache"].startswith("HIT")
    assert ids(await client.get(query, headers={"cache-control": "no-cache"})) == ["r4"]
    clock.forward(61)
    assert ids(await client.get(query)) == ["r4"]


async def test_history_is_newest_first_and_knows_since(client: httpx.AsyncClient, clock: Clock) -> None:
    clock.forward(60)
    await client.delete("Observation/r2")
    entries = (await client.get("Observation/r2/_history")).json()["entry"]
    assert [entry["response"]["status"] for entry in entries] == ["204 No Content", "201 Created"]
    assert "resource" not in entries[0]
    assert [entry["request"]["method"] for entry in entries] == ["DELETE", "PUT"]
    of_type = (await client.get("Observation/_history?_since=2026-01-02T03:07:05Z")).json()
    assert [entry["fullUrl"] for entry in of_type["entry"]] == [f"{BASE}/Observation/r2", f"{BASE}/Observation/r3"]
    assert (await client.get("_history")).json()["total"] == 5
    assert (await client.get("_history?_since=never")).status_code == 400


async def test_capabilities_name_every_type(client: httpx.AsyncClient) -> None:
    statement = (await client.get("metadata")).json()
    assert statement["fhirVersion"] == "4.0.1"
    assert {entry["type"] for entry in statement["rest"][0]["resource"]} == RESOURCE_TYPES
    assert len(RESOURCE_TYPES) == 146
