"""Writes under a client's `Idempotency-Key`, before a real HAPI: asked for again, nothing is written twice."""

import time

import httpx
import pytest

from tests.e2e.door import Door
from tests.e2e.records import MUST_NOT_STAY, result, text, unique

_SETTLED_SECONDS = 90.0  # an intent that never left counts as lost until the server can no longer apply it


def keyed(door: Door, key: str, record: dict[str, object], path: str = "Observation") -> httpx.Response:
    method = "POST" if path == "Observation" else "PUT"
    return door.ask(method, path, content=text(record), headers={"idempotency-key": f'"{key}"'})


def versions(door: Door, path: str) -> int:
    """How many versions HAPI has of a resource, its removal among them."""
    return int(door.ask("GET", f"{path}/_history", upstream=True).json()["total"])


@pytest.mark.parametrize("interaction", ["create", "update", "update as create"])
def test_the_same_again_is_answered_from_the_record(door: Door, interaction: str) -> None:
    key, path, record = unique("key"), "Observation", result()
    if interaction != "create":
        path = f"Observation/{unique('keyed')}"
        record = result(id=path.partition("/")[2])
    if interaction == "update":
        assert door.ask("PUT", path, content=text({**record, "status": "amended"})).status_code == 201
    first, second = keyed(door, key, record, path), keyed(door, key, record, path)
    assert first.status_code == second.status_code == (200 if interaction == "update" else 201), second.text
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["x-original-decision-id"] == first.headers["x-decision-id"]
    assert second.headers.get("location") == first.headers.get("location")
    assert second.headers["etag"] == first.headers["etag"] == ('W/"2"' if interaction == "update" else 'W/"1"')
    assert versions(door, f"Observation/{first.json()['id']}") == (2 if interaction == "update" else 1)


def test_another_body_under_the_key_is_refused(door: Door) -> None:
    key = unique("key")
    assert keyed(door, key, result()).status_code == 201
    other = keyed(door, key, result(status="amended"))
    assert other.status_code == 422, other.text
    assert other.json()["resourceType"] == "OperationOutcome"


def test_a_write_that_was_undone_is_told_so_again(door: Door) -> None:
    key, record = unique("key"), result(note=[{"text": MUST_NOT_STAY}])
    first, second = keyed(door, key, record), keyed(door, key, record)
    assert first.status_code == second.status_code >= 400
    assert second.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("point", ["after-intent", "after-send", "after-stored", "after-committed"])
def test_a_client_that_lost_its_answer_with_the_gateway_asks_again(own_door: Door, point: str) -> None:
    """Killed in the midst of the write. What was stored is found by the request id that HAPI recorded, and told."""
    key, path = unique("key"), f"Observation/{unique('keyed')}"
    record = result(id=path.partition("/")[2])
    own_door.start(FHIR_GATEWAY_CRASH_AT=point)
    with pytest.raises(httpx.TransportError):
        keyed(own_door, key, record, path)
    own_door.process.stop()
    own_door.start()
    until = time.monotonic() + _SETTLED_SECONDS
    while (again := keyed(own_door, key, record, path)).status_code in (409, 503):
        assert time.monotonic() < until, again.text
        time.sleep(0.5)
    assert again.status_code == 201, again.text
    assert versions(own_door, path) == 1
