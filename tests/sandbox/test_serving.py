"""The sandbox as a process: what only a real connection shows."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.sandbox.running import Child, NotStarted, sandbox
from gateway.sandbox.serving import free_port

PATIENT = b'{"resourceType":"Patient","id":"ada"}'
HEADERS = {"content-type": "application/fhir+json"}


class Running:
    """A running sandbox and a client."""

    def __init__(self, child: Child, base: str, issuer: str, client: httpx.Client) -> None:
        self.child, self.base, self.issuer, self.client = child, base, issuer, client

    def quirks(self, **switches: float | bool | str) -> None:
        url = f"{self.base.removesuffix('/fhir')}/__sandbox/quirks"
        self.client.patch(url, json=switches).raise_for_status()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("sandbox")
    held = folder / "held.json"
    held.write_bytes(PATIENT.replace(b"ada", b"held"))
    child, base, issuer = sandbox(folder, audience="https://gateway.example/fhir", load=[held])
    with httpx.Client(trust_env=False, timeout=10) as client:
        child.start().wait_ready()
        yield Running(child, base, issuer, client)
        child.stop()


def test_resources_are_held_from_the_start(running: Running) -> None:
    assert running.client.get(f"{running.base}/Patient/held").json()["id"] == "held"


def test_the_issuer_gives_tokens_for_its_clients(running: Running) -> None:
    form = {"grant_type": "client_credentials", "client_id": "lab", "client_secret": "lab-secret"}
    answer = running.client.post(f"{running.issuer}/token", data=form)
    assert answer.json()["token_type"] == "Bearer"
    form["client_secret"] = "wrong"
    assert running.client.post(f"{running.issuer}/token", data=form).status_code == 401


def test_an_answer_can_be_dropped_after_the_write_is_stored(running: Running) -> None:
    running.quirks(drop_answer_after_store=True, strikes=1)
    with pytest.raises(httpx.RemoteProtocolError):
        running.client.put(f"{running.base}/Patient/ada", content=PATIENT, headers=HEADERS)
    assert running.client.get(f"{running.base}/Patient/ada").status_code == 200


def test_a_write_can_be_applied_after_the_client_has_given_up(running: Running) -> None:
    running.quirks(apply_late=0.3, strikes=1)
    url = f"{running.base}/Patient/late"
    with pytest.raises(httpx.ReadTimeout):
        running.client.put(url, content=PATIENT.replace(b"ada", b"late"), headers=HEADERS, timeout=0.1)
    assert running.client.get(url).status_code == 404
    time.sleep(0.5)
    assert running.client.get(url).status_code == 200


def test_reads_of_one_type_can_be_slow(running: Running) -> None:
    running.quirks(read_late=5, read_late_of="Patient")
    with pytest.raises(httpx.ReadTimeout):
        running.client.get(f"{running.base}/Patient/held", timeout=0.1)
    assert running.client.get(f"{running.base}/Observation", timeout=5).status_code == 200
    running.quirks(read_late=0)


def test_a_child_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    child = Child(["/bin/sh", "-c", "echo gone wrong; exit 7"], log=tmp_path / "log", ready="http://127.0.0.1:9/")
    with pytest.raises(NotStarted, match=r"exit code 7\ngone wrong"):
        child.start().wait_ready()
    assert child.stop() == 7


def test_a_child_that_never_answers_is_given_up(tmp_path: Path) -> None:
    ready = f"http://127.0.0.1:{free_port()}/"
    child = Child(["/bin/sleep", "30"], log=tmp_path / "log", ready=ready)
    with pytest.raises(NotStarted, match="no answer"):
        child.start().wait_ready(seconds=0.1)
    assert child.kill() == -9


def test_a_child_has_to_be_started_first(tmp_path: Path) -> None:
    child = Child(["/bin/true"], log=tmp_path / "log", ready="http://127.0.0.1:9/")
    assert child.stop() is None
    with pytest.raises(NotStarted):
        _ = child.pid
    with pytest.raises(NotStarted):
        child.wait(1)
