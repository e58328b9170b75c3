"""What this engine and another one say of an expression, and the groups that settle where they do not agree."""

import functools
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from gateway.cli.fhirpath_batch import answer
from gateway.cli.fhirpath_json import write
from gateway.fhir.json import JsonObject
from tests.fhirpath.fetch_suite import ensure

NOW = "2026-11-23T12:00:00.000Z"
_NUMBERS = ("integer", "decimal", "positiveInt", "unsignedInt", "integer64")
Engine: TypeAlias = Literal["fhirpathpy", "hapi"]
_ALIKE = (
    *("patient-example", "observation-example", "questionnaire-example", "medicationrequest0301"),
    *("codesystem-example", "careteam-example", "medicationdispense0301", "specimen-example"),
)
# The published examples that are asked. The folder of R5 holds many of R4: these are of R5.
PUBLISHED = {
    "R4": _ALIKE,
    "R4B": _ALIKE,
    "R5": (
        *("patient-example", "observation-example", "codesystem-example", "condition-example", "device-example"),
        *("diagnosticreport-example", "familymemberhistory-example", "riskassessment-example"),
    ),
}


class Group(BaseModel):
    """Disagreements with one reason. `ours` and `theirs` are patterns of a JSON array of values, or of an error.

    The `example` is asked of the published resource `on`.
    """

    model_config = ConfigDict(extra="forbid")

    engine: Engine = "fhirpathpy"
    release: str = "R4"
    on: str = "patient-example"
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
def groups(engine: Engine) -> dict[str, Group]:
    """The groups of one engine by name."""
    path = Path(__file__).parents[1] / "cases" / "fhirpath-differences.yaml"
    found = {name: Group(**row) for name, row in YAML(typ="safe").load(path.read_text("utf-8")).items()}
    return {name: group for name, group in found.items() if group.engine == engine}


def is_settled(engine: Engine, expression: str, ours: str, theirs: str) -> bool:
    """Whether the engines agree (two errors do), or a group says why they do not."""
    if ours == theirs or not (ours.startswith("[") or theirs.startswith("[")):
        return True
    return any(group.has(expression, ours, theirs) for group in groups(engine).values())


def path_of(release: str, name: str) -> Path:
    """A published example: R4, `patient-example`."""
    return ensure() / release.lower() / "examples" / f"{name}.json"


@functools.cache
def resource(release: str, name: str) -> JsonObject:
    """A published example."""
    found: JsonObject = json.loads(path_of(release, name).read_text("utf-8"), parse_float=Decimal)
    return found


def ours(release: str, name: str, expression: str) -> str:
    """What this engine says of a published example: values with their types, or an error."""
    asked = {"expression": expression, "version": release, "resource": str(path_of(release, name))}
    return shown(json.loads(answer(json.dumps(asked), NOW), parse_float=Decimal))


def shown(said: JsonObject) -> str:
    """A line of `--batch` as one text: numbers by value, primitives by their text."""
    values, error = said.get("result"), said.get("error")
    if isinstance(error, dict):
        return f"error: {error['message']}"
    assert isinstance(values, list)
    return write([_typed(one) for one in values])


def _typed(one: object) -> dict[str, object]:
    assert isinstance(one, dict)
    kind = str(one["type"])
    return {kind: _primitive(kind, one["value"])}


def _primitive(kind: str, value: object) -> object:
    if kind in _NUMBERS and isinstance(value, str):
        value = Decimal(value)
    return value.removeprefix("T") if kind == "time" and isinstance(value, str) else _plain(value)


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return f"{Decimal(value).normalize():f}"
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    return value
