"""The policies in force: reload, bad sets, and the set that a write was let in by."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from gateway.app import build
from gateway.config import load
from gateway.sandbox.quirks import Quirks
from tests.pipeline.rig import AFTER, LAB, Rig, issues, observation, rigged

STRICT = LAB.replace("status in ('final' | 'amended')", "status = 'amended'")


def write(rig: Rig, text: str) -> None:
    (rig.folder / "policies" / "lab.yaml").write_text(text)


async def test_a_reload_judges_by_the_new_set_from_then_on(tmp_path: Path) -> None:
    async with rigged(tmp_path, {"lab": LAB}) as rig:
        assert (await rig.create(observation())).status_code == 201
        write(rig, STRICT)
        assert (await rig.create(observation())).status_code == 201
        await rig.app.reload()
        assert issues(await rig.create(observation())) == [("business-rule", "lab/final")]


async def test_a_bad_set_never_replaces_a_good_one_and_is_told(tmp_path: Path) -> None:
    async with rigged(tmp_path, {"lab": LAB}) as rig:
        before = (await rig.admin.get("http://admin/status")).json()["policies"]
        write(rig, STRICT.replace("status = 'amended'", "statos = 'amended'"))
        await rig.app.reload()
        assert (await rig.create(observation())).status_code == 201
        after = (await rig.admin.get("http://admin/status")).json()["policies"]
        assert after["revision"] == before["revision"]
        assert "statos" in after["last_reload_problems"][0]
        metrics = (await rig.admin.get("http://admin/metrics")).text
        assert "fhir_gateway_policy_last_reload_successful 0.0" in metrics
        assert 'fhir_gateway_policy_reloads_total{result="failed"} 1.0' in metrics


async def test_a_restarted_gateway_knows_the_sets_of_open_writes_though_the_files_changed(tmp_path: Path) -> None:
    quirks = Quirks(drop_answer_after_store=True, strikes=1, moves_subject_to="Patient/stranger")
    async with rigged(tmp_path, {"lab": LAB + AFTER}, quirks=quirks) as rig:
        moved = observation(meta={"tag": [{"code": "move"}]})
        # The answer is lost and the server then looks dead, so the write stays open.
        rig.wire.dies_with_the_next_write = True
        sending = asyncio.create_task(rig.create(moved))
        await asyncio.to_thread(_until, lambda: bool(list(rig.store.live("Observation"))))
        await rig.app.stop(0.1)
        sending.cancel()
        assert list(rig.store.live("Observation"))
        rig.wire.dies_with_the_next_write = False
        write(rig, LAB)
        rig.wire.dead = False
        second = build(load(rig.folder / "gateway.yaml", {}))
        await second.start()
        try:
            # Today's set has no rule of phase after; the set that let the write in removes it all the same.
            await asyncio.to_thread(_until, lambda: not list(rig.store.live("Observation")))
            assert [each.method for each in rig.writes()] == ["POST", "DELETE"]
        finally:
            await second.stop(0.0)


def _until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be in time"
        time.sleep(0.01)
