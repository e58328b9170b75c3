"""Paths that lead to an element, and paths that do not."""

import pytest

from gateway.policy.element_paths import fault


@pytest.mark.parametrize(
    "path",
    [
        "subject",
        "subject.reference",
        "code.coding.system",
        "code.coding[0].system",
        "valueQuantity.value",
        "value",
        "value.unit",
        "component[12].valueQuantity",
        "component.referenceRange.low",
        "meta.security",
        "extension.url",
        "contained[0].status.anything",
    ],
)
def test_known(path: str) -> None:
    assert fault(path, ("Observation",), "R4") is None


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("subjct", "Observation has no element subjct", "did you mean subject?"),
        ("zzz", "Observation has no element zzz", None),
        ("value.zzz", "CodeableConcept or Period or Quantity", None),
        ("component.valu", "Observation.component has no element valu", "did you mean value?"),
        ("status.x", "code has no element x", None),
        ("status[0]", "status is a single element of Observation", "leave [0] out"),
        ("Observation.subject", "Observation.subject is no element path", "names with dots"),
        ("code..coding", "code..coding is no element path", "names with dots"),
        ("code.", "code. is no element path", "names with dots"),
        ("", " is no element path", "names with dots"),
        ("category.where(true)", "category.where(true) is no element path", "names with dots"),
    ],
)
def test_unknown(path: str, message: str, hint: str | None) -> None:
    found = fault(path, ("Observation",), "R4")
    assert found is not None
    assert found[0].startswith(message)
    assert found[1] == hint or (hint is not None and str(found[1]).startswith(hint))


def test_a_path_leads_to_an_element_of_every_type() -> None:
    assert fault("subject", ("Observation", "DiagnosticReport"), "R4") is None
    assert fault("bodySite", ("Observation", "DiagnosticReport"), "R4") == (
        "DiagnosticReport has no element bodySite",
        None,
    )
