"""The rig as a fixture."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.pipeline.rig import AFTER, LAB, PATIENTS, Rig, rigged


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A gateway with the laboratory's policy (one rule of phase after) and one for Patients."""
    async with rigged(tmp_path, {"lab": LAB + AFTER, "patients": PATIENTS}) as made:
        yield made
