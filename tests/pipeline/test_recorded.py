"""What a request leaves behind in the decision log and the metrics, through the whole line."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.errors import Issue, IssueCode, RequestTimedOut
from tests.pipeline.rig import AFTER, LAB, PATIENTS, Rig, eventually, observation, rigged

OBSERVED = {"lab": LAB + AFTER.replace("phase: after", "phase: after\n    mode: warn")}


async def lines(rig: Rig, count: int) -> list[Mapping[str, object]]:
    """The decision log, once it has so many lines."""
    path = rig.folder / "decisions.ndjson"
    await eventually(lambda: path.exists() and len(path.read_text().splitlines()) >= count)
    return [json.loads(line) for line in path.read_text().splitlines()]


async def metric(rig: Rig, series: str) -> float:
    text = (await rig.admin.get("http://admin/metrics")).text
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{series} "))


@pytest.mark.parametrize("policies", [{"lab": LAB + AFTER}, OBSERVED], ids=["undone", "observed"])
async def test_the_time_of_the_judgement_on_what_is_stored_is_measured(
    tmp_path: Path, policies: dict[str, str]
) -> None:
    """`post_ms` was always 0, and so was phase `after` of the metric: nobody set what was read."""
    async with rigged(tmp_path, policies) as rig:
        assert (await rig.create(observation())).status_code == 201
        (line,) = await lines(rig, 1)
        spent = line["post_ms"]
        assert isinstance(spent, float)
        assert 0 < spent < 1000
        total = await metric(rig, 'fhir_gateway_check_duration_seconds_sum{phase="after"}')
        assert total == pytest.approx(spent / 1000, abs=0.000_001)


async def test_a_patient_out_of_the_cache_is_not_recorded_as_fetched(tmp_path: Path) -> None:
    """Each Patient that a decision used counted as fetched, and none ever as cached."""
    async with rigged(tmp_path, {"lab": LAB, "patients": PATIENTS}) as rig:
        made = (await rig.create(observation())).json()
        await rig.create(observation())
        await rig.send("PUT", f"Observation/{made['id']}", made | {"status": "amended"})
        other = observation(performer=[{"reference": "Patient/nobody"}])
        await rig.create(other)
        records = await lines(rig, 4)
        counted = [(line["patients"]["fetched"], line["patients"]["cached"]) for line in records]  # type: ignore[index]
        assert counted == [(1, 0), (0, 1), (0, 1), (1, 1)]


async def test_a_patient_read_early_for_an_update_counts_as_fetched_once(tmp_path: Path) -> None:
    """It is asked for while the prior version is read, and is in the cache a moment later."""
    async with rigged(tmp_path, {"lab": LAB}) as rig:
        body = observation() | {"id": "one"}
        rig.store.load(json.dumps(body).encode())
        await rig.send("PUT", "Observation/one", body | {"status": "amended"})
        (line,) = await lines(rig, 1)
        assert (line["patients"]["fetched"], line["patients"]["cached"]) == (1, 0)  # type: ignore[index]


async def test_what_never_became_a_request_leaves_the_gauge_alone(rig: Rig) -> None:
    """Two counted the same: the one behind the gauge was taken down for streams that it had never been told of."""
    rig.app.refuse(RequestTimedOut(Issue(code=IssueCode.TIMEOUT, text="Too slow.")))
    assert await metric(rig, "fhir_gateway_http_requests_in_flight") == 0
    rig.quirks(answer_late=0.5)
    slow = asyncio.create_task(rig.create(observation()))
    await eventually(lambda: len(rig.writes()) == 1)
    assert await metric(rig, "fhir_gateway_http_requests_in_flight") == 1
    await slow
    assert await metric(rig, "fhir_gateway_http_requests_in_flight") == 0
