"""The gateway's half of what HAPI does with JSON; the end-to-end tests send the same table to a real HAPI."""

import pytest

from gateway.errors import Malformed, TooLarge
from gateway.fhir.compartment import patient_links
from gateway.fhir.resource import BodyLimits, parse
from gateway.fhir.shape import check
from tests.fhir.cases import Row, body, label, sections

ROWS = [row for rows in sections("json-hapi").values() for row in rows]


def step_that_refuses(row: Row) -> str | None:
    """Which step of the straight line refuses: json, shape, type or links; None when the bytes are forwarded."""
    try:
        resource = parse(body(row), BodyLimits())
    except (Malformed, TooLarge):
        return "json"
    if check(resource):
        return "shape"
    if resource["resourceType"] != row.get("type", "Observation"):
        return "type"
    problems = patient_links(resource, ()).problems
    return "links" if any(problem.form != "absent" for problem in problems) else None


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_nothing_passes_that_hapi_would_read_otherwise(row: Row) -> None:
    refused_by = step_that_refuses(row)
    assert ("forward" if refused_by is None else "refuse") == row["gateway"]
    if "step" in row:
        assert refused_by == row["step"]
