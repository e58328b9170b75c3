"""What becomes of a write when something breaks at the worst moment: a real gateway process before the sandbox.

The sandbox's log is the truth: what was stored, what was removed, and that nothing was sent twice. Crashes at each
point are in tests/faults/test_crash_points.py.
"""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.sandbox.running import gateway_command, sandbox
from tests.e2e.door import AUDIENCE, FHIR_JSON, Door
from tests.e2e.records import MEMBER, MUST_NOT_STAY, patient, result, text
from tests.e2e.servers import SandboxTokens

ALLOWED, FORBIDDEN = result(), result(note=[{"text": MUST_NOT_STAY}])


class World:
    """A sandbox, its switches and log, and a gateway in front of it (not started)."""

    def __init__(self, folder: Path) -> None:
        held = folder / "member.json"
        held.write_text(text(patient(MEMBER)))
        self.child, base, issuer = sandbox(folder, audience=AUDIENCE, load=[held])
        self.child.start().wait_ready()
        self.control = f"{base.removesuffix('/fhir')}/__sandbox"
        self.door = Door(folder, base, SandboxTokens(issuer=issuer))

    def quirks(self, **switches: object) -> None:
        self.door.client.patch(f"{self.control}/quirks", json=switches).raise_for_status()

    def changes(self) -> list[dict[str, Any]]:
        """Every change of the store, in order."""
        events = self.door.client.get(f"{self.control}/events").json()
        return [event for event in events if event["effect"] != "none"]

    def effects(self) -> list[str]:
        return [change["effect"] for change in self.changes()]

    def until(self, effects: list[str], seconds: float = 20) -> None:
        """Waits for exactly these changes. Raises AssertionError with the end of the gateway's log."""
        deadline = time.monotonic() + seconds
        while self.effects() != effects:
            assert time.monotonic() < deadline, f"{self.effects()}\n{self.door.process.last_lines()}"
            time.sleep(0.05)

    def push(self, record: dict[str, object]) -> httpx.Response | None:
        """One create; None when the connection broke."""
        try:
            return self.door.ask("POST", "Observation", content=text(record))
        except httpx.TransportError:
            return None

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        lines = self.door.client.get(f"{self.door.admin}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.door.close()
    world.child.stop()


@pytest.mark.parametrize("switches", [{"drop_answer_after_store": True}, {"error_though_stored": True}])
def test_a_write_whose_answer_was_lost_is_found_and_judged(world: World, switches: dict[str, bool]) -> None:
    world.door.start()
    world.quirks(**switches, strikes=1)
    answer = world.push(FORBIDDEN)
    assert answer is not None
    assert answer.status_code >= 400
    world.until(["created", "deleted"])
    world.quirks(**switches, strikes=1)
    kept = world.push(ALLOWED)
    assert kept is not None
    world.door.settled()
    assert world.effects() == ["created", "deleted", "created"]
    outcome = world.door.ask("GET", f"$write-outcome?decision={kept.headers['x-decision-id']}")
    assert "committed" in outcome.text


def test_a_server_that_does_not_delete_leaves_a_stuck_write_and_an_alarm(world: World) -> None:
    world.quirks(delete_forbidden=True)
    world.door.start()
    answer = world.push(FORBIDDEN)
    assert answer is not None
    assert answer.status_code >= 409
    decision = answer.headers["x-decision-id"]
    deadline = time.monotonic() + 60
    while world.metric('fhir_gateway_journal_entries{state="stuck"}') < 1:
        assert time.monotonic() < deadline, world.door.process.last_lines()
        time.sleep(0.1)
    assert world.effects() == ["created"]
    command = [str(gateway_command()), "journal", "list", "--config", str(world.door.configuration()), "-o", "json"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [(entry["decision"], entry["state"]) for entry in json.loads(listed.stdout)] == [(decision, "stuck")]


def test_the_undo_never_touches_what_somebody_else_wrote(world: World) -> None:
    """Between write and undo another writer changes the record: it is his now."""
    world.quirks(read_late=3, read_late_of="Observation")
    world.door.start()
    pushing = threading.Thread(target=world.push, args=(FORBIDDEN,))
    pushing.start()
    world.until(["created"])
    path = world.changes()[0]["target"]
    body = text(result(id=path.partition("/")[2], status="amended"))
    changed = httpx.put(f"{world.door.upstream}/{path}", content=body, headers={"content-type": FHIR_JSON})
    assert changed.status_code == 200
    world.quirks(read_late=0)
    pushing.join(30)
    world.door.settled()
    assert world.effects() == ["created", "updated"]
    assert world.door.ask("GET", path, upstream=True).json()["status"] == "amended"


def test_a_client_that_goes_away_does_not_stop_its_write(world: World) -> None:
    world.quirks(answer_late=1)
    world.door.start()
    headers = {"authorization": f"Bearer {world.door.token}", "content-type": FHIR_JSON}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{world.door.base}/Observation", content=text(FORBIDDEN), headers=headers, timeout=0.3)
    world.until(["created", "deleted"])


def test_a_stop_waits_for_writes_in_flight(world: World) -> None:
    world.quirks(answer_late=1)
    world.door.start()
    answers: list[httpx.Response | None] = []
    pushing = threading.Thread(target=lambda: answers.append(world.push(ALLOWED)))
    pushing.start()
    world.until(["created"], seconds=5)
    assert world.door.process.stop() == 0
    pushing.join(10)
    (answer,) = answers
    assert answer is not None
    assert answer.status_code == 201


def test_a_server_that_is_down_stores_nothing_and_is_said_to_be(world: World) -> None:
    world.door.start()
    assert world.push(ALLOWED) is not None
    world.child.stop()
    answer = world.push(result(status="amended"))
    assert answer is not None
    assert answer.status_code in {502, 503, 504}
    assert answer.json()["resourceType"] == "OperationOutcome"
    ready = world.door.client.get(f"{world.door.admin}/livez")
    assert ready.status_code == 200


def test_a_slow_write_is_settled_after_the_client_was_told(world: World) -> None:
    """The server applies the write after the gateway has stopped waiting: found later, and removed."""
    world.quirks(apply_late=3, strikes=1)
    world.door.start(FHIR_GATEWAY_UPSTREAM__TIMEOUT="1s")
    answer = world.push(FORBIDDEN)
    assert answer is not None
    assert answer.status_code >= 500
    world.until(["created", "deleted"], seconds=30)


def test_several_workers_share_the_port_the_journal_and_the_metrics(world: World) -> None:
    world.door.start(FHIR_GATEWAY_WORKERS="2")
    for number in range(12):
        # A connection each: the kernel spreads connections over the workers.
        headers = {"authorization": f"Bearer {world.door.token}", "content-type": FHIR_JSON}
        record = text(FORBIDDEN if number % 2 else ALLOWED)
        answer = httpx.post(f"{world.door.base}/Observation", content=record, headers=headers, trust_env=False)
        assert answer.status_code == (409 if number % 2 else 201), answer.text
    assert sorted(world.effects()) == ["created"] * 12 + ["deleted"] * 6
    time.sleep(0.5)  # the workers write their counts into the shared folder ten times a second
    assert world.metric("fhir_gateway_decisions_total{") == 12
    assert world.door.process.stop() == 0
