"""Reads the official suites and judges one case of them."""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from xml.etree import ElementTree as ET

from gateway.fhir.json import JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.engine import Outcome, Program
from gateway.fhirpath.items import Item, plain
from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.types_check import check
from tests.fhirpath import fetch_suite, fhir_xml

NOW = "2026-11-23T12:00:00.000Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One `test` element. `outputs` are (type, text); `invalid` is syntax, semantic, execution or None.

    `resource` is None without an input file, and for the one input that is no FHIR (`mode` is then `cda`).
    """

    release: str
    name: str
    expression: str
    resource: JsonObject | None
    invalid: str | None
    mode: str | None
    predicate: bool
    ordered: bool
    outputs: tuple[tuple[str | None, str], ...]


def cases(release: str) -> Iterator[Case]:
    """Every case of a release (`R4`), in the suite's order; names that occur twice get a number."""
    root = ET.parse(fetch_suite.ensure() / release.lower() / "tests.xml").getroot()
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    seen: dict[str, int] = {}
    for test in root.iter("test"):
        expression = test.find("expression")
        assert expression is not None
        name = test.get("name", "unnamed")
        seen[name] = seen.get(name, 0) + 1
        example = test.get("inputfile", "")
        yield Case(
            release=release,
            name=name if seen[name] == 1 else f"{name}#{seen[name]}",
            expression=expression.text or "",
            resource=resource(release, example) if example and test.get("mode") != "cda" else None,
            invalid=expression.get("invalid"),
            mode=test.get("mode") or expression.get("mode"),
            predicate=test.get("predicate") == "true",
            ordered=test.get("ordered") != "false",
            outputs=tuple((output.get("type"), output.text or "") for output in test.findall("output")),
        )


@functools.cache
def resource(release: str, name: str) -> JsonObject:
    """An input of the suite as JSON, whatever it is written in."""
    text = (fetch_suite.ensure() / release.lower() / "inputs" / name).read_bytes()
    if name.endswith(".xml"):
        return fhir_xml.read(text, release)
    found: JsonObject = json.loads(text)
    return found


def fault(case: Case) -> str | None:
    """None when the engine does as the case says, else what it does instead."""
    found = engine.compile(case.expression, model=case.release)
    if not isinstance(found, Program):
        return None if case.invalid is not None else f"refused: {found[0].message}"
    outcome = found.evaluate(case.resource, now=NOW)
    if case.invalid is None:
        return f"failed: {outcome.reason}" if outcome.failure is not None else _difference(case, outcome)
    if case.invalid != "syntax" and outcome.failure is not None:
        return None
    if case.invalid == "semantic" and check(found.tree, found.model, _roots(case)):
        return None
    return f"not refused, evaluated to {len(outcome.values)} values"


def _roots(case: Case) -> dict[str, str]:
    return {"resource": str(case.resource.get("resourceType")) if case.resource is not None else "Resource"}


def _difference(case: Case, outcome: Outcome) -> str | None:
    if case.predicate:
        return None if [bool(outcome.values)] == [text == "true" for _, text in case.outputs] else "other predicate"
    wanted, found = list(case.outputs), [_shown(item) for item in outcome.values]
    if len(wanted) != len(found):
        return f"{len(found)} values instead of {len(wanted)}: {found}"
    if not case.ordered:
        wanted, found = sorted(wanted, key=lambda one: one[1]), sorted(found)
    for (kind, text), value in zip(wanted, found, strict=True):
        if not _same(kind, text, value):
            return f"{value!r} instead of {kind} {text!r}"
    return None


def _same(kind: str | None, text: str, value: str) -> bool:
    if kind in ("integer", "decimal"):
        return value.lstrip("-").replace(".", "", 1).isdigit() and Decimal(value) == Decimal(text)
    if kind in ("date", "dateTime", "time") or text.startswith("@"):
        return value.removeprefix("T") == text.removeprefix("@").removeprefix("T")
    return value == text


def _shown(item: Item) -> str:
    value = plain(item)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Temporal):
        return value.text
    if isinstance(value, Quantity):
        return f"{value.value} '{value.unit}'"
    return str(value)
