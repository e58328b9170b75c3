"""`patient: required | optional | none` through the whole line."""

from pathlib import Path

import pytest

from gateway.fhir.json import JsonObject
from tests.pipeline.rig import issues, observation, rigged

POLICY = """
policy: p
permit: [create]
resources: [Observation, Communication]
patient: {mode}
rules:
  - id: coded
    fhirpath: status.exists()
    deny: {{code: business-rule, message: A status is needed.}}
"""
NOBODY: JsonObject = {"resourceType": "Observation", "status": "final", "code": {"text": "water"}}


@pytest.mark.parametrize(
    ("mode", "resource", "status"),
    [
        ("required", observation(), 201),
        ("required", NOBODY, 422),
        ("optional", observation(), 201),
        ("optional", NOBODY, 201),
        ("optional", observation("nobody"), 422),
        ("optional", observation(subject={"reference": "urn:uuid:0a1b2c3d-0000-4000-8000-000000000000"}), 422),
        ("none", NOBODY, 201),
        ("none", observation(subject={"identifier": {"system": "urn:x", "value": "1"}}), 201),
    ],
)
async def test_mode(tmp_path: Path, mode: str, resource: JsonObject, status: int) -> None:
    async with rigged(tmp_path, {"p": POLICY.format(mode=mode)}) as rig:
        answer = await rig.create(resource)
        assert answer.status_code == status, answer.text
        if status != 201:
            assert {diagnostics for _, diagnostics in issues(answer)} == {"p/patient"}
            assert rig.writes() == []


AFTER = (
    POLICY
    + """
  - id: same
    phase: after
    {rule}
    deny: {{code: conflict, message: Not what was sent.}}
"""
)


@pytest.mark.parametrize(
    ("rule", "reads"),
    [
        ("cel: stored.subject.reference == resource.subject.reference", 1),
        ("fhirpath: '%stored.subject.reference = subject.reference'", 1),
        ("cel: has(patient.id) && has(stored.id)", 2),
        ("fhirpath: \"%patient.id = 'member'\"", 2),
    ],
)
async def test_a_patient_is_read_again_after_the_write_only_for_a_rule_that_names_it(
    tmp_path: Path, rule: str, reads: int
) -> None:
    async with rigged(tmp_path, {"p": AFTER.format(mode="required", rule=rule)}) as rig:
        answer = await rig.create(observation())
        assert answer.status_code == 201, answer.text
        assert [each.path for each in rig.wire.received].count("/fhir/Patient/member") == reads
