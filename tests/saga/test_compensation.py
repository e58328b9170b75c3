"""What undoes a write, and what the server's answers prove: tables over the pure functions."""

from dataclasses import replace

import pytest

from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.saga.capability import Capability, GuardedDelete
from gateway.saga.compensation import (
    Blocked,
    Deferred,
    Proven,
    Refusal,
    Send,
    UndoAction,
    judge,
    plan,
    prepare,
    refusal,
)
from gateway.saga.content import request_id_of, same_content
from gateway.saga.intent import WRITE_ID_LENGTH, Intent, State, new_write_id, undo_id
from gateway.saga.lookup_port import Absent, Seen
from gateway.saga.ports import UpstreamAnswer
from gateway.saga.proof import Doubt, Matched, Refused, Stored, etag_version, located, prove

CREATED = Intent(
    decision_id="d",
    write_id="abcdefghijklmnop",
    interaction=InteractionCode.CREATE,
    type="Observation",
    body=b"{}",
    client_id="c",
    issuer="i",
    started_at=0.0,
    state=State.COMPENSATING,
    stored_id="o1",
    stored_version="1",
    created=True,
)
PRIOR: JsonObject = {"resourceType": "Observation", "id": "o1", "status": "final", "meta": {"versionId": "1"}}
UPDATED = replace(
    CREATED,
    interaction=InteractionCode.UPDATE,
    id="o1",
    stored_version="2",
    created=False,
    prior_version="1",
    prior_body=b"{}",
)
HAPI = Capability(
    guarded_delete=GuardedDelete.VERSION_URL, restore_headers=((b"x-meta-snapshot-mode", b"TAG"),), guarded_update=True
)


def seen(version: str, *, status: str = "final", source: str | None = None) -> Seen:
    meta: JsonObject = {"versionId": version, "lastUpdated": "2026-01-01T00:00:00Z"}
    if source is not None:
        meta["source"] = source
    resource: JsonObject = {"resourceType": "Observation", "id": "o1", "status": status, "meta": meta}
    return Seen(id="o1", version=version, resource=resource, body=b"")


def answer(status: int, **headers: str) -> UpstreamAnswer:
    wire = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return UpstreamAnswer(status=status, headers=wire, body=b"")


@pytest.mark.parametrize(
    ("intent", "expected"),
    [
        (CREATED, UndoAction.DELETE),
        (UPDATED, UndoAction.RESTORE),
        (replace(UPDATED, stored_version="1"), UndoAction.NOTHING),
    ],
)
def test_the_plan(intent: Intent, expected: UndoAction) -> None:
    assert plan(intent) is expected


@pytest.mark.parametrize(
    "intent",
    [
        replace(CREATED, stored_id=None),
        replace(CREATED, stored_version=None),
        replace(CREATED, created=None),
        replace(UPDATED, prior_body=None),
    ],
)
def test_what_is_not_proven_is_left_to_a_person(intent: Intent) -> None:
    assert isinstance(plan(intent), Blocked)


@pytest.mark.parametrize(
    ("capability", "path", "guard"),
    [
        (HAPI, "Observation/o1/_history/1", None),
        (Capability(guarded_delete=GuardedDelete.IF_MATCH), "Observation/o1", b'W/"1"'),
        (Capability(), "Observation/o1", None),
    ],
)
def test_a_delete_is_guarded_as_the_server_can(capability: Capability, path: str, guard: bytes | None) -> None:
    next_ = prepare(CREATED, UndoAction.DELETE, seen("1"), None, capability)
    assert isinstance(next_, Send)
    headers = dict(next_.request.headers)
    assert (next_.request.method, next_.request.path, headers.get(b"if-match")) == ("DELETE", path, guard)
    assert headers[b"x-request-id"] == b"Ubcdefghijklmnop"


def test_a_restore_is_guarded_by_the_stored_version() -> None:
    next_ = prepare(UPDATED, UndoAction.RESTORE, seen("2"), PRIOR, HAPI)
    assert isinstance(next_, Send)
    headers = dict(next_.request.headers)
    assert (next_.request.method, next_.request.path, next_.request.body) == ("PUT", "Observation/o1", b"{}")
    assert headers[b"if-match"] == b'W/"2"'
    assert headers[b"x-meta-snapshot-mode"] == b"TAG"


