"""A real gateway process dies at each of its crash points, and another goes on from its journal.

The sandbox's log is the truth (PROMISES 3 to 8): what was stored, what was removed, and what was sent twice.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.saga.settle import CrashPoint
from tests.faults.processes import MUST_NOT_STAY, Gateway, Hospital, Nursery, observation

WRITES = ("create", "update", "update-as-create", "conditional-create")
NOTES = {"allowed": "", "forbidden": MUST_NOT_STAY}
_UP_TO_STORED = (CrashPoint.AFTER_SEND, CrashPoint.AFTER_STORED)
REACHED = {
    "allowed": (*_UP_TO_STORED, CrashPoint.AFTER_COMMITTED),
    "forbidden": (*_UP_TO_STORED, CrashPoint.AFTER_COMPENSATING, CrashPoint.AFTER_UNDO, CrashPoint.AFTER_UNDONE),
}
SENT = [(write, verdict, point) for write in WRITES for verdict in REACHED for point in REACHED[verdict]]
UNSENT = [(write, verdict) for write in WRITES for verdict in NOTES]
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Push:
    """One write of one kind, and how the server's log shows what became of it."""

    hospital: Hospital
    write: str
    verdict: str
    id: str
    before: int

    @classmethod
    def prepared(cls, hospital: Hospital, write: str, verdict: str) -> "Push":
        id_ = f"case-{next(_numbers)}"
        if write == "update":
            hospital.put(id_, "preliminary")
        return cls(hospital, write, verdict, id_, len(hospital.events()))

    def send(self, gateway: Gateway) -> httpx.Response | None:
        note = NOTES[self.verdict]
        if self.write.startswith("update"):
            return gateway.push("PUT", f"Observation/{self.id}", observation(note=note, id=self.id))
        identifier = [{"system": "urn:case", "value": self.id}]
        headers = {"if-none-exist": f"identifier=urn:case|{self.id}"} if self.write.startswith("cond") else {}
        return gateway.push("POST", "Observation", observation(note=note, identifier=identifier), **headers)

    def writes(self) -> list[dict[str, Any]]:
        """Every write since; of a test that runs by itself all are its own."""
        return [event for event in self.hospital.events()[self.before :] if event["method"] != "GET"]

    def check(self) -> None:
        """Exactly once sent; there if allowed, else as if it had never been; and nothing else was touched."""
        writes = self.writes()
        changes = [event for event in writes if event["effect"] != "none"]
        own = [event for event in writes if not event["request_id"].startswith("U")]
        assert len(own) == 1, writes
        assert {event["target"] for event in changes} == {own[0]["target"]}
        assert changes[0] == own[0]
        assert len(changes) == (1 if self.verdict == "allowed" else 2), changes
        current = self.hospital.current(own[0]["target"])
        if self.verdict == "allowed":
            assert current is not None
            assert current["status"] == "final"
        elif self.write == "update":
            assert current is not None
            assert current["status"] == "preliminary"
        else:
            assert current is None


def test_killed_before_anything_left(tmp_path: Path, nursery: Nursery, hospital: Hospital) -> None:
    """Nothing is ever sent for a client that is long gone; that takes as long as the write could still be applied."""
    before = len(hospital.events())
    points = (CrashPoint.BEFORE_INTENT, CrashPoint.AFTER_INTENT)
    cases = [(write, verdict, point) for write, verdict in UNSENT for point in points]

    def die(number: int) -> Gateway:
        write, verdict, point = cases[number]
        made = Gateway(tmp_path / str(number), nursery, hospital).start(FHIR_GATEWAY_CRASH_AT=point.value)
        assert Push.prepared(hospital, write, verdict).send(made) is None
        assert made.ended() == -9
        return made.start()

    with ThreadPoolExecutor(4) as pool:
        gateways = list(pool.map(die, range(len(cases))))
    try:
        for gateway, (_, _, point) in zip(gateways, cases, strict=True):
            gateway.settled()
            assert gateway.states() == ({} if point is CrashPoint.BEFORE_INTENT else {"rejected": 1})
    finally:
        for gateway in gateways:
            gateway.kill()
    written = [each for each in hospital.events()[before:] if each["method"] != "GET"]
    assert {each["target"] for each in written} <= {f"Observation/case-{number}" for number in range(1, next(_numbers))}
    assert all(hospital.current(each["target"])["status"] == "preliminary" for each in written)  # type: ignore[index]


@pytest.mark.parametrize(("write", "verdict", "point"), SENT)
def test_killed(gateway: Gateway, hospital: Hospital, write: str, verdict: str, point: CrashPoint) -> None:
    push = Push.prepared(hospital, write, verdict)
    gateway.start(FHIR_GATEWAY_CRASH_AT=point.value)
    assert push.send(gateway) is None
    assert gateway.ended() == -9
    gateway.start().settled()
    push.check()
    assert gateway.states() == {"committed" if verdict == "allowed" else "undone": 1}


@pytest.mark.parametrize(("write", "verdict", "point"), SENT)
def test_told_to_stop(gateway: Gateway, hospital: Hospital, write: str, verdict: str, point: CrashPoint) -> None:
    """SIGTERM at the same points: the client gets its answer, and the process ends well."""
    push = Push.prepared(hospital, write, verdict)
    gateway.start(FHIR_GATEWAY_CRASH_AT=point.value, FHIR_GATEWAY_CRASH_SIGNAL="SIGTERM")
    answer = push.send(gateway)
    assert answer is not None
    assert answer.is_success == (verdict == "allowed")
    assert gateway.ended() == 0
    push.check()


@pytest.mark.parametrize("point", [CrashPoint.AFTER_CLAIM, CrashPoint.AFTER_COMPENSATING, CrashPoint.AFTER_UNDO])
@pytest.mark.parametrize("write", ["create", "update"])
def test_killed_again_in_recovery(gateway: Gateway, hospital: Hospital, write: str, point: CrashPoint) -> None:
    push = Push.prepared(hospital, write, "forbidden")
    gateway.start(FHIR_GATEWAY_CRASH_AT=CrashPoint.AFTER_SEND.value)
    assert push.send(gateway) is None
    assert gateway.ended() == -9
    gateway.launch(FHIR_GATEWAY_CRASH_AT=point.value)
    assert gateway.ended() == -9
    gateway.start().settled()
    push.check()
    assert gateway.states() == {"undone": 1}
