"""Starting and stopping: nothing is opened before everything is right, and nothing in flight is dropped."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from typer.testing import CliRunner

from gateway.cli.application import assemble


def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answered(admin: int) -> float:
    """How many requests the workers answered, as the admin port adds them up."""
    text = httpx.get(f"http://127.0.0.1:{admin}/metrics", trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith("fhir_gateway_http_requests_total{")]
    return sum(float(line.split()[-1]) for line in lines)


@contextlib.contextmanager
def small(start_seconds: float = 0.0) -> Iterator[tuple["subprocess.Popen[str]", int, int]]:
    script = Path(__file__).with_name("small_application.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(start_seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    try:
        clients, admin = process.stdout.readline().split()
        yield process, int(clients), int(admin)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def status(port: int, path: str) -> int:
    """0: nobody took the request: nobody listens, or the connection ended in the queue of one who did."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=10).status_code
    except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
        return 0


def test_ready_only_when_the_start_is_complete() -> None:
    with small(start_seconds=0.6) as (_, clients, admin):
        until(lambda: status(admin, "/livez") == 200)
        assert status(admin, "/readyz") == 503
        assert status(admin, "/startupz") == 503
        assert status(clients, "/") == 0
        until(lambda: status(admin, "/readyz") == 200)
        assert status(clients, "/") == 200


def test_sigterm_finishes_what_is_in_flight_and_takes_nothing_new() -> None:
    with small() as (process, clients, admin):
        until(lambda: status(admin, "/readyz") == 200)
        answers: list[int] = []
        slow = threading.Thread(target=lambda: answers.append(status(clients, "/0.8")))
        slow.start()
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        until(lambda: status(clients, "/") == 0, 2)
        assert status(admin, "/readyz") == 503
        slow.join()
        assert answers == [200]
        assert process.wait(10) == 0
        assert process.stdout.read().strip() == "stopped 3.0"


def test_sigterm_during_the_start() -> None:
    with small(start_seconds=30) as (process, _, admin):
        until(lambda: status(admin, "/livez") == 200)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_sighup_reloads() -> None:
    with small() as (process, _, admin):
        until(lambda: status(admin, "/readyz") == 200)
        process.send_signal(signal.SIGHUP)
        assert process.stdout is not None
        assert process.stdout.readline() == "reloaded\n"


class _Keys(BaseHTTPRequestHandler):
    document = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(self.document)))
        self.end_headers()
        self.wfile.write(self.document)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def keys() -> Iterator[str]:
    key = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
    handler = type(
        "Handler", (_Keys,), {"document": json.dumps({"keys": [{**key, "kid": "1", "alg": "ES256"}]}).encode()}
    )
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    CliRunner().invoke(assemble(["init"]), ["init", str(tmp_path)])
    return tmp_path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def serve(folder: Path, **environ: str) -> "subprocess.Popen[bytes]":
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve", "--config", str(folder / "gateway.yaml")],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, **environ},
        )
    # As where core dumps are on: long before it has read its own first line.
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.prlimit(process.pid, resource.RLIMIT_CORE, (hard, hard))
    return process


def test_a_wrong_configuration_opens_nothing_and_exits_with_3(folder: Path) -> None:
    path = folder / "gateway.yaml"
    path.write_text(path.read_text().replace("timeout: 30s", "timeout: 30") + "more: 1\n")
    assert serve(folder).wait(40) == 3
    lines = (folder / "stderr").read_text().splitlines()
    assert lines[0].startswith(f"{path}:10:12: timeout: must be a duration")
    assert lines[1].startswith(f"{path}:21:1: unknown key more")
    assert not (folder / "journal.db").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_wrong_policies_open_nothing_and_exit_with_3(folder: Path, workers: str) -> None:
    policy = folder / "policies/members-results.yaml"
    policy.write_text(policy.read_text().replace("fhirpath: status in", "fhirpath: statsu in"))
    assert serve(folder, FHIR_GATEWAY_WORKERS=workers).wait(40) == 3
    problems = (folder / "stderr").read_text()
    assert f"{policy}:18:" in problems
    assert "Traceback" not in problems
    assert not (folder / "journal.db").exists()


def test_several_workers_one_port(folder: Path, keys: str) -> None:
    clients, admin = free_port(), free_port()
    process = serve(
        folder,
        FHIR_GATEWAY_WORKERS="2",
        FHIR_GATEWAY_LISTEN=f"127.0.0.1:{clients}",
        FHIR_GATEWAY_ADMIN=f"127.0.0.1:{admin}",
        FHIR_GATEWAY_ISSUERS__0__ISSUER=keys,
        FHIR_GATEWAY_ISSUERS__0__JWKS_URI=f"{keys}/keys",
    )
    try:
        until(lambda: status(admin, "/readyz") == 200)
        for _ in range(20):
            answer = httpx.get(f"http://127.0.0.1:{clients}/fhir/Patient/1", trust_env=False)
            assert answer.status_code == 401
            assert answer.json()["resourceType"] == "OperationOutcome"
        workers = httpx.get(f"http://127.0.0.1:{admin}/status", trust_env=False).json()["workers"]
        assert [worker["ready"] for worker in workers] == [True, True]
        # A core dump would hold payloads; a service manager may have allowed it.
        for each in (process.pid, *(worker["process"] for worker in workers)):
            assert resource.prlimit(each, resource.RLIMIT_CORE) == (0, 0)
        # Each worker writes what it counted into the shared folder once a second.
        until(lambda: answered(admin) == 20)
        os.kill(workers[0]["process"], signal.SIGKILL)
        until(lambda: status(admin, "/readyz") == 503)
        assert status(clients, "/fhir/Patient/1") == 401
        until(lambda: status(admin, "/readyz") == 200)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.wait()
    events = [json.loads(line)["event"] for line in (folder / "stderr").read_text().splitlines()]
    assert events.count("worker.died") == 1
    assert events.count("gateway.listening") == 3
    assert events.count("gateway.stopped") == 2
