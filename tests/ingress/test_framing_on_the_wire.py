"""Every row of tests/cases/framing.yaml against a real server on a real socket."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.yaml_positions import read
from tests.ingress.wire import Connection, Recorder, Wire, serving

CASES: Any = read(Path(__file__).parents[1].joinpath("cases/framing.yaml").read_text()).value


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with serving() as running:
        yield running


def _bytes(text: str) -> bytes:
    return text.replace("{1000 x}", "x" * 1000).encode("latin-1")


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(wire: Wire, case: dict[str, Any]) -> None:
    wire.app.seen.clear()
    with wire.connect() as connection:
        connection.send(_bytes(case["send"]))
        answers = [connection.answer() for _ in case["answers"]]
        for answer in answers:
            assert answer is not None
            if answer.status >= 400:
                assert json.loads(answer.body)["resourceType"] == "OperationOutcome"
                assert answer.headers["content-type"].startswith("application/fhir+json")
                assert len(answer.headers["x-decision-id"]) == 32
        assert [answer.status for answer in answers if answer] == case["answers"]
        if case.get("closed"):
            assert connection.rest() == b""
        else:
            connection.send(b"GET /fhir/still-open HTTP/1.1\r\nHost: a\r\n\r\n")
            after = connection.answer()
            assert after is not None
            assert after.status == 200
    assert [line for line in wire.app.seen if "still-open" not in line] == case.get("seen", [])


def _statuses(connection: Connection) -> list[int]:
    return [answer.status for answer in connection.answers()]


def test_too_many_headers(wire: Wire) -> None:
    lines = "".join(f"X-{number}: a\r\n" for number in range(100))
    with wire.connect() as connection:
        connection.send(f"GET /fhir/Patient/1 HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
        assert _statuses(connection) == [431]


def test_one_header_that_is_too_large(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.send(b"GET /fhir/Patient/1 HTTP/1.1\r\nHost: a\r\nX-Big: " + b"a" * 33_000 + b"\r\n\r\n")
        assert _statuses(connection) == [431]


def test_a_header_block_without_end_is_cut_off_early(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.send(b"GET /fhir/Patient/1 HTTP/1.1\r\nHost: a\r\nX-Big: " + b"a" * 60_000)
        assert _statuses(connection) == [431]


def test_a_request_line_without_end_is_cut_off_early(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.send(b"GET /fhir/" + b"a" * 60_000)
        assert _statuses(connection) == [431]


@pytest.mark.parametrize("between", [b"2;a=", b"2\r\n{}\r\n0\r\nX-Trailer: "])
def test_a_megabyte_between_chunks_is_cut_off_early(wire: Wire, between: bytes) -> None:
    with wire.connect() as connection:
        connection.send(b"POST /fhir/Observation HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + between)
        for _ in range(20):
            connection.send(b"b" * 10_000)
        assert _statuses(connection) == [400]


def test_a_large_body_is_not_taken_for_idle_bytes(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.send(
            b"POST /fhir/Observation HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
        )
        assert _statuses(connection) == [413]


def test_a_slow_head_is_answered_and_closed_at_the_deadline(wire: Wire) -> None:
    wire.app.rejected.clear()
    began = time.monotonic()
    with wire.connect() as connection:
        for byte in b"GET /fhir":
            connection.send(bytes([byte]))
            time.sleep(0.02)
        assert _statuses(connection) == [408]
    assert 0.4 < time.monotonic() - began < 2.5
    assert wire.app.rejected == ["timeout"]


def test_a_connection_that_says_nothing_is_closed_silently(wire: Wire) -> None:
    with wire.connect() as connection:
        assert connection.rest() == b""


def test_a_second_head_that_never_ends_is_cut_off(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.send(b"GET /fhir/Patient/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.send(b"GET /fhir/Patient/2 HTT")
        assert _statuses(connection) == [200, 408]


def test_a_slow_body_is_answered_and_closed_at_the_deadline(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.send(b"POST /fhir/Observation HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        answer = connection.answer()
        assert answer is not None
        assert answer.status == 408
        assert 0.4 < time.monotonic() - began < 2.5


def test_slow_clients_do_not_slow_others_down(wire: Wire) -> None:
    slow = [wire.connect() for _ in range(20)]
    for connection in slow:
        connection.send(b"GET /fhir/Pat")
    began = time.monotonic()
    with wire.connect() as connection:
        connection.send(b"GET /fhir/Patient/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = connection.answer()
    assert answer is not None
    assert answer.status == 200
    assert time.monotonic() - began < 0.3
    for connection in slow:
        connection.close()


def test_the_rest_of_a_body_that_was_answered_early_may_not_trickle_for_ever(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.send(b"POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
        answer = connection.answer()
        assert answer is not None
        assert answer.status == 404
        began = time.monotonic()
        assert connection.rest() == b""
        assert time.monotonic() - began < 2.5


def test_an_answer_in_progress_outlives_the_deadline_of_a_head() -> None:
    with serving(head_seconds=0.15, app=Recorder(delay=0.4)) as running, running.connect() as connection:
        connection.send(b"POST /fhir/Observation HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET /fhir/Pa")
        time.sleep(0.3)
        connection.send(b"tient/2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert _statuses(connection) == [200, 200]


def test_an_early_refusal_reaches_a_client_that_is_still_sending(wire: Wire) -> None:
    with wire.connect() as connection:
        connection.send(b"POST /fhir/Observation HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n")
        for _ in range(40):
            connection.send(b"x" * 100_000)
        answer = connection.answer()
        assert answer is not None
        assert answer.status == 413