@pytest.mark.parametrize(
    ("action", "current", "prior"),
    [
        (UndoAction.NOTHING, seen("2"), None),
        (UndoAction.DELETE, Absent(deleted=True), None),
        (UndoAction.RESTORE, Absent(), PRIOR),
        (UndoAction.RESTORE, seen("3"), PRIOR),  # the prior content is back, by whomever
    ],
)
def test_what_is_undone_already(action: UndoAction, current: Seen | Absent, prior: JsonObject | None) -> None:
    assert prepare(UPDATED, action, current, prior, HAPI) == Proven()


@pytest.mark.parametrize(
    ("action", "current", "prior"),
    [
        (UndoAction.DELETE, seen("3"), None),
        (UndoAction.RESTORE, seen("3", status="amended"), PRIOR),
        (UndoAction.RESTORE, seen("3", status="amended", source="#Ubcdefghijklmnop"), PRIOR),
        (UndoAction.RESTORE, seen("3"), None),
    ],
)
def test_another_version_is_not_touched(action: UndoAction, current: Seen, prior: JsonObject | None) -> None:
    assert isinstance(prepare(UPDATED, action, current, prior, HAPI), Blocked)


@pytest.mark.parametrize(
    ("action", "given", "current", "expected"),
    [
        (UndoAction.DELETE, answer(204), Absent(deleted=True), Proven()),
        (UndoAction.DELETE, None, Absent(), Proven()),
        (UndoAction.RESTORE, answer(200, etag='W/"3"'), seen("3"), Proven()),
        (UndoAction.RESTORE, None, seen("3", source="#Ubcdefghijklmnop"), Proven()),
    ],
)
def test_an_undo_is_proven_by_the_read_back(
    action: UndoAction, given: UpstreamAnswer | None, current: Seen | Absent, expected: Proven
) -> None:
    assert judge(UPDATED, action, given, current, PRIOR) == expected


STATUSES = {
    None: (408, 425, 429, 500, 502, 503, 504, 599),
    Refusal.PASSING: (200, 202, 204, 401, 404, 409, 410, 412, 423, 428),
    Refusal.FINAL: (400, 403, 405, 406, 413, 414, 415, 422, 451, 501, 505),
}


@pytest.mark.parametrize(("kind", "status"), [(kind, each) for kind, many in STATUSES.items() for each in many])
def test_an_undo_that_did_not_happen_is_tried_again(kind: Refusal | None, status: int) -> None:
    outcome = judge(UPDATED, UndoAction.DELETE, answer(status), seen("2"), None)
    assert isinstance(outcome, Deferred)
    assert outcome.refused is kind
    assert refusal(status) is kind


def test_an_undo_without_an_answer_is_no_refusal() -> None:
    outcome = judge(UPDATED, UndoAction.DELETE, None, seen("2"), None)
    assert outcome == Deferred(reason="the server could not undo it now")


@pytest.mark.parametrize(
    ("given", "current", "words"),
    [
        (answer(412), seen("3", status="amended"), "another writer"),
        (answer(200, etag='W/"4"'), seen("5", status="amended"), "another writer"),
        (answer(200), seen("5", status="amended"), "another writer"),
        (answer(200, etag='W/"3"'), seen("3", status="amended"), "other content"),
    ],
)
def test_an_undo_that_met_a_stranger_stops(given: UpstreamAnswer, current: Seen, words: str) -> None:
    outcome = judge(UPDATED, UndoAction.RESTORE, given, current, PRIOR)
    assert isinstance(outcome, Blocked)
    assert words in outcome.reason


POST = replace(CREATED, stored_id=None, stored_version=None, created=None)
PUT = replace(POST, interaction=InteractionCode.UPDATE, id="o1")
PLACE = "http://h/fhir/Observation/o1/_history/1"


