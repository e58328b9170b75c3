"""The real servers of one run, and a gateway in front of them."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.journal.postgres import PostgresJournal
from tests.e2e.database import Database
from tests.e2e.door import Door
from tests.e2e.postgresql import PostgreSql
from tests.e2e.records import MEMBER, OTHER_MEMBER, STRANGER, patient
from tests.e2e.servers import Servers, start_all


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield start_all(stack)


@pytest.fixture(scope="session")
def members(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """HAPI holds two members and a stranger; put there directly."""
    door = Door(tmp_path_factory.mktemp("members"), servers.hapi.base, servers.keycloak)
    for patient_id in (MEMBER, OTHER_MEMBER, STRANGER):
        body = json.dumps(patient(patient_id, member=patient_id != STRANGER))
        answer = door.ask("PUT", f"Patient/{patient_id}", content=body, upstream=True)
        assert answer.status_code == 201, answer.text
    yield door
    door.client.close()


@pytest.fixture(scope="session")
def door(servers: Servers, members: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A gateway that all tests share which do not kill it."""
    assert members.upstream == servers.hapi.base
    door = Door(tmp_path_factory.mktemp("gateway"), servers.hapi.base, servers.keycloak)
    door.start()
    yield door
    assert door.close() == 0, door.process.last_lines()


@pytest.fixture
def own_door(servers: Servers, members: Door, tmp_path: Path) -> Iterator[Door]:
    """A gateway of the test's own, not started."""
    assert members.upstream == servers.hapi.base
    door = Door(tmp_path, servers.hapi.base, servers.keycloak)
    yield door
    door.close()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    made = PostgreSql()
    try:
        yield made.create()
    finally:
        made.destroy()


@pytest.fixture
def place(server: PostgreSql, tmp_path: Path) -> Database:
    return Database(server, tmp_path)


@pytest.fixture
async def journal(place: Database) -> AsyncIterator[PostgresJournal]:
    made = await place.open("one")
    yield made
    await made.close()
