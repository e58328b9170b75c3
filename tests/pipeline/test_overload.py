"""An upstream that is overloaded or gone, as a client of the gateway sees it."""

import asyncio
import time
from pathlib import Path

from tests.pipeline.rig import LAB, eventually, issues, observation, rigged

POLICIES = {"lab": LAB}


async def test_past_the_queue_a_client_is_told_to_come_back_at_once(tmp_path: Path) -> None:
    async with rigged(tmp_path, POLICIES, server_keys=", max_connections: 1, max_waiting: 0") as rig:
        assert (await rig.create(observation())).status_code == 201
        rig.quirks(answer_late=1.0)
        slow = asyncio.create_task(rig.create(observation()))
        await eventually(lambda: len(rig.writes()) == 2)
        started = time.monotonic()
        answer = await rig.send("GET", "Observation")
        assert time.monotonic() - started < 0.5
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert issues(answer) == [("transient", None)]
        assert (await slow).status_code == 201
        metrics = (await rig.admin.get("http://admin/metrics")).text
        assert 'fhir_gateway_rejected_requests_total{reason="queue_full"} 1.0' in metrics
        assert "fhir_gateway_upstream_circuit_open 0.0" in metrics
