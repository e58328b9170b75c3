"""A write that must not stay does not stay: judged again on what HAPI stored, and undone."""

import time

import httpx

from tests.e2e.door import Door
from tests.e2e.records import MUST_NOT_STAY, result, text, unique

NOTE = [{"text": MUST_NOT_STAY}]


def found(door: Door, code: str) -> list[str]:
    """The current results with a code that only one test uses."""
    answer = door.ask("GET", f"Observation?code={code}", headers={"cache-control": "no-cache"}, upstream=True)
    return [entry["resource"]["id"] for entry in answer.json().get("entry", [])]


def versions(door: Door, code: str) -> list[str]:
    """Every id whose history names the code, deleted ones too: HAPI's history keeps what was stored."""
    answer = door.ask("GET", "Observation/_history?_count=200", headers={"cache-control": "no-cache"}, upstream=True)
    return [entry["resource"]["id"] for entry in answer.json()["entry"] if code in str(entry.get("resource"))]


def marked(code: str, **elements: object) -> dict[str, object]:
    return result(code={"coding": [{"system": "urn:e2e", "code": code}]}, **elements)


def test_a_created_resource_is_removed(door: Door) -> None:
    code = unique("undone")
    answer = door.ask("POST", "Observation", content=text(marked(code, note=NOTE)))
    assert answer.status_code == 409, answer.text
    texts = [issue["details"]["text"] for issue in answer.json()["issue"]]
    assert "The server holds what must not stay." in texts
    assert any("removed" in told for told in texts)
    (stored,) = versions(door, code)
    assert door.ask("GET", f"Observation/{stored}", upstream=True).status_code == 410
    assert found(door, code) == []
    outcome = door.ask("GET", f"$write-outcome?decision={answer.headers['x-decision-id']}")
    assert outcome.status_code == 200
    assert "undone" in outcome.text


def test_the_outcome_of_a_write_is_its_clients_alone(door: Door) -> None:
    answer = door.ask("POST", "Observation", content=text(result()))
    assert answer.status_code == 201
    path = f"$write-outcome?decision={answer.headers['x-decision-id']}"
    assert "committed" in door.ask("GET", path).text
    other = door.ask("GET", path, token=door.issuer.token("clinic"))
    assert other.status_code == 404


def test_an_updated_resource_is_restored(door: Door) -> None:
    path = f"Observation/{unique('restored')}"
    record = result(id=path.partition("/")[2])
    assert door.ask("PUT", path, content=text(record)).status_code == 201
    before = door.ask("GET", path, upstream=True).json()
    answer = door.ask("PUT", path, content=text({**record, "note": NOTE}))
    assert answer.status_code == 409, answer.text
    assert any("restored" in issue["details"]["text"] for issue in answer.json()["issue"])
    after = door.ask("GET", path, upstream=True).json()
    assert after.pop("meta")["versionId"] == "3"
    del before["meta"]
    assert after == before


def test_what_the_server_added_is_seen_and_taken_back(door: Door) -> None:
    """HAPI keeps the tags of the version before: the rule sees one more than was sent."""
    path = f"Observation/{unique('tagged')}"
    record = result(id=path.partition("/")[2], meta={"tag": [{"system": "urn:e2e", "code": "first"}]})
    assert door.ask("PUT", path, content=text(record)).status_code == 201
    changed = {**record, "status": "amended", "meta": {"tag": [{"system": "urn:e2e", "code": "second"}]}}
    answer = door.ask("PUT", path, content=text(changed))
    assert answer.status_code == 409, answer.text
    after = door.ask("GET", path, upstream=True).json()
    assert after["status"] == "final"
    assert [tag["code"] for tag in after["meta"]["tag"]] == ["first"]


def test_an_updated_as_created_resource_is_removed(door: Door) -> None:
    path = f"Observation/{unique('as-created')}"
    answer = door.ask("PUT", path, content=text(result(id=path.partition("/")[2], note=NOTE)))
    assert answer.status_code == 409, answer.text
    assert door.ask("GET", path, upstream=True).status_code == 410


def push_and_crash(door: Door, code: str) -> None:
    """Pushes what must not stay to a gateway that dies once it knows that it is stored."""
    door.start(FHIR_GATEWAY_CRASH_AT="after-stored")
    try:
        answer = door.ask("POST", "Observation", content=text(marked(code, note=NOTE)))
    except httpx.TransportError:
        assert door.process.wait(10) == -9
        return
    raise AssertionError(f"the gateway lived and answered {answer.status_code}")


def test_a_gateway_that_died_between_write_and_verify_removes_it_when_it_is_back(own_door: Door) -> None:
    code = unique("crash")
    push_and_crash(own_door, code)
    (stored,) = versions(own_door, code)
    assert own_door.ask("GET", f"Observation/{stored}", upstream=True).status_code == 200
    own_door.start()
    deadline = time.monotonic() + 20
    while own_door.ask("GET", f"Observation/{stored}", upstream=True).status_code != 410:
        assert time.monotonic() < deadline, own_door.process.last_lines()
        time.sleep(0.1)
    assert own_door.ask("GET", f"Observation/{stored}/_history", upstream=True).json()["total"] == 2


def test_an_update_interrupted_by_a_crash_is_restored(own_door: Door) -> None:
    path = f"Observation/{unique('crash')}"
    record = result(id=path.partition("/")[2])
    assert own_door.ask("PUT", path, content=text(record), upstream=True).status_code == 201
    own_door.start(FHIR_GATEWAY_CRASH_AT="after-send")
    try:
        answer = own_door.ask("PUT", path, content=text({**record, "note": NOTE}))
    except httpx.TransportError:
        assert own_door.process.wait(10) == -9
    else:
        raise AssertionError(f"the gateway lived and answered {answer.status_code}")
    own_door.start()
    deadline = time.monotonic() + 20
    while "note" in own_door.ask("GET", path, upstream=True).json():
        assert time.monotonic() < deadline, own_door.process.last_lines()
        time.sleep(0.1)


def test_an_allowed_write_survives_a_crash(own_door: Door) -> None:
    """Nothing that may stay is taken away by recovery."""
    code = unique("kept")
    own_door.start(FHIR_GATEWAY_CRASH_AT="after-stored")
    try:
        own_door.ask("POST", "Observation", content=text(marked(code)))
    except httpx.TransportError:
        assert own_door.process.wait(10) == -9
    own_door.start()
    own_door.settled()
    (stored,) = found(own_door, code)
    assert own_door.ask("GET", f"Observation/{stored}", upstream=True).headers["etag"] == 'W/"1"'
