"""One sandbox and one nursery for the tests of a worker."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import Gateway, Hospital, Nursery
from tests.saga.conftest import MEMORY


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


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a file system: what a real disk keeps is modelled, not waited for."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None, prefix="faults-") as made:
        yield Path(made)
