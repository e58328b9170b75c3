"""What expressions give, by a table."""

from decimal import Decimal

import pytest

from gateway.fhir.json import JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.engine import Failure, Program
from gateway.fhirpath.items import as_json
from tests.fhirpath.resources import NOW, OBSERVATION, PATIENT, VARIABLES
from tests.fhirpath.table import TABLE


def compiled(expression: str) -> Program:
    program = engine.compile(expression, strict=True)
    assert isinstance(program, Program), program
    return program


@pytest.mark.parametrize("row", TABLE, ids=[str(row["expression"]) for row in TABLE])
def test_expression(row: dict[str, object]) -> None:
    resource = PATIENT if row.get("on") == "patient" else OBSERVATION
    outcome = compiled(str(row["expression"])).evaluate(resource, VARIABLES, now=NOW)
    if "fails" in row:
        assert outcome.failure is Failure.ERROR
        assert str(row["fails"]) in str(outcome.reason)
        assert outcome.values == []
    else:
        assert outcome.reason is None
        assert [as_json(item) for item in outcome.values] == row["gives"]


def test_boolean_and_number_are_told_apart_in_results() -> None:
    assert [type(as_json(item)) for item in compiled("true | 1 | 1.5").evaluate(None).values] == [bool, int, float]


def test_without_a_resource_paths_are_empty() -> None:
    assert compiled("Patient.name.exists()").evaluate(None).values == [False]


@pytest.mark.parametrize("clock", ["now()", "today()", "timeOfDay()"])
def test_the_clock_is_never_the_machine_s(clock: str) -> None:
    assert compiled(clock).evaluate(OBSERVATION).failure is Failure.ERROR
    assert compiled(clock).evaluate(OBSERVATION, now="yesterday").failure is Failure.ERROR


def test_reasons_hold_no_value_of_the_payload() -> None:
    for expression in ("name.family.startsWith(1)", "name.where(family)", "birthDate.resolve()", "name.family + 1"):
        outcome = compiled(expression).evaluate({"resourceType": "Patient", "name": [{"family": "Secret"}]})
        assert "Secret" not in str(outcome.reason)


def test_trace_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert compiled("name.trace('names').count()").evaluate(PATIENT).values == [2]
    assert compiled("name.family.first().matches('(' & '')").evaluate(PATIENT).failure is Failure.ERROR
    assert capfd.readouterr() == ("", "")


def test_what_is_not_of_its_encoding_is_an_error() -> None:
    for text in ("'a'.decode('base64')", "'gICA'.decode('base64')", "'abc'.decode('hex')"):
        outcome = compiled(text).evaluate(None)
        assert outcome.failure is Failure.ERROR
        assert outcome.reason == "a string is not of the encoding that it is read in"


def test_an_input_nested_too_deeply_is_an_error() -> None:
    deep: object = 1
    for _ in range(5_000):
        deep = [deep]
    outcome = compiled("%deep = %deep").evaluate(None, {"deep": deep})
    assert outcome.failure is Failure.ERROR
    assert outcome.reason == "the input is nested too deeply"


def test_a_release_without_a_model_is_a_problem() -> None:
    problems = engine.compile("true", model="DSTU1")
    assert isinstance(problems, tuple)
    assert "DSTU1" in problems[0].message


def test_decimals_of_a_strict_parser_are_numbers_too() -> None:
    assert compiled("value.ofType(Quantity).value = 6.30").evaluate(
        {"resourceType": "Observation", "valueQuantity": {"value": Decimal("6.3")}}
    ).values == [True]


@pytest.mark.parametrize("strict", [True, False])
def test_a_function_that_proves_too_little_is_none_for_policies(strict: bool) -> None:
    found = engine.compile("$this.conformsTo('http://hl7.org/fhir/StructureDefinition/Observation')", strict=strict)
    if not strict:
        assert isinstance(found, Program)
        assert found.evaluate(OBSERVATION).values == [True]
        return
    assert isinstance(found, tuple)
    assert [(one.offset, one.length) for one in found] == [(6, 10)]
    assert "type of a resource only" in found[0].message


@pytest.mark.parametrize(
    "expression", ["'aa'.replace('a', %long)", "%long + %long", "%long & %long", "('a' | %long).join(%long)"]
)
def test_a_text_does_not_grow_past_what_is_allowed(expression: str) -> None:
    outcome = compiled(expression).evaluate(None, {"long": "x" * 2_600_000})
    assert outcome.failure is Failure.ERROR
    assert outcome.reason == "a string grew too long"


def test_a_text_may_be_as_long_as_is_allowed() -> None:
    for expression in ("(%long & %long).length()", "(%long + %long).length()"):
        assert compiled(expression).evaluate(None, {"long": "x" * 2_500_000}, budget=10**6).values == [5_000_000]
    outcome = compiled("%long & %long & 'x'").evaluate(None, {"long": "x" * 2_500_000}, budget=10**6)
    assert outcome.reason == "a string grew too long"
    assert compiled("''.matches(%pattern)").evaluate(None, {"pattern": "a" * 1_000}).values == [False]
    assert "longer than 1000" in str(compiled("''.matches(%pattern)").evaluate(None, {"pattern": "a" * 1_001}).reason)


@pytest.mark.parametrize("entry", ["x", 1, None, {"fullUrl": "urn:x"}, {"fullUrl": "urn:x", "resource": "y"}])
def test_an_entry_that_is_no_fhir_resolves_to_nothing(entry: object) -> None:
    outcome = compiled("'urn:x'.resolve()").evaluate({"resourceType": "Bundle", "entry": [entry]})
    assert outcome.reason == "resolve() follows references to contained and given resources only"


NARRATIVES = [
    ('<div xmlns="http://www.w3.org/1999/xhtml">a</div>', True),
    ("<div>a</div>", True),
    ('<div xmlns="http://www.w3.org/1999/html">a</div>', False),
    ('<p xmlns="http://www.w3.org/1999/xhtml">a</p>', False),
    ('<div><a href="#x" title="y">a</a></div>', True),
    ('<div><a title="y" href="javascript:x">a</a></div>', False),
    ('<div><a href="#x" onclick="y">a</a></div>', False),
]


@pytest.mark.parametrize(("div", "is_allowed"), NARRATIVES)
def test_narrative(div: str, is_allowed: bool) -> None:
    resource: JsonObject = {"resourceType": "Patient", "text": {"status": "generated", "div": div}}
    assert compiled("text.div.htmlChecks()").evaluate(resource).values == [is_allowed]


@pytest.mark.parametrize(
    ("more", "count"),
    [({}, 1), ({"gender": None}, 1), ({"foo": 1}, 1), ({"name": [{}, {}]}, 3), ({"_birthDate": {}}, 2)],
)
def test_children_are_counted_as_they_are_given(more: JsonObject, count: int) -> None:
    for expression in ("children().count()", "$this.children().count()", "children().select(1).count()"):
        assert compiled(expression).evaluate({"resourceType": "Patient", "id": "a", **more}).values == [count]
