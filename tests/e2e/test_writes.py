"""Allowed writes: stored by the FHIR server as they were sent, and answered as it answers."""

from typing import Any

import httpx

from tests.e2e.door import Door
from tests.e2e.records import MEMBER, MEMBER_SYSTEM, patient, result, text, unique

# What HAPI alone decides on each write.
OWN = {"id", "meta"}


def content(answer: httpx.Response) -> dict[str, Any]:
    return {name: value for name, value in answer.json().items() if name not in OWN}


def shape(answer: httpx.Response) -> set[str]:
    of_interest = {"location", "content-location", "etag", "last-modified", "content-type"}
    return {name for name in answer.headers if name in of_interest}


def test_create(door: Door) -> None:
    direct, through = door.both("POST", "Observation", content=text(result()))
    assert direct.status_code == through.status_code == 201, through.text
    assert through.headers["etag"] == direct.headers["etag"] == 'W/"1"'
    assert through.headers["location"] == f"{door.base}/Observation/{through.json()['id']}/_history/1"
    assert shape(through) == shape(direct)
    assert content(through) == content(direct)
    assert through.headers["x-decision-id"]
    stored = door.ask("GET", f"Observation/{through.json()['id']}", upstream=True)
    assert content(stored) == result()


def test_the_bytes_of_a_decimal_arrive(door: Door) -> None:
    body = text(result()).replace('"value":6', '"value":6.10')
    created = door.ask("POST", "Observation", content=body)
    assert created.status_code == 201, created.text
    assert '"value": 6.10,' in door.ask("GET", f"Observation/{created.json()['id']}", upstream=True).text


def test_prefer_minimal(door: Door) -> None:
    direct, through = door.both("POST", "Observation", content=text(result()), headers={"prefer": "return=minimal"})
    assert direct.status_code == through.status_code == 201
    assert through.content == direct.content == b""
    assert through.headers["location"].startswith(f"{door.base}/Observation/")


def test_update_and_the_version_it_makes(door: Door) -> None:
    paths = {upstream: f"Observation/{unique('update')}" for upstream in (True, False)}
    for status, version, code in (("final", 1, 201), ("amended", 2, 200), ("amended", 2, 200)):
        answers = {}
        for upstream, path in paths.items():
            body = text(result(id=path.partition("/")[2], status=status))
            answers[upstream] = door.ask("PUT", path, content=body, upstream=upstream)
        assert answers[False].status_code == answers[True].status_code == code, answers[False].text
        assert answers[False].headers["etag"] == answers[True].headers["etag"] == f'W/"{version}"'
        assert shape(answers[False]) == shape(answers[True])
        assert content(answers[False]) == content(answers[True])
    history = door.ask("GET", f"{paths[False]}/_history", upstream=True).json()
    assert history["total"] == 2


def test_if_match(door: Door) -> None:
    path = f"Observation/{unique('match')}"
    record = result(id=path.partition("/")[2])
    assert door.ask("PUT", path, content=text(record)).status_code == 201
    current = door.ask("PUT", path, content=text({**record, "status": "amended"}), headers={"if-match": 'W/"1"'})
    assert (current.status_code, current.headers["etag"]) == (200, 'W/"2"')
    stale = door.ask("PUT", path, content=text({**record, "status": "corrected"}), headers={"if-match": 'W/"1"'})
    assert stale.status_code in {409, 412}
    absent = f"Observation/{unique('match')}"
    record = result(id=absent.partition("/")[2])
    # HAPI creates here, whatever If-Match says; RFC 9110 section 13.1.1 says that the condition is false.
    assert door.ask("PUT", absent, content=text(record), headers={"if-match": 'W/"1"'}).status_code == 412
    assert door.ask("GET", absent, upstream=True).status_code == 404
    assert door.ask("GET", path, upstream=True).json()["status"] == "amended"


def test_a_conditional_create_makes_one_resource(door: Door) -> None:
    number = unique("member")
    body = patient(None) | {"identifier": [{"system": MEMBER_SYSTEM, "value": number}]}
    condition = {"if-none-exist": f"identifier={MEMBER_SYSTEM}|{number}"}
    first, second = (door.ask("POST", "Patient", content=text(body), headers=condition) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200), second.text
    assert first.headers["location"] == second.headers["location"]
    found = door.ask("GET", f"Patient?identifier={number}", upstream=True)
    assert found.json()["total"] == 1


def test_a_conditional_create_with_several_matches_is_refused_by_the_server(door: Door) -> None:
    number = unique("member")
    body = patient(None) | {"identifier": [{"system": MEMBER_SYSTEM, "value": number}]}
    for _ in range(2):
        assert door.ask("POST", "Patient", content=text(body), upstream=True).status_code == 201
    condition = {"if-none-exist": f"identifier={MEMBER_SYSTEM}|{number}"}
    assert door.ask("POST", "Patient", content=text(body), headers=condition).status_code == 412


def test_what_the_server_refuses_is_the_servers_answer(door: Door) -> None:
    body = text(result(performer=[{"reference": f"Practitioner/{unique('nobody')}"}]))
    direct, through = door.both("POST", "Observation", content=body)
    assert through.status_code == direct.status_code == 400
    assert through.json()["resourceType"] == "OperationOutcome"


def test_a_write_of_a_patient_is_seen_by_the_next_decision(door: Door) -> None:
    """The Patient cache never outlives a write to that Patient."""
    path = f"Patient/{unique('moving')}"
    patient_id = path.partition("/")[2]
    assert door.ask("PUT", path, content=text(patient(patient_id))).status_code == 201
    assert door.ask("POST", "Observation", content=text(result(patient_id))).status_code == 201
    assert door.ask("PUT", path, content=text(patient(patient_id, member=False))).status_code == 200
    refused = door.ask("POST", "Observation", content=text(result(patient_id)))
    assert refused.status_code == 422, refused.text


def test_the_same_member_is_judged_by_an_absolute_reference(door: Door) -> None:
    body = text(result()).replace(f"Patient/{MEMBER}", f"{door.upstream}/Patient/{MEMBER}")
    direct, through = door.both("POST", "Observation", content=body)
    # HAPI refuses absolute references to itself; the gateway adds nothing to that.
    assert through.status_code == direct.status_code == 400
