"""The admin port's answers."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import pytest

from gateway.observe.admin import admin_app


@dataclass
class State:
    has_started: bool = True
    missing: tuple[str, ...] = ()

    def started(self) -> bool:
        return self.has_started

    def not_ready(self) -> tuple[str, ...]:
        return self.missing

    def describe(self) -> Mapping[str, object]:
        return {"revision": "abc"}


async def get(state: State, path: str, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(admin_app(state, lambda: b"# metrics\n"))
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        return await client.request(method, path)


@pytest.mark.parametrize(
    ("state", "path", "status", "text"),
    [
        (State(), "/livez", 200, "ok"),
        (State(has_started=False), "/livez", 200, "ok"),
        (State(), "/startupz", 200, "ok"),
        (State(has_started=False), "/startupz", 503, "starting"),
        (State(missing=("journal",)), "/startupz", 200, "ok"),
        (State(), "/readyz", 200, "ok"),
        (State(has_started=False), "/readyz", 503, "starting"),
        (State(missing=("journal", "keys")), "/readyz", 503, "not ready: journal, keys"),
        (State(), "/metrics", 200, "# metrics"),
        (State(), "/fhir/metadata", 404, "Not Found"),
        (State(), "/", 404, "Not Found"),
    ],
)
async def test_answers(state: State, path: str, status: int, text: str) -> None:
    answer = await get(state, path)
    assert answer.status_code == status
    assert answer.text.strip() == text


async def test_status_is_json_and_nothing_is_cached() -> None:
    answer = await get(State(), "/status")
    assert answer.json() == {"revision": "abc"}
    assert answer.headers["cache-control"] == "no-store"


async def test_metrics_have_the_exposition_type() -> None:
    assert (await get(State(), "/metrics")).headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_nothing_can_be_changed() -> None:
    assert (await get(State(), "/status", "POST")).status_code == 405
