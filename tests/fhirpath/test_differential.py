"""This engine beside fhirpathpy, over generated expressions and published resources.

Each disagreement belongs to a group of tests/cases/fhirpath-differences.yaml, which settles it by the specification.
"""

import copy
import functools
import json
import re
from decimal import Decimal
from pathlib import Path

import fhirpathpy
import pytest
from fhirpathpy.models import models
from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from gateway.fhir.json import JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from gateway.fhirpath.items import as_json
from gateway.fhirpath.model import load
from tests.fhirpath import fetch_suite
from tests.fhirpath.generated import Generator

NOW = "2026-11-23T12:00:00.000Z"
EACH = 150  # expressions for each resource
RESOURCES = (
    *("patient-example", "observation-example", "questionnaire-example", "medicationrequest0301"),
    *("codesystem-example", "careteam-example", "medicationdispense0301", "specimen-example"),
)


class Group(BaseModel):
    """Disagreements with one reason. `ours` and `theirs` are patterns of a JSON array of values, or of an error."""

    model_config = ConfigDict(extra="forbid")

    why: str
    example: str
    text: str = ""
    ours: str = ""
    theirs: str = ""

    def has(self, expression: str, ours: str, theirs: str) -> bool:
        return all(
            re.search(pattern, found) is not None
            for pattern, found in ((self.text, expression), (self.ours, ours), (self.theirs, theirs))
        )


@functools.cache
def groups() -> dict[str, Group]:
    path = Path(__file__).parents[1] / "cases" / "fhirpath-differences.yaml"
    return {name: Group(**row) for name, row in YAML(typ="safe").load(path.read_text("utf-8")).items()}


@functools.cache
def resource(name: str) -> JsonObject:
    found: JsonObject = json.loads((fetch_suite.ensure() / "r4" / "examples" / f"{name}.json").read_text("utf-8"))
    return found


def disagreement(expression: str, on: JsonObject) -> tuple[str, str] | None:
    """What this engine and the library say, where they do not agree. Two errors agree."""
    ours, theirs = _ours(expression, on), _theirs(expression, on)
    is_same = ours == theirs or (not ours.startswith("[") and not theirs.startswith("["))
    return None if is_same else (ours, theirs)


@pytest.mark.parametrize("name", RESOURCES)
def test_every_disagreement_is_settled(name: str) -> None:
    generator = Generator(resource(name), load("R4"), seed=RESOURCES.index(name))
    expressions = [generator.expression() for _ in range(EACH)]
    found = {text: said for text in expressions if (said := disagreement(text, resource(name))) is not None}
    assert len(found) < EACH / 4
    open_ones = {
        text: said for text, said in found.items() if not any(each.has(text, *said) for each in groups().values())
    }
    assert open_ones == {}


@pytest.mark.parametrize("name", groups())
def test_the_example_of_a_group_shows_it(name: str) -> None:
    group = groups()[name]
    said = disagreement(group.example, resource("patient-example"))
    assert said is not None
    assert group.has(group.example, *said), said


def _ours(expression: str, on: JsonObject) -> str:
    program = engine.compile(expression)
    if not isinstance(program, Program):
        return f"refused: {program[0].message}"
    outcome = program.evaluate(on, now=NOW)
    return f"error: {outcome.reason}" if outcome.failure else _shown([as_json(item) for item in outcome.values])


def _theirs(expression: str, on: JsonObject) -> str:
    try:
        return _shown(fhirpathpy.evaluate(copy.deepcopy(on), expression, {"resource": on}, models["r4"]))
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
