"""Criteria that ask for strings are asked of the JSON itself: with the same answer, and for the same work."""

from collections.abc import Iterable
from itertools import product
from typing import Final, NoReturn

import pytest

from gateway.fhirpath import engine
from gateway.fhirpath.comparison import on_member
from gateway.fhirpath.compiler import Compiler
from gateway.fhirpath.criteria import Criterion, asked, sifted
from gateway.fhirpath.engine import FAILURES, Outcome, Program, failed
from gateway.fhirpath.env import Expr, begun
from gateway.fhirpath.items import TRUE, BudgetExceeded, as_json, lift
from gateway.fhirpath.library import LIBRARY
from gateway.fhirpath.navigation import from_this
from gateway.fhirpath.tree import Node

_LIMIT: Final = 10_000
_CODINGS: Final[tuple[object, ...]] = (
    {"system": "a", "code": "x"},
    {"system": "a", "code": "y", "display": "d", "version": "1"},
    {"code": "x"},
    {"system": "a"},
    {"system": "b", "code": "x", "version": "1"},
    {"_system": {"extension": [{"url": "u"}]}, "code": "x"},
    {"system": "a", "_system": {"id": "i"}, "code": "x"},
    {"system": None, "code": "x"},
    {"system": 1, "code": "x"},
    {"system": ["a", "b"], "code": "x"},
    {"system": ["a"], "code": ["x"]},
    {},
    None,
    "a",
    ["a"],
    [{"system": "a", "code": "x"}],
)
_CONCEPTS: Final[tuple[object, ...]] = (
    *({"coding": [_CODINGS[0], one, _CODINGS[1]]} for one in _CODINGS),
    {"coding": {"system": "a", "code": "x"}},
    {"coding": []},
    {"coding": None},
    {"coding": [_CODINGS[4]] * 3, "_coding": [{"id": "i"}]},
    {"_coding": [{"id": "i"}]},
    [{"coding": [_CODINGS[0]]}],
    [{"coding": [_CODINGS[0]]}, {"coding": [_CODINGS[1], _CODINGS[2]]}],
    [],
    "a",
    None,
)
_CRITERIA: Final = (
    "system = 'a'",
    "system != 'a'",
    "system in ('a' | 'b')",
    "system = 'a' and code = 'x'",
    "code = 'x' and system != 'a'",
    "code in ('x' | 'y') and system = 'b'",
    "system in ('b' | 'c') and code != 'y' and version = '1'",
    "code = 'x' and (system = 'a' and display = 'd')",
    "foo = 'a'",
    "userSelected = 'a' and code = 'x'",
    "system = ('a' | 'b')",
)
_ASKED: Final = ("where({}).code", "exists({})", "all({})")


class _ItemByItem(Compiler):
    def _criterion(self, node: Node) -> None:
        """No criterion is anything but an expression."""


def _spent(run: Expr, program: Program, resource: object, budget: int = _LIMIT) -> tuple[object, int]:
    """The outcome, and what was left of the budget unless it is an error, after which nobody looks."""
    root = lift(resource, program.types)
    env = begun(root, root, {}, {}, None, program.types, program.strict, budget)
    try:
        found = [as_json(item) for item in run(env)]
    except FAILURES as error:
        return failed(error), 0
    return found, env.left


