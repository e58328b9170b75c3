"""What the static pass says of an expression is what its evaluation gives, on published resources."""

import pytest

from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from gateway.fhirpath.items import Item
from gateway.fhirpath.model import Model, load
from gateway.fhirpath.type_tests import type_of
from gateway.fhirpath.types_check import check, static_type
from gateway.fhirpath.types_facts import ANY, Static
from tests.fhirpath.differences import NOW, PUBLISHED
from tests.fhirpath.generated import Generator
from tests.fhirpath.test_differential import resource

EACH = 200
EXAMPLES = [(release, name) for release, names in PUBLISHED.items() for name in names]


@pytest.mark.parametrize(("release", "name"), EXAMPLES)
def test_values_have_their_static_type_and_number(release: str, name: str) -> None:
    on, model = resource(release, name), load(release)
    roots = {"resource": str(on["resourceType"])}
    generator = Generator(on, model, seed=1_000 + PUBLISHED[release].index(name))
    seen = 0
    for expression in (generator.expression(3) for _ in range(EACH)):
        program = engine.compile(expression, model=release)
        if not isinstance(program, Program):
            continue
        outcome = program.evaluate(on, now=NOW)
        if outcome.failure is None:
            static = static_type(program.tree, model, roots)
            assert _has(static, outcome.values, model), f"{expression}: {static}, and not {outcome.values}"
            seen += 1
    assert seen > EACH / 2


@pytest.mark.parametrize(("release", "name"), EXAMPLES)
def test_a_path_that_is_there_has_no_problem(release: str, name: str) -> None:
    on, model = resource(release, name), load(release)
    roots = {"resource": str(on["resourceType"])}
    for path, _value, _type in Generator(on, model, seed=0).leaves:
        program = engine.compile(path, model=release)
        assert isinstance(program, Program)
        assert check(program.tree, model, roots) == ()
        assert program.evaluate(on).values != []


def _has(static: Static, values: list[Item], model: Model) -> bool:
    if len(values) < static.least or (len(values) > 1 and not static.many):
        return False
    return static.kinds is None or all(any(_is(value, kind.type, model) for kind in static.kinds) for value in values)


def _is(value: Item, wanted: str, model: Model) -> bool:
    space, name = type_of(value)
    if name == "Integer" and wanted == "System.Decimal":  # JSON writes the decimal 2 as it writes the integer 2
        return True
    return wanted in ANY or (f"System.{name}" == wanted if space == "System" else model.is_a(name, wanted))
