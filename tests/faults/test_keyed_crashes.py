"""A real gateway process dies at each crash point with a keyed write in its hands; its client comes again.

The sandbox's log is the truth: at most one write is ever applied, and what the client is told is what became of it.
"""

import itertools
import time
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gateway.saga.settle import CrashPoint
from tests.faults.processes import MUST_NOT_STAY, Gateway, Hospital, observation

JUDGED = {
    "allowed": (CrashPoint.AFTER_SEND, CrashPoint.AFTER_STORED, CrashPoint.AFTER_COMMITTED),
    "forbidden": (
        CrashPoint.AFTER_SEND,
        CrashPoint.AFTER_STORED,
        CrashPoint.AFTER_COMPENSATING,
        CrashPoint.AFTER_UNDO,
        CrashPoint.AFTER_UNDONE,
    ),
}
PLAIN = (CrashPoint.AFTER_SEND, CrashPoint.AFTER_COMMITTED)
UNSENT = (CrashPoint.BEFORE_INTENT, CrashPoint.AFTER_INTENT)
_WITHOUT_AFTER = """
policy: push
title: Results of members
permit: [create, update]
resources: [Observation]
rules:
  - id: final
    fhirpath: status = 'final'
    deny: {code: business-rule, at: status, message: Only final results.}
"""
_numbers = itertools.count(1)
CASES = [
    *(("after rule", write, verdict, point) for write in ("create", "update") for verdict in JUDGED
      for point in JUDGED[verdict]),
    *(("no after rule", write, "allowed", point) for write in ("create", "update") for point in PLAIN),
]  # fmt: skip


@dataclass(slots=True)
class Client:
    """One write under one key, sent again until it is settled."""

    gateway: Gateway
    hospital: Hospital
    write: str
    forbidden: bool
    id: str = ""
    before: int = 0

    def __post_init__(self) -> None:
        self.id = f"keyed-{next(_numbers)}"
        if self.write == "update":
            self.hospital.put(self.id, "preliminary")
        self.before = len(self.hospital.events())

    def send(self) -> httpx.Response | None:
        note = MUST_NOT_STAY if self.forbidden else ""
        key = {"idempotency-key": f'"{self.id}"'}
        if self.write == "update":
            return self.gateway.push("PUT", f"Observation/{self.id}", observation(note=note, id=self.id), **key)
        identifier = [{"system": "urn:case", "value": self.id}]
        return self.gateway.push("POST", "Observation", observation(note=note, identifier=identifier), **key)

    def insist(self, seconds: float = 40.0) -> httpx.Response:
        """As a client does: 409 and 503 mean to come again."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.send()
            assert answer is not None
            if "retry-after" not in answer.headers:
                return answer
            assert answer.status_code in (409, 503), answer.text
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.3)

    def own(self) -> list[dict[str, Any]]:
        """The writes that reached the server, without undos."""
        events = self.hospital.events()[self.before :]
        return [each for each in events if each["method"] != "GET" and not each["request_id"].startswith("U")]

    def check(self, answer: httpx.Response) -> None:
        """One write arrived; the answer tells what the server's log says; and tells it again."""
        (written,) = self.own()
        current = self.hospital.current(written["target"])
        if not self.forbidden:
            assert answer.status_code == (201 if self.write == "create" else 200)
            assert current is not None
            assert current["status"] == "final"
            assert answer.headers["etag"] == f'W/"{written["version"]}"'
            assert answer.json()["id"] == current["id"]
        else:
            assert answer.status_code == 422
            assert [issue["code"] for issue in answer.json()["issue"]] == ["business-rule", "informational"]
            assert (current or {}).get("status") == ("preliminary" if self.write == "update" else None)
        again = self.send()
        assert again is not None
        assert again.headers["idempotent-replayed"] == "true"
        assert again.status_code == answer.status_code
        told = [each.json() | {"id": ""} for each in (again, answer)]
        assert told[0] == told[1]
        assert len(self.own()) == 1


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_killed_and_asked_again(gateway: Gateway, hospital: Hospital, case: tuple[str, str, str, CrashPoint]) -> None:
    policy, write, verdict, point = case
    if policy == "no after rule":
        (gateway.folder / "policies/push.yaml").write_text(_WITHOUT_AFTER)
    client = Client(gateway, hospital, write, verdict == "forbidden")
    gateway.start(FHIR_GATEWAY_CRASH_AT=point.value)
    assert client.send() is None
    assert gateway.ended() == -9
    gateway.start()
    answer = client.insist()
    assert answer.headers["idempotent-replayed"] == "true"
    client.check(answer)
    assert sum(gateway.states().values()) == 1


@pytest.mark.parametrize("point", UNSENT)
@pytest.mark.parametrize("verdict", ["allowed", "forbidden"])
def test_killed_before_anything_left_and_asked_again(
    gateway: Gateway, hospital: Hospital, verdict: str, point: CrashPoint
) -> None:
    """Nothing was written: the key becomes free, once that is proven, and the client's next try is the first one."""
    client = Client(gateway, hospital, "create", verdict == "forbidden")
    gateway.start(FHIR_GATEWAY_CRASH_AT=point.value)
    assert client.send() is None
    assert gateway.ended() == -9
    assert client.own() == []
    gateway.start()
    first = client.send()
    assert first is not None
    if point is CrashPoint.AFTER_INTENT:
        assert first.status_code == 409  # it is being looked for
        first = client.insist()
    assert "idempotent-replayed" not in first.headers
    client.check(first)


@pytest.mark.parametrize("point", [CrashPoint.AFTER_CLAIM, CrashPoint.AFTER_COMPENSATING, CrashPoint.AFTER_UNDO])
def test_killed_again_in_recovery_and_asked_again(gateway: Gateway, hospital: Hospital, point: CrashPoint) -> None:
    client = Client(gateway, hospital, "create", forbidden=True)
    gateway.start(FHIR_GATEWAY_CRASH_AT=CrashPoint.AFTER_SEND.value)
    assert client.send() is None
    assert gateway.ended() == -9
    gateway.launch(FHIR_GATEWAY_CRASH_AT=point.value)
    assert gateway.ended() == -9
    gateway.start()
    client.check(client.insist())
