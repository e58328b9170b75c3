"""A real gateway process runs out of memory with writes in flight: it is dead or well, and never half-dead."""

import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from gateway import exhausted
from tests.faults.processes import MUST_NOT_STAY, Gateway, Hospital, observation

MEGABYTE = 1_000_000
BIG = [{"url": f"http://example.org/{number}", "valueString": "v" * 20} for number in range(30_000)]
SECONDS = 5.0


def limit(pid: int, spare: int) -> None:
    """The address space may grow by so many bytes more."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[0])
    most = pages * resource.getpagesize() + spare
    resource.prlimit(pid, resource.RLIMIT_AS, (most, most))


def is_well(gateway: Gateway) -> bool:
    try:
        return httpx.get(f"{gateway.admin}/readyz", trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def dead_or_well(gateway: Gateway) -> int | None:
    """The exit code, or None when it works on."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        code = gateway.nursery.exit_code(gateway.pid)
        if code is not None or is_well(gateway):
            return code
        time.sleep(0.05)
    raise AssertionError("half-dead: " + (gateway.folder / "log").read_text()[-3000:])


@pytest.mark.parametrize("spare", [12, 20])
def test_out_of_memory(gateway: Gateway, hospital: Hospital, spare: int) -> None:
    """RUST_BACKTRACE=1 let a panic for want of memory wait for its own lock, with the interpreter in its hands."""
    gateway.start(RUST_BACKTRACE="1")
    before, names = len(hospital.events()), [f"memory-{spare}-{number}" for number in range(24)]
    forbidden = set(names[::4])

    def push(number: int) -> httpx.Response | None:
        id_ = names[number]
        note = MUST_NOT_STAY if id_ in forbidden else ""
        body = observation(id=id_, note=note, extension=BIG if number % 2 else BIG[:1])
        return gateway.push("PUT", f"Observation/{id_}", body)

    limit(gateway.pid, spare * MEGABYTE)
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(push, range(len(names))))
    code = dead_or_well(gateway)
    assert code is None or code == exhausted.EXIT_CODE or code < 0, code
    assert code is not None or not any(answer is None or answer.status_code == 500 for answer in answers)
    gateway.kill()
    gateway.start().settled()

    writes = [event for event in hospital.events()[before:] if event["method"] == "PUT"]
    sent = [event["target"] for event in writes if not event["request_id"].startswith("U")]
    assert len(sent) == len(set(sent))  # at most once
    for id_, answer in zip(names, answers, strict=True):
        current = hospital.current(f"Observation/{id_}")
        if id_ in forbidden:
            assert current is None
            assert answer is None or answer.status_code >= 400
        elif answer is not None and answer.status_code < 300:
            assert current is not None
