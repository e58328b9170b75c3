"""All constraints in one pass say what each of them says by itself."""

import json
from collections.abc import Iterator

import pytest

from gateway.fhir.json import JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.constraints import Constraint, Constraints, Place
from gateway.fhirpath.engine import Failure, Outcome, Program
from gateway.fhirpath.items import Element
from gateway.fhirpath.model import load
from tests.fhirpath import fetch_suite
from tests.fhirpath.fetch_definitions import published, rules
from tests.fhirpath.hl7_rules import first_places, is_of_release

NOW = "2026-11-23T12:00:00.000Z"


def constraints(release: str) -> tuple[Constraint, ...]:
    return tuple(
        Constraint(rule.path, rule.key, program(rule.expression, release))
        for rule in first_places(rules(release))
        if rule.is_base
    )


def program(expression: str, release: str = "R4") -> Program:
    found = engine.compile(expression, model=release)
    assert isinstance(found, Program), found
    return found


def examples(release: str) -> Iterator[JsonObject]:
    for path in sorted((fetch_suite.ensure() / release.lower() / "examples").glob("*.json")):
        content = json.loads(path.read_text("utf-8"))
        if isinstance(content, dict) and content.get("resourceType") in load(release).resources:
            yield content


@pytest.mark.parametrize("release", ["R4", "R4B", "R5"])
def test_one_pass_says_what_each_constraint_says(release: str) -> None:
    whole, judged, broken = Constraints(constraints(release)), 0, 0
    for resource in (*examples(release), *published(release)):
        if not is_of_release(resource, load(release)):
            continue
        alone, apart = [], set()
        for place in whole.places(resource):
            if place.item.extra is not None or place.root is not place.resource:
                apart.add(place.location)  # one evaluation cannot be told of these; the tests below are about them
                continue
            for constraint in (one for _, group in place.rules for one in group):
                outcome = evaluated_alone(constraint, place)
                judged += 1
                if outcome.failure is not None or outcome.values not in ([], [True]):
                    alone.append((place.location, constraint.key))
        found = [(one.location, one.key) for one in whole.judge(resource, now=NOW) if one.location not in apart]
        assert found == alone
        broken += len(alone)
    assert judged > 5_000
    assert broken > 20


def evaluated_alone(constraint: Constraint, place: Place) -> Outcome:
    (around,) = place.resource
    assert isinstance(around, Element)
    context = None if place.item is around else (place.item.value, place.item.type.name)
    return constraint.program.evaluate(around.value, context=context, now=NOW, budget=10_000_000)


def found(expression: str, path: str, resource: JsonObject) -> list[str]:
    """Where a constraint does not hold."""
    whole = Constraints([Constraint(path, "x-1", program(expression))])
    return [one.location for one in whole.judge(resource)]


PATIENT: JsonObject = {
    "resourceType": "Patient",
    "id": "p",
    "contained": [{"resourceType": "Patient", "id": "a", "link": [{"other": {"reference": "#b"}}]}],
    "_birthDate": {"extension": [{"url": "urn:x", "valueString": "y"}]},
    "gender": "male",
    "_gender": {"id": "g"},
    "name": [{"given": [None, "B"], "_given": [{"extension": [{"url": "urn:z"}]}, None], "family": "F"}],
    "deceasedBoolean": False,
    "unknown": {"reference": "#c"},
}


