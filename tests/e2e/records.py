"""The records that the end-to-end tests push."""

import json
from collections.abc import Mapping
from uuid import uuid4

MEMBER, OTHER_MEMBER, STRANGER = "e2e-ada", "e2e-eve", "e2e-bob"
MEMBER_SYSTEM = "https://plan.example/member"
MUST_NOT_STAY = "must not stay"


def patient(patient_id: str | None, *, member: bool = True, family: str = "Example") -> dict[str, object]:
    """A Patient; `member` gives it the plan's identifier."""
    system = MEMBER_SYSTEM if member else "https://other.example/member"
    return {
        "resourceType": "Patient",
        **({"id": patient_id} if patient_id is not None else {}),
        "identifier": [{"system": system, "value": f"M-{patient_id or uuid4().hex}"}],
        "name": [{"family": family, "given": ["Test"]}],
    }


def result(patient_id: str = MEMBER, /, **elements: object) -> dict[str, object]:
    """A final laboratory result for a Patient."""
    category = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [category]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]},
        "subject": {"reference": f"Patient/{patient_id}"},
        "valueQuantity": {"value": 6, "unit": "%"},
    } | elements


def text(resource: Mapping[str, object]) -> str:
    """Compact JSON."""
    return json.dumps(resource, separators=(",", ":"))


def unique(prefix: str) -> str:
    """An id that no other test uses."""
    return f"{prefix}-{uuid4().hex[:12]}"
