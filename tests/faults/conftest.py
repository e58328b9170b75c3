"""One sandbox and one nursery for the tests of a worker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import Gateway, Hospital, Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    yield made
    made.close()


@pytest.fixture
def gateway(tmp_path: Path, nursery: Nursery, hospital: Hospital) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "gateway", nursery, hospital)
    yield made
    made.kill()
