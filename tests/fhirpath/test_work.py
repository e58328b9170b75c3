"""Every step costs what it takes: no function, and no input, gives much more time for a unit of work than others."""

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final

import pytest
from ruamel.yaml import YAML

from gateway.fhir.json import Json, JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.arithmetic import ARITHMETIC
from gateway.fhirpath.comparison import COMPARISONS
from gateway.fhirpath.constructs import parts
from gateway.fhirpath.library import LIBRARY, TYPE_ARGUMENT
from gateway.fhirpath.logic import LOGIC
from gateway.fhirpath.parser import parse
from gateway.fhirpath.tree import Binary, Function
from tests.fhirpath.work import LIMIT, measured

_CASES: Final = Path(__file__).parents[1] / "cases" / "fhirpath-work.yaml"
TABLE: Final[dict[str, list[str]]] = YAML(typ="safe").load(_CASES.read_text(encoding="utf-8"))
_MERSENNE: Final = 2**61 - 1  # Python's hash of every multiple of it is 0


def _balanced(operator: str, leaf: str, depth: int) -> str:
    inner = leaf if depth == 0 else _balanced(operator, leaf, depth - 1)
    return inner if depth == 0 else f"({inner} {operator} {inner})"


def _wide() -> JsonObject:
    return {
        "resourceType": "Patient",
        "name": [{"family": "x" * 100, "given": ["a"] * 20} for _ in range(5_000)],
    }


def _long() -> JsonObject:
    texts = ["x" * 2_000_000, "".join(["x"] * 2_000_000), "&lt;\\n" * 300_000, "\u00df" * 1_000_000]
    numbered = [str(at) for at in range(3_000)]
    names: list[Json] = [{"family": text} for text in texts]
    return {
        "resourceType": "Patient",
        "name": [*names, {"given": [*numbered]}, {"given": [*reversed(numbered)]}, {"family": " " * 2_000_000}],
        "contact": [{"gender": "male"}] * 20_000,
        "contained": [{"resourceType": "Patient", "id": f"p{at}"} for at in range(20_000)],
        "text": {"div": f"<div>{'<b/>' * 500_000}</div>"},
        "generalPractitioner": [{"reference": f"#p{at}"} for at in range(20_000)],
        "identifier": [{"system": "a&lt;b\\n" * 8, "value": str(at * _MERSENNE)} for at in range(1, 20_000)],
        "telecom": [{"value": f"(\\pL{{3}}|\\pN){{2}}{at}"} for at in range(5_000)],
        "communication": [{"language": {"text": "x" * 250}} for _ in range(5_000)],
    }


def _amounts() -> dict[str, object]:
    random = Random(1)
    units = ("mg", "kg2", "mm", "uL", "m[Hg]", "10*3", "Ym9", "Tg-2")

    def amount(at: int) -> dict[str, object]:
        code = ".".join(random.choice(units) for _ in range(6))
        return {"value": Decimal(at) / 7, "code": code, "system": "http://unitsofmeasure.org"}

    return {
        "resourceType": "Observation",
        "component": [{"valueQuantity": amount(at)} for at in range(8_000)],
        "referenceRange": [{"low": {"value": at, "unit": "mg"}} for at in range(8_000)],
        "note": [{"text": "x", "time": f"2020-01-{at % 28 + 1:02d}T00:{at % 60:02d}:00+10:00"} for at in range(8_000)],
    }


def _deep() -> JsonObject:
    resource: JsonObject = {"resourceType": "Patient"}
    for _ in range(90):
        resource = {"resourceType": "Patient", "contained": [resource], "extension": [{"url": "u"}]}
    return resource


SMALL: Final[JsonObject] = {
    "resourceType": "Patient",
    "id": "a",
    "active": True,
    "birthDate": "2000-01-01",
    "name": [{"family": "abc", "given": ["x", "y"]}],
    "identifier": [{"system": "http://a.b/c", "value": "1"}],
    "contained": [{"resourceType": "Patient", "id": "z"}],
    "managingOrganization": {"reference": "#z"},
    "extension": [{"url": "u", "valueString": "a"}],
    "text": {"div": "<div xmlns='http://www.w3.org/1999/xhtml'>a</div>"},
}
WIDE, LONG, AMOUNTS, DEEP = _wide(), _long(), _amounts(), _deep()
# What counts nothing by itself, many times over in an argument that is evaluated for each item.
FREE_ROWS: Final = (
    f"name.given.where({_balanced('and', 'true', 9)})",
    f"name.given.select({_balanced('or', '($this is Quantity)', 8)})",
    f"name.given.where({_balanced('and', '$this=$this', 7)})",
    f"name.given.where({_balanced('implies', '$this.use.empty()', 7)})",
    f"name.given.defineVariable('y', {_balanced('or', '$this.foo.exists()', 9)}).count()",
    f"name.given.sort({_balanced('xor', 'true', 9)})",
    f"name.aggregate({_balanced('and', '$total.foo.empty()', 9)}, %resource.name.given)",
)


@pytest.mark.timed
@pytest.mark.parametrize("expression", TABLE["small"])
def test_a_unit_of_each_function_and_operator(expression: str) -> None:
    work = measured(expression, SMALL, budget=10**9, least_units=1)
    assert work.rounds <= LIMIT, work


@pytest.mark.timed
@pytest.mark.parametrize(
    ("expression", "resource"),
    [
        *((row, WIDE) for row in (*TABLE["wide"], *FREE_ROWS)),
        *((row, LONG) for row in TABLE["long"]),
        *((row, AMOUNTS) for row in TABLE["amounts"]),
        *((row, DEEP) for row in TABLE["deep"]),
    ],
    ids=lambda value: value[:100] if isinstance(value, str) else "",
)
def test_a_unit_on_a_large_input(expression: str, resource: object) -> None:
    work = measured(expression, resource, budget=engine.BUDGET)
    assert work.rounds <= LIMIT, work


def test_every_function_and_operator_is_in_the_table() -> None:
    nodes = [node for row in TABLE["small"] for node in parts(parse(row))]
    functions = {node.name for node in nodes if isinstance(node, Function)}
    assert {*LIBRARY, *TYPE_ARGUMENT} - functions == set()
    operators = {node.operator for node in nodes if isinstance(node, Binary)}
    assert {*ARITHMETIC, *COMPARISONS, *LOGIC, "|"} - operators == set()
