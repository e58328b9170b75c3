"""Every line of what HAPI does with JSON (tests/cases/json-hapi.yaml), sent to HAPI and to the gateway.

What the gateway lets through is stored with the meaning that was judged, or the server refuses it itself.
"""

import base64
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.e2e.door import Door
from tests.e2e.records import MEMBER
from tests.e2e.servers import Servers

CASES = Path(__file__).parent.parent / "cases" / "json-hapi.yaml"
OPEN = Path(__file__).parent / "open"


def cases() -> Iterator[Any]:
    for group, rows in YAML(typ="safe").load(CASES).items():
        for row in rows:
            yield pytest.param(row, id=f"{group}: {row['name']}")


def body_of(case: dict[str, Any]) -> bytes:
    if "base64" in case:
        return base64.b64decode(case["base64"])
    text = case.get("body")
    if text is None:
        made = case["generator"]
        text = made["before"] + made["part"] * made["times"] + made["after"]
    return str(text).replace("{patient}", MEMBER).encode()


def meaning(body: bytes) -> object:
    """What a body says: numbers by value, without what the server itself keeps."""
    resource = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    for own in ("id", "meta"):
        resource.pop(own, None)
    return resource


@pytest.fixture(scope="module")
def open_door(servers: Servers, members: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A gateway whose policies permit everything: only the reading of the body is left to refuse."""
    door = Door(tmp_path_factory.mktemp("open"), servers.hapi.base, servers.keycloak, policies=OPEN)
    door.start()
    yield door
    assert door.close() == 0, members.upstream


def held(door: Door, type_: str) -> int:
    """How many resources of a type HAPI holds now. (It counts a history at most once a minute.)"""
    fresh = {"cache-control": "no-cache"}
    answer = door.ask("GET", f"{type_}?_summary=count", headers=fresh, upstream=True)
    total: int = answer.json()["total"]
    return total


@pytest.mark.parametrize("case", list(cases()))
def test_what_is_judged_is_what_is_stored(open_door: Door, case: dict[str, Any]) -> None:
    body, told = body_of(case), case.get("hapi", {})
    type_ = case.get("type", "Observation")
    headers = {"content-type": case.get("content_type", "application/fhir+json")}
    if told and not told.get("harmful"):
        direct = open_door.ask("POST", type_, content=body, headers=headers, upstream=True)
        assert direct.status_code == told["status"], "HAPI does not do what the table says"
    before = held(open_door, type_)
    answer = open_door.ask("POST", type_, content=body, headers=headers)
    if case["gateway"] == "refuse":
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["resourceType"] == "OperationOutcome"
        assert held(open_door, type_) == before
    elif told["status"] >= 300:
        assert answer.status_code == told["status"]
        assert held(open_door, type_) == before
    else:
        assert answer.status_code == 201, answer.text
        stored = open_door.ask("GET", f"{type_}/{answer.json()['id']}", upstream=True)
        assert meaning(stored.content) == meaning(body)
