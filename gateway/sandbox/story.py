"""The story that `fhir-gateway demo` plays: what is pushed, and how each push has to end."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.fhir.json import Json, JsonObject

MEMBER_SYSTEM = "https://plan.example/member"
MEMBER, STRANGER, OTHER_MEMBER = "ada", "bob", "eve"
LABORATORY = "laboratory"
# The sandbox files what carries this tag under another patient: a server that changes what it is given.
MOVED = "move"


class Held(StrEnum):
    """What the FHIR server holds once a push has ended."""

    STORED = "stored"
    NOTHING = "nothing was sent"
    REMOVED = "stored, then removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One push. `status` is what the client has to get (None: the connection breaks), `rules` which rules have to fail
    at least, `held` what the server has to hold in the end.
    """

    name: str
    title: str
    told: str
    body: JsonObject
    status: int | None
    rules: tuple[str, ...] = ()
    held: Held = Held.NOTHING
    gateway_killed: bool = False


def held() -> tuple[JsonObject, ...]:
    """What the FHIR server holds from the start: two members of the plan, a stranger, and the laboratory."""
    return (
        {"resourceType": "Organization", "id": LABORATORY, "active": True, "name": "Example Laboratory"},
        _patient(MEMBER, "Ada", "Example", MEMBER_SYSTEM),
        _patient(STRANGER, "Bob", "Elsewhere", "https://other.example/member"),
        _patient(OTHER_MEMBER, "Eve", "Example", MEMBER_SYSTEM),
    )


def _patient(patient_id: str, given: str, family: str, system: str) -> JsonObject:
    return {
        "resourceType": "Patient",
        "id": patient_id,
        "identifier": [{"system": system, "value": f"M-{patient_id}"}],
        "active": True,
        "name": [{"family": family, "given": [given]}],
        "gender": "unknown",
        "birthDate": "1970-01-01",
    }


def result(patient_id: str, *, status: str = "final", label: str | None = None, tag: str | None = None) -> JsonObject:
    """A laboratory result (HbA1c) for a Patient."""
    meta: JsonObject = {}
    if label is not None:
        meta["security"] = [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": label}]
    if tag is not None:
        meta["tag"] = [{"system": "https://sandbox.example/tag", "code": tag}]
    category: JsonObject = {
        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
        "code": "laboratory",
    }
    code: JsonObject = {"system": "http://loinc.org", "code": "4548-4", "display": "Hemoglobin A1c"}
    content: JsonObject = {
        "status": status,
        "category": [{"coding": [category]}],
        "code": {"coding": [code], "text": "HbA1c"},
        "subject": {"reference": f"Patient/{patient_id}"},
        "effectiveDateTime": "2026-01-15T08:30:00Z",
        "performer": [{"reference": f"Organization/{LABORATORY}"}],
        "valueQuantity": {"value": 6.1, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    }
    kind: dict[str, Json] = {"resourceType": "Observation"}
    return {**kind, **({"meta": meta} if meta else {}), **content}


def pushes() -> tuple[Push, ...]:
    """The story, in order."""
    return (
        Push(
            name="allowed",
            title="A laboratory pushes a member's final result",
            told="accepted and stored",
            body=result(MEMBER),
            status=201,
            held=Held.STORED,
        ),
        Push(
            name="stranger",
            title="A preliminary result of somebody who is not a member",
            told="refused, with every reason at once",
            body=result(STRANGER, status="preliminary"),
            status=422,
            rules=("is-member", "final-results-only"),
        ),
        Push(
            name="restricted",
            title="A result that is labelled as restricted",
            told="refused: that kind of information is not taken here",
            body=result(MEMBER, label="R"),
            status=403,
            rules=("no-refused-label",),
        ),
        Push(
            name="moved",
            title="A result that the server files under another patient",
            told="found by reading it back, and removed",
            body=result(MEMBER, tag=MOVED),
            status=409,
            rules=("stored-for-the-same-patient",),
            held=Held.REMOVED,
        ),
        Push(
            name="killed",
            title="The same, and the gateway is killed before it has looked",
            told="removed by the gateway that starts after it",
            body=result(MEMBER, tag=MOVED),
            status=None,
            held=Held.REMOVED,
            gateway_killed=True,
        ),
    )
