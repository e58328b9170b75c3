"""Criteria that ask for strings are asked of the JSON itself: with the same answer, and for the same work."""

from itertools import product
from typing import Final

import pytest

from gateway.fhirpath import engine
from gateway.fhirpath.compiler import Compiler
from gateway.fhirpath.engine import FAILURES, Outcome, Program, failed
from gateway.fhirpath.env import Expr, begun
from gateway.fhirpath.items import as_json, lift
from gateway.fhirpath.library import LIBRARY
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
    *({"coding": [one]} for one in _CODINGS),
    *({"coding": [_CODINGS[0], one]} for one in _CODINGS),
    *({"coding": [one, _CODINGS[1], _CODINGS[0]]} for one in _CODINGS),
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
_ASKED: Final = ("where({})", "where({}).code", "where({}).exists()", "exists({})", "all({})")


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


def _is_the_same(expression: str, resource: object, *, strict: bool) -> int:
    """Item by item, and the short way; with any budget, too. Answers with the units spent."""
    program = engine.compile(expression, strict=strict)
    assert isinstance(program, Program), program
    steps = _ItemByItem(types=program.types, library=LIBRARY, strict=strict).compile(program.tree)
    expected = _spent(steps, program, resource)
    assert _spent(program.run, program, resource) == expected, resource
    units = 0 if isinstance(expected[0], Outcome) else _LIMIT - expected[1]
    for budget in range(units + 1):
        assert _spent(program.run, program, resource, budget) == _spent(steps, program, resource, budget), budget
    return units


@pytest.mark.parametrize(("asked", "criterion"), list(product(_ASKED, _CRITERIA)))
def test_a_criterion_says_and_costs_what_it_does_item_by_item(asked: str, criterion: str) -> None:
    spent = 0
    for concept, strict in product(_CONCEPTS, (True, False)):
        resource = {"resourceType": "Observation", "code": concept, "category": [concept, concept]}
        for start in ("code.coding", "category.coding", "%resource.code.coding"):
            spent += _is_the_same(f"{start}.{asked.format(criterion)}", resource, strict=strict)
    assert spent > 1_000


@pytest.mark.parametrize(
    "expression",
    [
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
def test_other_elements_say_and_cost_the_same(expression: str) -> None:
    resource = {
        "resourceType": "Observation",
        "note": [{"text": "m", "time": "2020", "authorString": "a"}, {"text": "n", "_time": {"id": "i"}}],
        "component": [{"valueString": "v", "code": {"coding": [{"code": "x"}]}}, {"code": {"text": "t"}}],
        "contained": [{"resourceType": "Observation", "id": "c", "status": "final"}],
        "referenceRange": [{"text": "t"}, {"text": "u"}],
        "category": [{"text": "a"}, {"text": "a"}],
    }
    for strict in (True, False):
        assert _is_the_same(expression, resource, strict=strict) > 0


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
