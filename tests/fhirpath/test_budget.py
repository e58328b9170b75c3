"""Every evaluation ends soon, whatever the policy and the payload."""

import time
from decimal import Decimal

import pytest

from gateway.fhir.json import JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.engine import Failure, Outcome, Program

WIDE: JsonObject = {
    "resourceType": "Patient",
    "name": [{"family": "x" * 100, "given": ["a"] * 20} for _ in range(5_000)],
}
LONG: JsonObject = {"resourceType": "Patient", "name": [{"family": "a" * 50_000}]}


def run(expression: str, resource: object, budget: int = engine.BUDGET) -> Outcome:
    program = engine.compile(expression)
    assert isinstance(program, Program), program
    return program.evaluate(resource, budget=budget)


def nested(depth: int) -> str:
    criterion = "family.exists()"
    for _ in range(depth):
        criterion = f"$this.where({criterion}).exists()"
    return f"name.where({criterion}).exists()"


@pytest.mark.parametrize(
    "expression",
    [
        "name.all(%resource.name.all(%resource.name.all(%resource.name.all(family = 'y'))))",
        "name.where(family in %resource.name.family).count()",
        "name.where($this = %resource.name).exists()",
        "name.where(%resource.name ~ %resource.name).exists()",
        "name.distinct().count()",
        "name.combine(name).isDistinct()",
        "name.subsetOf(name)",
        "descendants().descendants().count()",
        "name.repeat(%resource.name).count()",
        "name.aggregate($total & $this.family, '').length()",
        "name.aggregate($total + $total, 1)",
        "name.select(%resource.name.family.sort().first())",
        "name.repeatAll($this)",
        "name.select(2.power(90) + 1.5.exp()).sum()",
        "name.given.select(1 'cm' + 1 'm').count()",
        "name.given.select(@2020-01-31T00:00:00Z + 1 month).count()",
        "name.given.select(%resource.name.first().family.matches('^(x|y)+$')).count()",
        "name.sort(given.first(), -family).first()",
        "name.select('a,b,c,d'.split(',')).distinct().count()",
    ],
)
def test_costly_expressions_end_at_the_budget(expression: str) -> None:
    start = time.process_time()
    assert run(expression, WIDE).failure is not None
    assert time.process_time() - start < 1


def test_out_of_budget_is_a_result_of_its_own() -> None:
    outcome = run("descendants().count()", WIDE)
    assert outcome.failure is Failure.OUT_OF_BUDGET
    assert outcome.reason == "the evaluation took more work than is allowed"


def test_nested_criteria_cost_their_depth_and_not_its_power() -> None:
    one: JsonObject = {"resourceType": "Patient", "name": [{"family": "A"}]}
    spent = {depth: _least_budget(nested(depth), one) for depth in (5, 10, 20)}
    assert spent[20] - spent[10] < 3 * (spent[10] - spent[5])


def _least_budget(expression: str, resource: JsonObject) -> int:
    low, high = 0, engine.BUDGET
    while low < high:
        middle = (low + high) // 2
        if run(expression, resource, middle).failure is None:
            high = middle
        else:
            low = middle + 1
    return low


@pytest.mark.parametrize("pattern", ["(a+)+$b", "(a|aa)+$b", "(.*)*b$c", "a{1,500}b"])
def test_patterns_do_not_backtrack(pattern: str) -> None:
    start = time.process_time()
    family = "a" * 5_000
    assert run(f"name.family.first().matches('{pattern}')", {"name": [{"family": family}]}).values == [False]
    assert time.process_time() - start < 1


HUGE: JsonObject = {
    "resourceType": "Patient",
    "name": [{"family": "x" * 2_000_000}, {"family": "".join(["x"] * 2_000_000)}],
    "contact": [{"gender": "male"}] * 20_000,
    "text": {"div": f"<div>{'<b/>' * 500_000}</div>"},
}


@pytest.mark.parametrize(
    "expression",
    [
        "contact.where(%resource.name[0].family = %resource.name[1].family).count()",
        "contact.where(%resource.name[0].family < %resource.name[1].family).count()",
        "contact.where(%resource.name[0].family ~ %resource.name[1].family).count()",
        "contact.where(%resource.name.family contains 'x').count()",
        "contact.where(%resource.name.family.subsetOf(%resource.name.family)).count()",
        "contact.where(%resource.name[0].family.contains('xyxy')).count()",
        "contact.select(%resource.name[0].family.upper()).count()",
        "name.family.first().matches('(a{1,30}){1,30}b')",
        "name.family.first().replaceMatches('(.{0,900}){1}b', '')",
        "name.family.first().toChars().count()",
        "text.div.htmlChecks()",
    ],
)
def test_long_strings_cost_their_length(expression: str) -> None:
    start = time.process_time()
    assert run(expression, HUGE).failure is Failure.OUT_OF_BUDGET
    assert time.process_time() - start < 1


def test_numbers_of_many_digits_are_no_work() -> None:
    observation = {
        "resourceType": "Observation",
        "valueQuantity": {"value": Decimal("1E+999999"), "unit": "mg"},
        "component": [{"valueQuantity": {"value": Decimal("1E-999999"), "code": "mg"}}] * 500,
    }
    for expression in (
        "value = 1 'mg'",
        "value < 1 'g'",
        "value.value.toString().length() < 100",
        "value.value.ceiling() > 1",
        "component.where(value < 1 'g').count()",
        "component.value.value.sum() > 1",
        "(1 'm' * 10000000 'km').power(9)",
        "(1 | 2 | 3).aggregate($total * 10000000000 'km', 1 'km')",
        "@2024-01-01 + (1000000000 * 1000000000 * 1000000000).toQuantity('1')",
    ):
        start = time.process_time()
        run(expression, observation)
        assert time.process_time() - start < 0.5, expression


def test_strings_cannot_grow_without_bound() -> None:
    for expression in (
        "name.family.first().replace('a', %resource.name.family.first())",
        "name.family.first().replaceMatches('a', %resource.name.family.first())",
        "name.family.first().toChars().join(%resource.name.family.first())",
    ):
        assert run(expression, LONG, 10**9).reason == "a string grew too long"


def test_a_pattern_from_elsewhere_is_bounded_too() -> None:
    assert run("name.family.first().matches(%resource.name.family.first())", LONG).failure is Failure.ERROR
    assert run("'a'.matches('(' & 'a{900}){900}')", LONG).failure is Failure.ERROR
