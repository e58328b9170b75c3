"""An upstream that is overloaded or gone, as a client of the gateway sees it."""

import asyncio
import json
import time
from pathlib import Path

from gateway.observe.metrics import Metrics
from gateway.pipeline.patients import Patients
from gateway.saga.ports import StreamedAnswer, UpstreamAnswer, UpstreamRequest
from tests.pipeline.rig import LAB, MEMBER, eventually, issues, observation, rigged

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


class Asked:
    """Answers every read with one Patient."""

    def __init__(self) -> None:
        self.requests: list[UpstreamRequest] = []

    async def send(self, request: UpstreamRequest, *, seconds: float | None = None) -> UpstreamAnswer:
        self.requests.append(request)
        return UpstreamAnswer(status=200, headers=(), body=json.dumps(MEMBER).encode())

    def stream(self, request: UpstreamRequest) -> StreamedAnswer:
        raise NotImplementedError


async def test_what_judges_a_stored_write_goes_before_what_waits() -> None:
    asked = Asked()
    patients = Patients(asked, time.monotonic, Metrics())
    await patients.fetched("member")
    await patients.fetched("member", fresh=True)
    assert [request.urgent for request in asked.requests] == [False, True]


async def test_looks_and_undos_are_urgent_and_writes_are_not(tmp_path: Path) -> None:
    async with rigged(tmp_path, server_keys=", max_connections: 1, max_waiting: 0") as rig:
        rig.quirks(moves_subject_to="Patient/stranger", answer_late=0.2)
        first = asyncio.create_task(rig.create(observation(meta={"tag": [{"code": "move"}]})))
        await eventually(lambda: len(rig.writes()) == 1)
        # Others keep asking, and are turned away; what settles the first write finds its way.
        answers = []
        while not first.done():
            answers.append((await rig.send("GET", "Patient/member")).status_code)
            await asyncio.sleep(0.001)  # a refusal waits for nothing, and would let nobody else run
        assert 503 in answers
        assert (await first).status_code == 409
        assert list(rig.store.live("Observation")) == []
