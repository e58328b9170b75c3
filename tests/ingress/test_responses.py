"""Every error has one status; refusals of policies get the gravest."""

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from gateway import errors
from gateway.errors import GatewayError, Issue, IssueCode
from gateway.ingress.refusing import ConnectionRefusals, rejection_reason
from gateway.ingress.responses import (
    FHIR_JSON,
    STATUS,
    Reply,
    closing,
    error_reply,
    refusal_reply,
    refusal_status,
    send_reply,
    send_stream,
    status_of,
)

ISSUE = Issue(code=IssueCode.FORBIDDEN, text="No.")
ID = "decision-1"


def subclasses(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for child in kind.__subclasses__():
        if child.__module__ == "gateway.errors":
            yield child
            yield from subclasses(child)


def test_every_error_has_a_status() -> None:
    assert set(subclasses(GatewayError)) == set(STATUS)


def test_a_new_subclass_answers_like_its_parent() -> None:
    class Odd(errors.Conflict):
        pass

    assert status_of(Odd(ISSUE)) == 409


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (errors.Unauthenticated(ISSUE), 401, {b"www-authenticate": b'Bearer realm="fhir"'}),
        (
            errors.Unauthenticated(ISSUE, error="invalid_token"),
            401,
            {b"www-authenticate": b'Bearer realm="fhir", error="invalid_token"'},
        ),
        (errors.Forbidden(ISSUE), 403, {}),
        (
            errors.Forbidden(ISSUE, missing_scope='system/Patient.c" x="'),
            403,
            {b"www-authenticate": b'Bearer realm="fhir", error="insufficient_scope", scope="system/Patient.c x="'},
        ),
        (errors.InteractionNotSupported(ISSUE, allowed=("GET", "PUT")), 405, {b"allow": b"GET, PUT"}),
        (errors.InteractionNotSupported(ISSUE), 405, {b"allow": b""}),
        (errors.Throttled(ISSUE, retry_after=7), 429, {b"retry-after": b"7"}),
        (errors.Unavailable(ISSUE, retry_after=9), 503, {b"retry-after": b"9"}),
        (errors.UpstreamTimedOut(ISSUE), 504, {}),
    ],
)
def test_errors_and_their_headers(error: GatewayError, status: int, headers: dict[bytes, bytes]) -> None:
    reply = error_reply(error, ID)
    assert reply.status == status
    assert dict(reply.headers) == {FHIR_JSON[0]: FHIR_JSON[1], **headers}
    outcome = json.loads(reply.body)
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["code"] == "forbidden"
    assert not reply.close


@pytest.mark.parametrize("kind", [errors.BadFraming, errors.RequestTimedOut, errors.TooLarge, errors.HeadersTooLarge])
def test_doubtful_framing_ends_the_connection(kind: type[GatewayError]) -> None:
    assert error_reply(kind(ISSUE), ID).close


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        (["business-rule"], 422),
        (["invalid", "required", "value", "code-invalid"], 422),
        (["forbidden"], 403),
        (["business-rule", "suppressed"], 403),
        (["conflict", "business-rule"], 409),
        (["conflict", "forbidden"], 403),
        (["too-long", "value"], 413),
        (["not-supported"], 501),
        (["transient"], 503),
        (["no-store"], 503),
        (["timeout"], 504),
        (["throttled"], 429),
        (["transient", "timeout"], 503),
        (["transient", "business-rule"], 422),
        (["exception", "transient"], 500),
        (["login", "forbidden"], 401),
        (["not-found"], 404),
        (["deleted"], 410),
        (["multiple-matches"], 412),
        ([], 422),
    ],
)
def test_the_gravest_refusal_decides(codes: list[str], status: int) -> None:
    assert refusal_status(IssueCode(code) for code in codes) == status


def test_every_code_has_a_status_of_refusal() -> None:
    assert all(400 <= refusal_status([code]) < 600 for code in IssueCode)


def test_a_refusal_lists_every_issue() -> None:
    issues = (Issue(code=IssueCode.BUSINESS_RULE, text="a"), Issue(code=IssueCode.CONFLICT, text="b"))
    reply = refusal_reply(issues, ID)
    assert reply.status == 409
    assert [issue["details"]["text"] for issue in json.loads(reply.body)["issue"]] == ["a", "b"]
    assert refusal_reply(issues, ID, status=500).status == 500


def test_refusals_that_pass_say_when_to_come_back() -> None:
    reply = refusal_reply((Issue(code=IssueCode.THROTTLED, text="a"),), ID)
    assert (b"retry-after", b"5") in reply.headers
    reply = refusal_reply((Issue(code=IssueCode.LOGIN, text="a"),), ID)
    assert (b"www-authenticate", b'Bearer realm="fhir"') in reply.headers


class Sent:
    def __init__(self) -> None:
        self.messages: list[MutableMapping[str, Any]] = []

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self.messages.append(message)


async def test_every_answer_names_its_decision() -> None:
    sent = Sent()
    await send_reply(sent, Reply(status=200, headers=(FHIR_JSON,), body=b"{}"), ID)
    start, body = sent.messages
    assert (b"x-decision-id", b"decision-1") in start["headers"]
    assert (b"content-length", b"2") in start["headers"]
    assert body == {"type": "http.response.body", "body": b"{}", "more_body": False}


async def test_no_content_has_no_length() -> None:
    sent = Sent()
    await send_reply(sent, Reply(status=204, headers=(), body=b""), ID)
    assert b"content-length" not in dict(sent.messages[0]["headers"])


async def test_a_closing_answer_is_complete_before_the_rest_is_thrown_away() -> None:
    sent = Sent()
    seen_at_receive: list[int] = []
    arriving = [
        {"type": "http.request", "body": b"x" * 10, "more_body": True},
        {"type": "http.request", "body": b"x" * 10, "more_body": False},
    ]

    async def receive() -> MutableMapping[str, Any]:
        seen_at_receive.append(len(sent.messages))
        return arriving.pop(0)

    reply = closing(Reply(status=413, headers=(), body=b"no"))
    await send_reply(sent, reply, ID, receive)
    assert seen_at_receive == [2, 2]
    assert (b"connection", b"close") in sent.messages[0]["headers"]
    assert [message.get("body") for message in sent.messages[1:]] == [b"no", b""]


async def test_a_stream_is_passed_on_piece_by_piece() -> None:
    async def chunks() -> Any:
        for chunk in (b"a", b"", b"b"):
            yield chunk

    sent = Sent()
    await send_stream(sent, status=200, headers=((b"etag", b'W/"1"'),), decision_id=ID, chunks=chunks())
    assert [message.get("body") for message in sent.messages] == [None, b"a", b"b", b""]
    assert [message.get("more_body") for message in sent.messages] == [None, True, True, False]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.BadFraming(ISSUE), "framing"),
        (errors.HeadersTooLarge(ISSUE), "headers_too_large"),
        (errors.RequestTimedOut(ISSUE), "timeout"),
        (errors.NotFound(ISSUE), "other"),
    ],
)
def test_refused_connections_are_counted_and_named(error: GatewayError, reason: str) -> None:
    counted: list[str] = []
    reply = ConnectionRefusals(lambda: ID, counted.append)(error)
    assert counted == [reason] == [rejection_reason(error)]
    assert (b"x-decision-id", b"decision-1") in reply.headers
