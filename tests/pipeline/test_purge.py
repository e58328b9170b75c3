"""`upstream.purge: expunge`, through a whole gateway."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.app import build
from gateway.config import ConfigErrors, load
from gateway.fhir.resource import BodyLimits
from gateway.sandbox.fhir_server import FhirServer
from gateway.sandbox.quirks import Quirks
from gateway.sandbox.store import Store
from gateway.upstream import capability_file
from gateway.upstream.examination import examine
from tests.pipeline.rig import LAB, MEMBER, STRANGER, configuration, issues, observation, rigged
from tests.saga.world import BASE, AsgiUpstream

KEYS = ", purge: expunge, capability_file: capability.json"
MOVING = replace(Quirks.hapi(), expunge=True, moves_subject_to="Patient/stranger")


async def examined(folder: Path, quirks: Quirks) -> None:
    found = await examine(
        AsgiUpstream(FhirServer(Store(quirks=quirks)), timeout=5), BodyLimits(), base=BASE, writing=True
    )
    (folder / "capability.json").write_text(capability_file.written(found))


async def test_a_removed_write_leaves_history(tmp_path: Path) -> None:
    await examined(tmp_path, replace(Quirks.hapi(), expunge=True))
    store = Store(quirks=MOVING)
    for patient in (MEMBER, STRANGER):
        store.load(json.dumps(patient).encode())
    async with rigged(tmp_path, store=store, server_keys=KEYS) as rig:
        answer = await rig.create(observation(meta={"tag": [{"code": "move"}]}))
        assert answer.status_code == 409
        assert issues(answer)[-1] == ("informational", None)
        assert [version.deleted for version in store.history("Observation", None)] == [True]
        metrics = (await rig.admin.get("http://admin/metrics")).text
        assert 'fhir_gateway_undo_attempts_total{action="purge",result="ok"} 1.0' in metrics


def built(folder: Path, server_keys: str) -> None:
    build(load(configured(folder, server_keys), {}))


def configured(folder: Path, server_keys: str) -> Path:
    here = "http://127.0.0.1:1"
    return configuration(
        folder, port=2, upstream=f"{here}/fhir", issuer=here, policies={"lab": LAB}, extra="", server_keys=server_keys
    )


async def test_a_server_that_cannot_is_told_at_the_start(tmp_path: Path) -> None:
    await examined(tmp_path, Quirks.hapi())
    with pytest.raises(ConfigErrors, match="unable to purge"):
        built(tmp_path, KEYS)


async def test_a_file_that_is_none_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "capability.json").write_text("{}")
    with pytest.raises(ConfigErrors, match=r"capability.json:1:1: not a file that"):
        built(tmp_path, KEYS)


async def test_a_purge_needs_a_probed_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="purge: needs capability_file"):
        built(tmp_path, ", purge: expunge")