@pytest.mark.parametrize(
    ("intent", "given", "expected"),
    [
        (POST, answer(201, location=PLACE, etag='W/"1"'), Stored(id="o1", version="1", created=True)),
        (POST, answer(201, location=PLACE), Stored(id="o1", version="1", created=True)),
        (POST, answer(201, location="Observation/o1", etag='"1"'), Stored(id="o1", version="1", created=True)),
        (POST, answer(201, location="Observation/o1/_history/7"), Stored(id="o1", version="7", created=None)),
        (PUT, answer(201, etag='W/"1"'), Stored(id="o1", version="1", created=True)),
        (PUT, answer(201, etag='W/"4"'), Stored(id="o1", version="4", created=None)),
        (replace(PUT, prior_tombstone="3"), answer(201, etag='W/"4"'), Stored(id="o1", version="4", created=True)),
        (PUT, answer(200, content_location=PLACE), Stored(id="o1", version="1", created=False)),
        (replace(POST, if_none_exist="a=b"), answer(200, location=PLACE), Matched()),
        (POST, answer(422), Refused()),
    ],
)
def test_what_an_answer_proves(intent: Intent, given: UpstreamAnswer, expected: object) -> None:
    assert prove(intent, given, HAPI) == expected


@pytest.mark.parametrize(
    ("intent", "given"),
    [
        (POST, answer(200, location=PLACE)),
        (POST, answer(201)),
        (POST, answer(201, etag='W/"1"')),
        (POST, answer(201, location="http://h/fhir/Patient/o1/_history/1")),
        (POST, answer(201, location="http://h/fhir/Observation/o1/_history/1", etag='W/"2"')),
        (POST, answer(201, location="elsewhere", etag='W/"1"')),
        (PUT, answer(200, content_location="http://h/fhir/Observation/o2/_history/1")),
        (PUT, answer(200)),
        (PUT, answer(202, etag='W/"1"')),
        (PUT, answer(204)),
        (PUT, answer(302)),
        (PUT, answer(408)),
        (PUT, answer(500)),
    ],
)
def test_what_an_answer_does_not_prove(intent: Intent, given: UpstreamAnswer) -> None:
    assert isinstance(prove(intent, given, HAPI), Doubt)


def test_a_put_without_a_location_is_where_it_was_sent() -> None:
    assert located(answer(200)) is None
    assert etag_version(answer(200, etag="garbage")) is None
    assert isinstance(prove(PUT, answer(201, location="elsewhere", etag='W/"1"'), HAPI), Stored)


@pytest.mark.parametrize(
    ("version", "after", "before"),
    [("1", "2", None), ("9", "10", "8"), ("abc", None, None), ("1" * 19, None, None), (None, "1", None)],
)
def test_numbered_versions(version: str | None, after: str | None, before: str | None) -> None:
    assert HAPI.after(version) == after
    if version is not None:
        assert HAPI.before(version) == before
    uncounted = replace(HAPI, numbered_versions=False)
    assert uncounted.after(version) is None
    assert not uncounted.is_first("1")
    assert uncounted.before("3") is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1}, {"a": 1, "meta": {"versionId": "2", "lastUpdated": "x", "source": "#y"}}, True),
        ({"a": 1, "meta": {"tag": []}}, {"a": 1}, True),
        ({"meta": {"tag": [{"code": "a"}, {"code": "b"}]}}, {"meta": {"tag": [{"code": "b"}, {"code": "a"}]}}, True),
        ({"meta": {"tag": [{"code": "a"}]}}, {}, False),
        ({"meta": {"extension": [1]}}, {"meta": {"extension": [1]}}, True),
        ({"id": "1"}, {"id": "2"}, False),
    ],
)
def test_same_content(one: JsonObject, other: JsonObject, same: bool) -> None:
    assert same_content(one, other) is same


def test_ids() -> None:
    assert same_content({"id": "1"}, {"id": "2"}, ignore_id=True)
    assert request_id_of({"meta": {"source": "http://c#x#abc"}}) == "abc"
    assert request_id_of({"meta": {"source": "http://c"}}) is None
    assert request_id_of({}) is None
    made = new_write_id()
    assert len(made) == WRITE_ID_LENGTH
    assert undo_id(made) == "U" + made[1:]
