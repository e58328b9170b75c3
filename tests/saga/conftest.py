"""One world a test."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.saga.world import World

# What is tested here does not depend on how long a disk takes; where there is a memory file system, fsync is free.
MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="saga-") as made:
        yield Path(made)


@pytest.fixture
async def world(folder: Path) -> AsyncIterator[World]:
    made = await World(folder=folder).begin()
    yield made
    await made.end()
