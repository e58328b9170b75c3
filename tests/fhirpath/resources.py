"""The resources and names that the tables of this folder speak of."""

from decimal import Decimal

from gateway.fhir.json import JsonObject

NOW = "2026-01-01T12:00:00Z"

PATIENT: JsonObject = {
    "resourceType": "Patient",
    "id": "p1",
    "active": True,
    "name": [
        {"family": "Chalmers", "given": ["Ann", "B"], "use": "usual", "period": {"start": "1990"}},
        {"family": "Windsor", "given": ["Ann"], "use": "official"},
    ],
    "_gender": {"extension": [{"url": "urn:absent", "valueCode": "unknown"}, {"valueString": "no url"}]},
    "birthDate": "1980-05-17",
    "_birthDate": {"extension": [{"url": "urn:time", "valueDateTime": "1980-05-17T10:00:00Z"}]},
    "deceasedBoolean": False,
    "contact": [{"extension": [{"url": "urn:flag", "valueBoolean": False}]}],
}

OBSERVATION: JsonObject = {
    "resourceType": "Observation",
    "id": "o1",
    "contained": [{"resourceType": "Patient", "id": "p"}, {"resourceType": "Device", "id": "d"}],
    "status": "final",
    "category": [{"coding": [{"code": "laboratory"}]}],
    "code": {"coding": [{"code": "a1c", "system": "urn:x"}, {"code": "4548-4", "system": "http://loinc.org"}]},
    "subject": {"reference": "Patient/p1"},
    "performer": [{"reference": "#p"}],
    "effectiveDateTime": "2025-06-01T10:00:00+02:00",
    "issued": "2025-06-01T08:00:00.001Z",
    "valueQuantity": {"value": 6.3, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    "referenceRange": [{"low": {"value": 5}}],
    "component": [{"code": {"text": "part"}, "valueQuantity": {"value": 7, "unit": "%", "comparator": "<"}}],
}

VARIABLES: dict[str, object] = {
    "prior": None,
    "patient": PATIENT,
    "claims": {
        "org": "lab",
        "roles": ["a", "b"],
        "level": 2.5,
        "hundred": Decimal("1E+2"),
        "huge": [Decimal("1E+60"), Decimal("1E+61")],
        "dose": {"mg": 1.25},
        "esod": {"mg": 1.3},
        "pair": {"id": "a", "of": [1.25, "x", {"y": True}]},
        "riap": {"id": "b", "of": ["X", 1.3, {"y": True}]},
        "other": {"of": [1.25, "x", {"y": 1}]},
        "nested": [{"deep": [[1, 2], [3]]}],
        "observation": {"resourceType": "Observation", "valueQuantity": {"unit": "kg"}},
        "lost": {"valueQuantity": {"unit": "kg"}},
    },
}
