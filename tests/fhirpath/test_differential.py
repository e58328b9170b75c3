"""This engine beside fhirpathpy, over generated expressions and published resources.

Each disagreement belongs to a group of tests/cases/fhirpath-differences.yaml, which settles it by the specification.
"""

import copy
import json
from decimal import Decimal

import fhirpathpy
import pytest
from fhirpathpy.models import models

from gateway.fhir.json import JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from gateway.fhirpath.items import as_json
from gateway.fhirpath.model import load
from tests.fhirpath.differences import NOW, PUBLISHED, groups, is_settled, path_of
from tests.fhirpath.generated import Generator

EACH = 150  # expressions for each resource
MODELS = {"R4": "r4", "R4B": "r4", "R5": "r5"}  # the library has none of R4B; what is asked here is the same in R4


def resource(release: str, name: str) -> JsonObject:
    found: JsonObject = json.loads(path_of(release, name).read_text("utf-8"))
    return found


@pytest.mark.parametrize(("release", "name"), [(release, name) for release in PUBLISHED for name in PUBLISHED[release]])
def test_every_disagreement_is_settled(release: str, name: str) -> None:
    on = resource(release, name)
    generator = Generator(on, load(release), seed=PUBLISHED[release].index(name))
    said = {
        text: (_ours(release, text, on), _theirs(release, text, on))
        for text in (generator.expression() for _ in range(EACH))
    }
    assert sum(mine == theirs for mine, theirs in said.values()) > len(said) / 2
    assert {text: pair for text, pair in said.items() if not is_settled("fhirpathpy", text, *pair)} == {}


@pytest.mark.parametrize("name", groups("fhirpathpy"))
def test_the_example_of_a_group_shows_it(name: str) -> None:
    group = groups("fhirpathpy")[name]
    on = resource(group.release, group.on)
    mine, theirs = _ours(group.release, group.example, on), _theirs(group.release, group.example, on)
    assert mine != theirs
    assert mine.startswith("[") or theirs.startswith("[")
    assert group.has(group.example, mine, theirs), (mine, theirs)


def _ours(release: str, expression: str, on: JsonObject) -> str:
    program = engine.compile(expression, model=release)
    if not isinstance(program, Program):
        return f"refused: {program[0].message}"
    outcome = program.evaluate(on, now=NOW)
    return f"error: {outcome.reason}" if outcome.failure else _shown([as_json(item) for item in outcome.values])


def _theirs(release: str, expression: str, on: JsonObject) -> str:
    try:
        return _shown(fhirpathpy.evaluate(copy.deepcopy(on), expression, {"resource": on}, models[MODELS[release]]))
    except Exception as error:  # noqa: BLE001 (whatever the library raises is what it says)
        return f"error: {type(error).__name__} {error}"


def _shown(values: list[object]) -> str:
    return json.dumps([_plain(value) for value in values], sort_keys=True)


def _plain(value: object) -> object:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float | Decimal):
        return round(float(value), 8)
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    return str(getattr(value, "asStr", value)).removeprefix("@").removeprefix("T")
