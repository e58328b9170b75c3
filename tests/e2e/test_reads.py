"""What a client reads through the gateway is what the FHIR server says, with the gateway's own URLs."""

import json

import httpx
import pytest

from tests.e2e.door import Door
from tests.e2e.records import MEMBER, result, text, unique

# Headers that belong to each hop, or to the exchange and not to the resource.
OF_THE_HOP = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}
OF_THE_EXCHANGE = {"x-request-id", "x-powered-by", "x-cache", "x-decision-id"}
URLS = {"location", "content-location"}


def same_headers(door: Door, direct: httpx.Response, through: httpx.Response) -> None:
    """Everything that HAPI says about the resource arrives unchanged but for the base URL."""
    dropped = OF_THE_HOP | OF_THE_EXCHANGE
    said = {name: value for name, value in direct.headers.items() if name not in dropped}
    arrived = {
        name: door.seen_directly(value) if name in URLS else value
        for name, value in through.headers.items()
        if name in said
    }
    assert arrived == said


@pytest.fixture(scope="module")
def record(door: Door) -> str:
    """A result with two versions, put there directly; its path."""
    path = f"Observation/{unique('read')}"
    for status in ("preliminary", "final"):
        body = text(result(id=path.partition("/")[2], status=status, valueQuantity={"value": 1, "unit": status}))
        assert door.ask("PUT", path, content=body, upstream=True).is_success
    return path


@pytest.mark.parametrize("below", ["", "/_history/1", "/_history/2", "?_format=json", "?_pretty=false"])
def test_an_instance_is_read_byte_for_byte(door: Door, record: str, below: str) -> None:
    direct, through = door.both("GET", record + below)
    assert direct.status_code == through.status_code == 200
    assert through.content == direct.content
    same_headers(door, direct, through)


@pytest.mark.parametrize(
    "path",
    [
        f"Observation?patient={MEMBER}&_sort=_lastUpdated",
        f"Observation?subject=Patient/{MEMBER}&status=final&_count=1",
        f"Patient?identifier=https%3A%2F%2Fplan.example%2Fmember%7CM-{MEMBER}",
        f"Patient/{MEMBER}/_history",
        "Observation/_history?_count=2",
    ],
)
def test_a_bundle_differs_only_in_its_urls(door: Door, record: str, path: str) -> None:
    direct, through = door.both("GET", path, headers={"cache-control": "no-cache"})
    assert direct.status_code == through.status_code == 200, record
    wanted, got = json.loads(direct.content), json.loads(door.seen_directly(through.text))
    for bundle in (wanted, got):
        # Each search is a Bundle of its own: its id, its time and the id of its next page differ between two requests.
        del bundle["id"], bundle["meta"]
        bundle["link"] = [link for link in bundle["link"] if link["relation"] == "self"]
    assert got == wanted
    assert door.upstream not in through.text


def test_search_by_post_is_the_search_by_get(door: Door, record: str) -> None:
    form = {"content-type": "application/x-www-form-urlencoded", "cache-control": "no-cache"}
    query = f"_id={record.partition('/')[2]}"
    posted = door.ask("POST", "Observation/_search", content=query, headers=form)
    got = door.ask("GET", f"Observation?{query}", headers={"cache-control": "no-cache"})
    assert posted.status_code == got.status_code == 200
    assert posted.json()["entry"] == got.json()["entry"]
    assert posted.json()["total"] == 1


def test_pages_are_followed_through_the_gateway(door: Door) -> None:
    code = unique("page")
    for number in range(5):
        body = text(result(code={"coding": [{"system": "urn:e2e", "code": code}]}, valueQuantity={"value": number}))
        assert door.ask("POST", "Observation", content=body, upstream=True).status_code == 201
    url: str | None = f"{door.base}/Observation?code={code}&_count=2&_sort=_lastUpdated"
    seen: list[float] = []
    while url is not None:
        assert url.startswith(door.base)
        answer = door.client.get(url, headers={"authorization": f"Bearer {door.token}"})
        assert answer.status_code == 200, answer.text
        seen += [entry["resource"]["valueQuantity"]["value"] for entry in answer.json()["entry"]]
        url = next((link["url"] for link in answer.json()["link"] if link["relation"] == "next"), None)
    assert seen == [0, 1, 2, 3, 4]


def test_what_the_server_does_not_have_is_said_as_the_server_says_it(door: Door) -> None:
    for path in (f"Observation/{unique('nobody')}", f"Patient/{MEMBER}/_history/99"):
        direct, through = door.both("GET", path)
        assert through.status_code == direct.status_code == 404
        assert through.json()["resourceType"] == "OperationOutcome"


def test_a_deleted_resource_is_gone(door: Door) -> None:
    path = f"Observation/{unique('gone')}"
    assert door.ask("PUT", path, content=text(result(id=path.partition("/")[2])), upstream=True).status_code == 201
    assert door.ask("DELETE", path, upstream=True).status_code == 200
    direct, through = door.both("GET", path)
    assert through.status_code == direct.status_code == 410
    assert door.seen_directly(through.headers["location"]) == direct.headers["location"]


def test_a_known_version_is_not_sent_again(door: Door, record: str) -> None:
    direct, through = door.both("GET", record, headers={"if-none-match": 'W/"2"'})
    assert through.status_code == direct.status_code == 304
    assert through.content == b""


def test_capabilities_need_no_token_and_speak_of_the_gateway(door: Door) -> None:
    answer = door.client.get(f"{door.base}/metadata", headers={"accept": "application/fhir+json"})
    assert answer.status_code == 200
    statement = answer.json()
    assert statement["resourceType"] == "CapabilityStatement"
    assert statement["implementation"]["url"] == door.base
    assert door.upstream not in answer.text
    allowed = {"read", "vread", "history-instance", "history-type", "search-type", "create", "update"}
    offered = {i["code"] for resource in statement["rest"][0]["resource"] for i in resource["interaction"]}
    assert offered <= allowed
    assert "create" in offered
    assert statement["rest"][0]["security"]["service"]


def test_smart_configuration_names_the_issuer(door: Door) -> None:
    answer = door.client.get(f"{door.base}/.well-known/smart-configuration")
    assert answer.status_code == 200
    assert answer.json()["issuer"] == door.issuer.issuer
