"""What an expression reaches beyond the element it stands on: Bundles, given resources, a context, an explanation."""

import pytest

from gateway.fhirpath import engine
from gateway.fhirpath.engine import Failure, Outcome, Program
from gateway.fhirpath.items import as_json
from tests.fhirpath.resources import OBSERVATION, PATIENT

BUNDLE = {
    "resourceType": "Bundle",
    "entry": [
        {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "a", "gender": "male"}},
        {
            "resource": {
                "resourceType": "Observation",
                "id": "b",
                "subject": {"reference": "urn:uuid:1"},
                "performer": [{"reference": "Patient/a"}, {"reference": "Patient/zzz"}],
                "value": "no element",
            }
        },
        {"request": {"method": "DELETE"}},
    ],
}


def program(expression: str, *, strict: bool = False) -> Program:
    found = engine.compile(expression, strict=strict)
    assert isinstance(found, Program), found
    return found


def values(outcome: Outcome) -> list[object]:
    assert outcome.failure is None, outcome.reason
    return [as_json(item) for item in outcome.values]


@pytest.mark.parametrize(
    ("expression", "given"),
    [
        ("entry.resource.ofType(Observation).subject.resolve().gender", ["male"]),
        ("entry.resource.ofType(Observation).performer.resolve().id", ["a"]),
        ("entry.resource.subject.reference.resolve().gender", ["male"]),
        ("entry.resource.select($this is DomainResource)", [True, True]),
        ("entry.resource.ofType(Patient).conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')", [True]),
        ("entry.resource.conformsTo({})", []),
    ],
)
def test_references_within_a_bundle(expression: str, given: list[object]) -> None:
    assert values(program(expression).evaluate(BUNDLE)) == given


def test_given_resources_are_followed_and_others_are_not_fetched() -> None:
    asked = program("subject.resolve().active", strict=True)
    assert values(asked.evaluate(OBSERVATION, resolvable={"Patient/p1": PATIENT})) == [True]
    assert asked.evaluate(OBSERVATION, resolvable={"Patient/p2": PATIENT}).failure is Failure.ERROR
    assert values(program("subject.resolve()").evaluate(OBSERVATION)) == []


@pytest.mark.parametrize(
    "expression", ["conformsTo('urn:x')", "entry.conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')"]
)
def test_profiles_are_not_judged(expression: str) -> None:
    assert program(expression).evaluate(BUNDLE).failure is Failure.ERROR


def test_a_part_of_a_resource_with_its_type() -> None:
    component = OBSERVATION["component"]
    assert isinstance(component, list)
    context = (component[0], "Observation.component")
    asked = program("value.value = 7 and %context.code.text = 'part' and %resource.status = 'final'")
    assert values(asked.evaluate(OBSERVATION, context=context)) == [True]


def test_singletons_are_read_as_the_specification_says_unless_strictly() -> None:
    for expression, loosely in (("1.not()", [False]), ("'a' and true", [True]), ("name.where(family).count()", [2])):
        assert values(program(expression).evaluate(PATIENT)) == loosely
        assert program(expression, strict=True).evaluate(PATIENT).failure is Failure.ERROR
    assert program("name.select(given.where($this.toChars()))").evaluate(PATIENT).failure is Failure.ERROR


def test_an_explanation_has_every_part_in_order_with_its_place() -> None:
    source = "name.where(use = 'official').family"
    outcome, steps = program(source).explain(PATIENT)
    assert values(outcome) == ["Windsor"]
    shown = [(source[step.offset : step.offset + step.length], len(step.values)) for step in steps]
    assert shown == [
        ("name", 2),
        *[("use", 1), ("use = 'official'", 1)] * 2,
        ("name.where(use = 'official')", 1),
        (source, 1),
    ]


def test_an_explanation_of_a_failure_has_its_place() -> None:
    outcome, steps = program("true and name.single().exists()").explain(PATIENT)
    assert outcome.failure is Failure.ERROR
    assert outcome.place == (9, 13)
    assert steps
    outcome, _ = program("name.repeatAll($this)").explain(PATIENT)
    assert outcome.failure is Failure.OUT_OF_BUDGET


def test_json_that_is_no_fhir_is_no_exception() -> None:
    odd = {"resourceType": 3, "entry": {"a": 1}, "name": [None, 1, [2]], "contained": "x"}
    for expression in ("name.given", "entry.resolve()", "'#a'.resolve()", "contained.id", "descendants().count()"):
        assert isinstance(program(expression).evaluate(odd), Outcome)
        assert isinstance(program(expression).evaluate({**odd, "resourceType": "Bundle"}), Outcome)