def _same(expression: str, resources: Iterable[object], *, strict: bool) -> int:
    """Item by item, and the short way; with too small a budget, too. Answers with the units that were spent."""
    program = engine.compile(expression, strict=strict)
    assert isinstance(program, Program), program
    steps = _ItemByItem(types=program.types, library=LIBRARY, strict=strict).compile(program.tree)
    spent = 0
    for resource in resources:
        expected = _spent(steps, program, resource)
        units = 0 if isinstance(expected[0], Outcome) else _LIMIT - expected[1]
        assert _spent(program.run, program, resource) == expected, resource
        for budget in (units, units - 1, units // 2, 1):
            assert _spent(program.run, program, resource, budget) == _spent(steps, program, resource, budget), resource
        spent += units
    return spent


@pytest.mark.parametrize(("asked", "criterion"), list(product(_ASKED, _CRITERIA)))
def test_a_criterion_says_and_takes_what_it_does_item_by_item(asked: str, criterion: str) -> None:
    resources = [{"resourceType": "Observation", "code": one, "category": [one, one]} for one in _CONCEPTS]
    for strict, start in ((True, "code.coding"), (False, "code.coding"), (True, "%resource.code.coding")):
        assert _same(f"{start}.{asked.format(criterion)}", resources, strict=strict) > 100


@pytest.mark.parametrize(
    "expression",
    [
        "category.coding.where(code = 'x')",
        "foo.where(code = 'x')",
        "note.where(time = '2020')",
        "note.where(text = 'n' and author = 'a')",
        "component.where(value = 'v').exists()",
        "component.where(code.coding.exists(code = 'x'))",
        "contained.where(status = 'final').exists()",
        "contained.all(id = 'c')",
        "referenceRange.where(text = 't').where(text != 'u')",
        "category.where(text = 'a' and $index = 0)",
        "note.exists(text = 'm') and note.all(text in ('m' | 'n')) and note.where(text = 'o').empty()",
        "note.time.where(id = 'i')",
        "'a'.where(id = 'i')",
    ],
)
def test_other_elements_say_and_take_the_same(expression: str) -> None:
    resource = {
        "resourceType": "Observation",
        "note": [{"text": "m", "time": "2020", "authorString": "a"}, {"text": "n", "_time": {"id": "i"}}],
        "component": [{"valueString": "v", "code": {"coding": [{"code": "x"}]}}, {"code": {"text": "t"}}],
        "contained": [{"resourceType": "Observation", "id": "c", "status": "final"}],
        "referenceRange": [{"text": "t"}, {"text": "u"}],
        "category": [{"text": "a", "coding": [{"code": "x"}]}, {"text": "a"}],
    }
    for strict in (True, False):
        assert _same(expression, [resource], strict=strict) > 0


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("code.coding.where(system = 'a' and code != 'y').code", ["x", "z"]),
        ("code.coding.where(system = 'b').code", []),
        ("code.coding.exists(system = 'a' and code = 'y')", [True]),
        ("code.coding.exists(system = 'b')", [False]),
        ("code.coding.all(system = 'a')", [False]),
        ("code.coding.where(code in ('x' | 'z')).all(system = 'a')", [True]),
        ("code.coding.where(code in ('x' | 'y')).all(system = 'a')", [False]),
        ("category.coding.all(system = 'a')", [True]),
        ("%resource.code.coding.exists(system != 'a')", [False]),
        ("%resource.code.coding.all(system = 'a')", [False]),
        ("%resource.category.coding.all(system = 'a')", [True]),
        ("%resource.category.coding.where(system = 'a')", []),
        ("%resource.code.coding.where(code = 'z' and system = 'a').display", ["d"]),
        ("category.coding.where(system.exists())", []),
    ],
)
def test_criteria(expression: str, expected: list[object]) -> None:
    codings = [
        {"system": "a", "code": "x"},
        {"system": "a", "code": "y"},
        {"code": "y"},
        {"system": "a", "code": "z", "display": "d"},
    ]
    program = engine.compile(expression, strict=True)
    assert isinstance(program, Program), program
    outcome = program.evaluate({"resourceType": "Observation", "code": {"coding": codings}})
    assert [as_json(item) for item in outcome.values] == expected


def _never(*_what: object) -> NoReturn:
    raise AssertionError("the long way was gone")


@pytest.mark.parametrize(
    ("name", "concept", "expected"),
    [
        ("where", {"coding": [{"code": "x"}, {"code": "y"}, {}]}, [{"code": "x"}]),
        ("where", {"coding": {"code": "x"}}, [{"code": "x"}]),
        ("where", {}, []),
        ("exists", {"coding": [{"code": "y"}, {}, {"code": "x"}]}, [True]),
        ("exists", {"coding": [{"code": "y"}, {}]}, [False]),
        ("all", {"coding": [{"code": "x"}, {"code": "x"}]}, [True]),
        ("all", {"coding": [{"code": "x"}, {}]}, [False]),
        ("all", {"coding": []}, [True]),
    ],
)
def test_what_is_simple_takes_the_short_way(name: str, concept: object, expected: list[object]) -> None:
    criterion = Criterion((("code", frozenset("x"), True, 1),), _never, _never, 0)
    types = engine._types("R4")
    observation = lift({"resourceType": "Observation", "code": concept}, types)
    env = begun(observation, observation, {}, {}, None, types, True, _LIMIT)
    codings = from_this("code", "coding", types=types)(env)
    assert [as_json(item) for item in sifted(("code", "coding"), name, criterion, _never)(env)] == expected
    assert [as_json(item) for item in asked(name, criterion)(env, codings)] == expected


def test_a_budget_ends_before_the_items_are_looked_at() -> None:
    criterion = Criterion((("code", frozenset("x"), True, 1),), _never, _never, 0)
    types = engine._types("R4")
    observation = lift({"resourceType": "Observation", "code": {"coding": [{"code": "x"}, None]}}, types)
    env = begun(observation, observation, {}, {}, None, types, True, 4)
    with pytest.raises(BudgetExceeded):
        sifted(("code", "coding"), "exists", criterion, _never)(env)


def test_one_string_of_an_item_takes_the_short_way() -> None:
    types = engine._types("R4")
    observation = lift({"resourceType": "Observation", "status": "final"}, types)
    env = begun(observation, observation, {}, {}, None, types, True, _LIMIT)
    assert on_member(("status", frozenset(["final"]), True, 1), _never)(env) is TRUE