@pytest.mark.parametrize(
    ("path", "expression", "where"),
    [
        ("Patient", "id = 'a'", ["Patient"]),
        ("Resource", "false", ["Patient", "Patient.contained[0]"]),
        ("Extension", "value.exists()", ["Patient.name[0].given[0].extension[0]"]),
        ("Element.extension", "false", ["Patient.birthDate.extension[0]", "Patient.name[0].given[0].extension[0]"]),
        ("Resource", "%resource.descendants().count() > 5", ["Patient.contained[0]"]),
        ("Patient.deceased[x]", "$this", ["Patient.deceasedBoolean"]),
        ("HumanName", "given.count() = 1", ["Patient.name[0]"]),
        ("Patient.link", "other.empty()", ["Patient.contained[0].link[0]"]),
        ("Reference", "%resource.id = 'a' and %rootResource.id = 'p' and %context.reference = '#b'", []),
        ("Reference", "%resource.id = 'p'", ["Patient.contained[0].link[0].other"]),
        ("code", "id.exists()", []),
        ("Element", "hasValue()", ["Patient.contained[0].link[0]", "Patient.contained[0].link[0].other"]),
        # Of a primitive with a value the first two need not be asked; the third must be.
        ("string", "hasValue() or false", ["Patient.name[0].given[0]"]),
        ("HumanName", "hasValue() or family = 'G'", ["Patient.name[0]"]),
        ("HumanName.family", "hasValue() and false", ["Patient.name[0].family"]),
        ("boolean", "hasValue() and false", ["Patient.deceasedBoolean"]),
        ("Element", "children().count() > id.count()", ["Patient.id"]),
        ("HumanName", "children().count() > id.count()", []),
        ("Reference", "1 + 'a' = 2", ["Patient.contained[0].link[0].other"]),
    ],
)
def test_places(path: str, expression: str, where: list[str]) -> None:
    assert found(expression, path, PATIENT)[: len(where) or None] == where


def test_what_is_below_an_element_that_nothing_stands_at_is_judged_each_time() -> None:
    """Once only the first time: later an element was known to have no constraint, and left out with all below it."""
    whole = Constraints([Constraint("Coding", "x-1", program("system.exists()"))])
    coded: JsonObject = {"coding": [{"code": "a"}]}
    observation: JsonObject = {"resourceType": "Observation", "code": coded, "category": [coded]}
    expected = ["Observation.code.coding[0]", "Observation.category[0].coding[0]"]
    for _ in range(2):
        assert [one.location for one in whole.judge(observation)] == expected


def test_a_bundle_is_around_nobody() -> None:
    bundle: JsonObject = {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": {**PATIENT, "id": "q"}}]}
    assert found("%rootResource.id = 'q'", "DomainResource", bundle) == []
    assert found("%rootResource.type = 'batch'", "Bundle.entry", bundle) == []
    assert found("false", "Bundle.entry", bundle) == ["Bundle.entry[0]"]


def test_one_text_is_evaluated_once_and_breaks_for_each_key() -> None:
    text = program("hasValue().not()")
    whole = Constraints([Constraint("code", "x-1", text), Constraint("Element", "x-2", text)])
    gender = [(one.location, one.key) for one in whole.judge(PATIENT) if one.location == "Patient.gender"]
    assert gender == [("Patient.gender", "x-1"), ("Patient.gender", "x-2")]
    assert [len(place.rules) for place in whole.places(PATIENT) if place.name == "gender"] == [1]


def test_a_pass_ends_at_its_budget_and_says_so() -> None:
    whole = Constraints([Constraint("Element", "x-1", program("children().count() >= 0"))])
    assert whole.judge(PATIENT) == ()
    (last,) = whole.judge(PATIENT, budget=10)
    assert last.outcome.failure is Failure.OUT_OF_BUDGET
    assert whole.judge(PATIENT, budget=10) == (last,)


def test_an_error_at_one_place_leaves_nothing_behind() -> None:
    whole = Constraints(
        [
            Constraint("Patient", "x-1", program("contained.where(1 + 'a' = 2).exists()")),
            Constraint("HumanName", "x-2", program("family = 'F' and $this.is(HumanName)")),
            Constraint("code", "x-3", program("$index.empty()")),
        ]
    )
    keys = [one.key for one in whole.judge(PATIENT) if one.location.startswith(("Patient.name", "Patient.gender"))]
    assert keys == ["x-3"]


@pytest.mark.parametrize("resource", [None, [], "text", 1, {"resourceType": "Nothing"}, {"id": "x"}, [[PATIENT]]])
def test_what_is_no_resource_has_no_places(resource: object) -> None:
    whole = Constraints([Constraint("Resource", "x-1", program("false"))])
    assert [one.location for one in whole.judge(resource)] == (
        ["Patient", "Patient.contained[0]"] if resource == [[PATIENT]] else []
    )
