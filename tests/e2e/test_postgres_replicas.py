"""Real gateway processes over one journal in a real PostgreSQL: killed, paused past their lease, without a database."""

import base64
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.journal.postgres_connection import Target
from gateway.journal.postgres_writer import LEASE_SECONDS
from gateway.saga.settle import CrashPoint
from gateway.sandbox.running import gateway_command
from tests.e2e.postgresql import PASSWORD, PostgreSql
from tests.faults.processes import MUST_NOT_STAY, OPEN, Gateway, Hospital, Nursery, observation

TAKEOVER = LEASE_SECONDS + 30


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@dataclass(slots=True)
class Replica(Gateway):
    """One of several gateways over a database."""

    database: Target = field(kw_only=True)
    key: bytes = field(kw_only=True)

    def __post_init__(self) -> None:
        Gateway.__post_init__(self)
        configuration = self.folder / "gateway.yaml"
        at = self.database
        journal = (
            f"journal: postgresql://{at.user}@{at.host}:{at.port}/{at.database}\n"
            "journal_password_file: password\njournal_key_file: key"
        )
        configuration.write_text(configuration.read_text().replace("journal: sqlite:journal.db", journal))
        for name, content in (("password", PASSWORD.encode()), ("key", self.key)):
            (self.folder / name).write_bytes(content)
            (self.folder / name).chmod(0o600)

    def verb(self, *arguments: str) -> str:
        """What `fhir-gateway journal` prints."""
        command = [str(gateway_command()), "journal", *arguments, "--config", str(self.folder / "gateway.yaml")]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@dataclass(slots=True)
class Replicas:
    """Two gateways, one database."""

    server: PostgreSql
    database: Target
    pair: tuple[Replica, Replica]

    def states(self) -> dict[str, int]:
        rows = self.server.sql("SELECT state, count(*) FROM intent GROUP BY state", database=self.database.database)
        return {state: int(count) for state, _, count in (row.partition("|") for row in rows.splitlines())}

    def settled(self) -> None:
        """Wait until no write is open."""
        self.pair[1].until(lambda: not self.states().keys() & OPEN, TAKEOVER)


@pytest.fixture
def replicas(tmp_path: Path, hospital: Hospital, nursery: Nursery) -> Iterator[Replicas]:
    server = PostgreSql()
    try:
        server.create()
        database, key = server.database(), base64.b64encode(os.urandom(32))
        first, second = (
            Replica(tmp_path / name, nursery, hospital, database=database, key=key) for name in ("first", "second")
        )
        yield Replicas(server=server, database=database, pair=(first, second))
        first.kill()
        second.kill()
    finally:
        server.destroy()


@pytest.mark.parametrize("point", [CrashPoint.AFTER_SEND, CrashPoint.AFTER_COMPENSATING])
def test_what_a_killed_replica_left_is_settled_by_another(
    replicas: Replicas, hospital: Hospital, point: CrashPoint
) -> None:
    first, second = replicas.pair
    first.start(FHIR_GATEWAY_CRASH_AT=point.value)
    second.start()
    id_ = f"left-{point.value}"
    hospital.put(id_, "final")
    assert first.push("PUT", f"Observation/{id_}", observation(note=MUST_NOT_STAY, id=id_)) is None
    assert first.ended() == -signal.SIGKILL
    (entry,) = json.loads(second.verb("list", "-o", "json"))
    assert entry["state"] in OPEN
    replicas.settled()
    assert replicas.states() == {"undone": 1}
    kept = hospital.current(f"Observation/{id_}")
    assert kept is not None
    assert "note" not in kept
    assert json.loads(second.verb("list", "-o", "json")) == []
    assert second.stop() == 0


class Load:
    """Clients of both replicas that write until they are told to stop; every third write must not stay."""

    def __init__(self, replicas: Replicas, name: str) -> None:
        self.answers: dict[str, int] = {}
        self._stop = threading.Event()
        self._clients = [
            threading.Thread(target=self._write, args=(replica, f"{name}{place}{number}"))
            for place, replica in enumerate(replicas.pair)
            for number in range(3)
        ]

    def _write(self, replica: Replica, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            id_ = f"{name}-{number}"
            note = MUST_NOT_STAY if number % 3 == 0 else ""
            answer = replica.push("PUT", f"Observation/{id_}", observation(note=note, id=id_))
            self.answers[id_] = 0 if answer is None else answer.status_code

    def start(self) -> "Load":
        for client in self._clients:
            client.start()
        return self

    def end(self) -> None:
        self._stop.set()
        for client in self._clients:
            client.join()

    def check(self, hospital: Hospital) -> None:
        """Accepted writes are there; nothing forbidden is, whatever was answered."""
        assert sum(status in {200, 201} for status in self.answers.values()) > 10
        for id_, status in self.answers.items():
            found = hospital.current(f"Observation/{id_}")
            assert found is not None or status not in {200, 201}, id_
            assert found is None or "note" not in found, id_


def test_a_replica_paused_past_its_lease_under_load(replicas: Replicas, hospital: Hospital) -> None:
    first, second = (replica.start() for replica in replicas.pair)
    load = Load(replicas, "paused").start()
    time.sleep(2)
    os.kill(first.pid, signal.SIGSTOP)
    time.sleep(LEASE_SECONDS + 4)
    os.kill(first.pid, signal.SIGCONT)
    time.sleep(3)
    load.end()
    replicas.settled()
    assert "stuck" not in replicas.states()
    load.check(hospital)
    assert "journal.lease_lapsed" in (first.folder / "log").read_text()
    assert (first.stop(), second.stop()) == (0, 0)


def test_the_server_of_the_database_is_killed_under_load(replicas: Replicas, hospital: Hospital) -> None:
    first, second = (replica.start() for replica in replicas.pair)
    load = Load(replicas, "killed").start()
    for pause in (0.1, 4.0):
        time.sleep(1.5)
        replicas.server.stop("immediate")
        time.sleep(pause)
        replicas.server.start()
    time.sleep(3)
    before = len(load.answers)
    time.sleep(2)
    load.end()
    assert len(load.answers) > before
    assert 503 in load.answers.values(), "without its journal no write is let in"
    replicas.settled()
    assert "stuck" not in replicas.states()
    load.check(hospital)
    assert (first.stop(), second.stop()) == (0, 0)
