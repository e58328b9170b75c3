"""What is refused is refused with every reason, and never reaches the FHIR server."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.door import Door
from tests.e2e.records import MEMBER, STRANGER, patient, result, text, unique


@pytest.fixture(autouse=True)
def nothing_stored(door: Door) -> Iterator[None]:
    """No test of this file leaves anything on the server."""
    before = versions(door)
    yield
    assert versions(door) == before


def versions(door: Door) -> int:
    answer = door.ask("GET", "_history?_summary=count", headers={"cache-control": "no-cache"}, upstream=True)
    total: int = answer.json()["total"]
    return total


def issues(answer: httpx.Response) -> dict[str, str]:
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert answer.headers["content-type"].startswith("application/fhir+json")
    return {issue.get("diagnostics", ""): issue["code"] for issue in outcome["issue"]}


def test_a_stranger_is_refused_with_all_reasons(door: Door) -> None:
    label = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}
    answer = door.ask("POST", "Observation", content=text(result(STRANGER, status="preliminary", meta=label)))
    assert answer.status_code in {403, 422}
    rules = {rule.rpartition("/")[2] for rule in issues(answer)}
    assert {"is-member", "final-results-only", "no-restricted-data"} <= rules
    at = {path for issue in answer.json()["issue"] for path in issue.get("expression", [])}
    assert {"Observation.subject", "Observation.status"} <= at


def test_a_rule_is_named_with_its_message(door: Door) -> None:
    answer = door.ask("POST", "Observation", content=text(result(STRANGER)))
    assert answer.status_code == 422
    (issue,) = answer.json()["issue"]
    assert issue["severity"] == "error"
    assert issue["code"] == "business-rule"
    assert issue["details"]["text"] == "The patient is not a member of this plan."
    assert issue["diagnostics"] == "push/is-member"


def test_a_type_that_no_policy_permits(door: Door) -> None:
    body = {"resourceType": "Condition", "subject": {"reference": f"Patient/{MEMBER}"}}
    assert door.ask("POST", "Condition", content=text(body)).status_code == 403


def test_a_client_that_the_policy_does_not_name(door: Door) -> None:
    token = door.issuer.token("clinic")
    assert door.ask("POST", "Observation", content=text(result()), token=token).status_code == 403


def test_a_scope_is_an_upper_bound(door: Door) -> None:
    token = door.issuer.token(scope="system/DiagnosticReport.cu")
    answer = door.ask("POST", "Observation", content=text(result()), token=token)
    assert answer.status_code == 403
    assert "insufficient_scope" in answer.headers["www-authenticate"]
    assert door.ask("GET", f"Patient/{MEMBER}", token=token).status_code == 403


@pytest.mark.parametrize("token", ["not-a-token", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJub25lIn0.e30.AAAA"])
def test_what_is_no_token(door: Door, token: str) -> None:
    answer = door.ask("POST", "Observation", content=text(result()), token=token)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert issues(answer)


@pytest.mark.parametrize("client", ["elsewhere", "untyped"])
def test_a_token_for_another_audience_or_of_another_type(door: Door, client: str) -> None:
    answer = door.ask("POST", "Observation", content=text(result()), token=door.issuer.token(client))
    assert answer.status_code == 401


def test_a_token_that_was_tampered_with(door: Door) -> None:
    head, payload, signature = door.token.split(".")
    forged = ".".join((head, payload, signature[:-8] + ("A" * 8 if signature[-8:] != "A" * 8 else "B" * 8)))
    assert door.ask("POST", "Observation", content=text(result()), token=forged).status_code == 401
    assert door.ask("GET", f"Patient/{MEMBER}", token=forged).status_code == 401


def test_a_token_that_has_run_out(door: Door) -> None:
    token = door.issuer.token("brief")
    deadline = time.monotonic() + 10
    while (answer := door.ask("GET", f"Patient/{MEMBER}", token=token)).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["www-authenticate"]


def test_nothing_is_told_before_authentication(door: Door) -> None:
    known = door.client.get(f"{door.base}/Patient/{MEMBER}")
    unknown = door.client.get(f"{door.base}/Patient/{unique('nobody')}")
    assert known.status_code == unknown.status_code == 401
    assert known.json()["issue"] == unknown.json()["issue"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("POST", "", {"resourceType": "Bundle", "type": "transaction"}, {}),
        ("PATCH", f"Patient/{MEMBER}", {}, {"content-type": "application/json-patch+json"}),
        ("DELETE", f"Patient/{MEMBER}", None, {}),
        ("DELETE", f"Patient?_id={MEMBER}", None, {}),
        ("PUT", f"Patient?_id={MEMBER}", {"resourceType": "Patient"}, {}),
        ("POST", f"Patient/{MEMBER}/$meta-add", {"resourceType": "Parameters"}, {}),
        ("POST", "Patient/$validate", {"resourceType": "Parameters"}, {}),
        ("POST", "Patient", None, {"content-type": "application/fhir+xml"}),
        ("PUT", f"Patient/{MEMBER}/_history/1", {"resourceType": "Patient", "id": MEMBER}, {}),
    ],
)
def test_what_is_not_judged_yet_is_not_forwarded(
    door: Door, method: str, path: str, body: dict[str, object] | None, headers: dict[str, str]
) -> None:
    content = text(body) if body is not None else '<Patient xmlns="http://hl7.org/fhir"/>' if headers else None
    answer = door.ask(method, path, content=content, headers=headers)
    assert answer.status_code in {404, 405, 415, 501}, answer.text
    assert issues(answer)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"resourceType":"Observation","resourceType":"Observation"}', 400),
        ("{'resourceType':'Observation'}", 400),
        ("[]", 400),
        ("", 400),
        ('{"resourceType":"Patient"}', 400),
    ],
)
def test_bodies_with_more_than_one_reading(door: Door, body: str, status: int) -> None:
    assert door.ask("POST", "Observation", content=body).status_code == status


@pytest.mark.parametrize(
    "reference",
    [
        "#inside",
        f"Patient?identifier=M-{MEMBER}",
        f"Patient/{MEMBER}/_history/1",
        "urn:uuid:00000000-0000-4000-8000-000000000000",
        "http://other.example/fhir/Patient/1",
        f"/Patient/{MEMBER}",
        f"patient/{MEMBER}",
    ],
)
def test_a_subject_that_cannot_be_resolved_is_refused(door: Door, reference: str) -> None:
    answer = door.ask("POST", "Observation", content=text(result(subject={"reference": reference})))
    assert answer.status_code in {400, 403, 422}
    assert issues(answer)


def test_a_patient_that_does_not_exist(door: Door) -> None:
    answer = door.ask("POST", "Observation", content=text(result(unique("nobody"))))
    assert answer.status_code in {403, 422}, answer.text


def test_a_move_to_a_stranger_is_refused(door: Door) -> None:
    answer = door.ask("PUT", f"Patient/{MEMBER}", content=text({**patient(MEMBER), "name": []}))
    assert answer.status_code in {400, 422}


def test_a_record_cannot_be_taken_from_a_stranger(servers_record: str, door: Door) -> None:
    """The prior version is judged too: its Patient is no member."""
    answer = door.ask("PUT", servers_record, content=text(result(id=servers_record.partition("/")[2])))
    assert answer.status_code in {403, 409, 422}, answer.text


@pytest.fixture
def servers_record(door: Door, nothing_stored: None) -> Iterator[str]:
    """A stranger's result, put there directly and purged again."""
    path = f"Observation/{unique('strangers')}"
    body = text(result(STRANGER, id=path.partition("/")[2]))
    assert door.ask("PUT", path, content=body, upstream=True).status_code == 201
    yield path
    assert door.ask("GET", path, upstream=True).headers["etag"] == 'W/"1"'
    assert door.ask("DELETE", path, upstream=True).status_code == 200
    expunge = {"resourceType": "Parameters", "parameter": [{"name": "expungeDeletedResources", "valueBoolean": True}]}
    assert door.ask("POST", f"{path}/$expunge", content=text(expunge), upstream=True).is_success
