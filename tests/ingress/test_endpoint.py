"""The edge itself: too many at once, defects, and connections that break off."""

import asyncio
from collections.abc import MutableMapping
from typing import Any, cast

from gateway.errors import GatewayError
from gateway.ingress.endpoint import Bases, Endpoint
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.request import Answer, Own, Request, Trace


class Notes:
    """A record that keeps what it was told."""

    def __init__(self) -> None:
        self.in_flight_told: list[int] = []
        self.ended: list[tuple[int, str | None]] = []

    def in_flight(self, requests: int) -> None:
        self.in_flight_told.append(requests)

    def __call__(self, trace: Trace, status: int, problem: GatewayError | None) -> None:
        self.ended.append((status, type(problem).__name__ if problem else None))


class Line:
    """Stands where the straight line begins: answers when told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def answer(self, request: Request, trace: Trace) -> Answer:
        await self.go.wait()
        if request.path == b"defect":
            raise ZeroDivisionError("a secret text")
        return Own(body=b"{}")


def endpoint(line: Line, notes: Notes, most: int = 1_000) -> Endpoint:
    return Endpoint(
        cast("Dispatcher", line),
        Bases(upstream="http://upstream/fhir", public="http://public/fhir", path=b"/fhir"),
        new_decision_id=lambda: "d",
        record=notes,
        body_limit=1_000,
        most_in_flight=most,
    )


async def ask(app: Endpoint, path: bytes = b"/fhir/metadata") -> tuple[int, bytes]:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope: dict[str, object] = {"type": "http", "http_version": "1.1", "method": "GET", "raw_path": path}
    await app({**scope, "query_string": b"", "headers": [(b"host", b"public")]}, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def test_past_the_limit_a_request_is_turned_away_at_once() -> None:
    line, notes = Line(), Notes()
    app = endpoint(line, notes, most=2)
    waiting = [asyncio.create_task(ask(app)) for _ in range(2)]
    await asyncio.sleep(0)
    status, body = await ask(app)
    assert status == 503
    assert b"Too many requests" in body
    line.go.set()
    assert [status for status, _ in await asyncio.gather(*waiting)] == [200, 200]
    assert (await ask(app))[0] == 200
    assert len(notes.ended) == 4
    assert notes.in_flight_told == [1, 2, 3, 2, 1, 0, 1, 0]
    assert notes.ended[0] == (503, "TooBusy")


async def test_a_defect_refuses_and_tells_nothing() -> None:
    line, notes = Line(), Notes()
    line.go.set()
    status, body = await ask(endpoint(line, notes), b"/fhir/defect")
    assert status == 500
    assert b"secret" not in body
    assert b"exception" in body
    assert notes.ended == [(500, "Internal")]
