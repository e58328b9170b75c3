"""Real gateway processes over one journal in a real PostgreSQL: killed, paused past their lease, without a database.

Before the model server, where each trouble comes alone, and before HAPI, where all of them come in one load.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.journal.postgres_writer import LEASE_SECONDS
from gateway.saga.settle import CrashPoint
from tests.e2e.load import Load
from tests.e2e.postgresql import PostgreSql
from tests.e2e.replicas import Replicas
from tests.e2e.servers import Servers
from tests.faults.processes import FHIR, MEMBER, MUST_NOT_STAY, OPEN, Hospital, Nursery, Site, observation


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSql]:
    """One cluster; each test has a database of its own."""
    made = PostgreSql()
    try:
        yield made.create()
    finally:
        made.destroy()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    yield made
    made.close()


class RealHospital(Site):
    """HAPI and Keycloak."""

    timeout = "5s"


@pytest.fixture(scope="module")
def hapi(servers: Servers) -> Iterator[Site]:
    issuer = servers.keycloak.issuer
    made = RealHospital(servers.hapi.base, issuer, f"{issuer}/protocol/openid-connect/token")
    made.client.put(f"{made.base}/Patient/member", json=MEMBER, headers={"content-type": FHIR}).raise_for_status()
    yield made
    made.close()


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def replicas(tmp_path: Path, database: PostgreSql, site: Site, nursery: Nursery) -> Iterator[Replicas]:
    made = Replicas.made(tmp_path, database, site, nursery)
    yield made
    made.kill()


before_both = pytest.mark.parametrize("site", ["model", "hapi"], indirect=True)
before_the_model = pytest.mark.parametrize("site", ["model"], indirect=True)
before_hapi = pytest.mark.parametrize("site", ["hapi"], indirect=True)


@before_both
@pytest.mark.parametrize("point", [CrashPoint.AFTER_SEND, CrashPoint.AFTER_COMPENSATING])
def test_what_a_killed_replica_left_is_settled_by_another(replicas: Replicas, site: Site, point: CrashPoint) -> None:
    first, second = replicas.pair
    first.start(FHIR_GATEWAY_CRASH_AT=point.value)
    second.start()
    id_ = f"left-{point.value}"
    site.put(id_, "final")
    assert first.push("PUT", f"Observation/{id_}", observation(note=MUST_NOT_STAY, id=id_)) is None
    assert first.ended() == -signal.SIGKILL
    (entry,) = replicas.unsettled()
    assert entry["state"] in OPEN
    replicas.settled()
    assert replicas.states() == {"undone": 1}
    kept = site.current(f"Observation/{id_}")
    assert kept is not None
    assert "note" not in kept
    assert replicas.unsettled() == []
    assert second.stop() == 0


def killed(replicas: Replicas) -> None:
    """One dies in the midst of its writes, and is started again."""
    first, _ = replicas.pair
    first.kill()
    time.sleep(1)
    first.start()
    time.sleep(2)


def paused(replicas: Replicas) -> None:
    """One stands still for longer than its lease, and goes on."""
    _, second = replicas.pair
    os.kill(second.pid, signal.SIGSTOP)
    time.sleep(LEASE_SECONDS + 4)
    os.kill(second.pid, signal.SIGCONT)
    time.sleep(3)
    assert "journal.lease_lapsed" in second.logged()


def without_database(replicas: Replicas) -> None:
    """Its server is killed twice; the second time it is away for a while."""
    for pause in (0.1, 4.0):
        replicas.server.stop("immediate")
        time.sleep(pause)
        replicas.server.start()
        time.sleep(1.5)


def check_over(replicas: Replicas, load: Load) -> None:
    """The load has ended, and so does everything: nothing is open, lost or forbidden."""
    load.end()
    replicas.settled()
    assert "stuck" not in replicas.states(), replicas.unsettled()
    load.check()
    assert [replica.stop() for replica in replicas.pair] == [0, 0]


@before_the_model
def test_a_replica_killed_under_load(replicas: Replicas) -> None:
    load = started(replicas, "killed")
    killed(replicas)
    check_over(replicas, load)


@before_the_model
def test_a_replica_paused_past_its_lease_under_load(replicas: Replicas) -> None:
    load = started(replicas, "paused")
    paused(replicas)
    check_over(replicas, load)


@before_the_model
def test_the_server_of_the_database_is_killed_under_load(replicas: Replicas) -> None:
    load = started(replicas, "gone")
    without_database(replicas)
    before = len(load.pushes)
    time.sleep(2)
    assert len(load.pushes) > before
    check_over(replicas, load)
    assert 503 in {push.status for push in load.pushes}, "without its journal no write is let in"


@before_hapi
def test_everything_at_once(replicas: Replicas) -> None:
    load = started(replicas, "hapi")
    killed(replicas)
    paused(replicas)
    without_database(replicas)
    check_over(replicas, load)


def started(replicas: Replicas, label: str) -> Load:
    """Both gateways run, and clients of both write."""
    for replica in replicas.pair:
        replica.start()
    load = Load(replicas, label).start()
    time.sleep(2)
    return load
