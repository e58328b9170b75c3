"""Reads the official suites and judges one case of them, through the lines of `fhir-gateway fhirpath --batch`.

Kinds of errors and types of values count, not errors and texts alone.
"""

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from xml.etree import ElementTree as ET

from gateway.cli.fhirpath_batch import answer
from gateway.cli.fhirpath_json import write
from gateway.fhir.json import JsonObject
from tests.fhirpath import fetch_suite, fhir_xml

NOW = "2026-11-23T12:00:00.000Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One `test` element. `outputs` are (type, text); `invalid` is syntax, semantic, execution or None.

    `example`: the name of the input; empty without one, and for the one input that is no FHIR (`mode` is then `cda`).
    """

    release: str
    name: str
    expression: str
    example: str
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
        yield Case(
            release=release,
            name=name if seen[name] == 1 else f"{name}#{seen[name]}",
            expression=expression.text or "",
            example=test.get("inputfile", "") if test.get("mode") != "cda" else "",
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
    found: JsonObject = json.loads(text, parse_float=Decimal)
    return found


@functools.cache
def _written(release: str, name: str) -> str:
    return write(resource(release, name) if name else None)


def fault(case: Case, asks: Callable[[str, str], str] = answer) -> str | None:
    """None when the engine answers the case as the suite says, else what it does instead. `asks` takes a batch line."""
    asked = json.dumps({"id": case.name, "expression": case.expression, "version": case.release})
    line = f'{asked.removesuffix("}")}, "resource": {_written(case.release, case.example)}}}'
    said = json.loads(asks(line, NOW), parse_float=Decimal)
    assert said.keys() - {"error", "result"} == {"id"}
    if case.invalid is not None:
        if "error" not in said:
            return f"not refused, evaluated to {len(said['result'])} values"
        found = said["error"]
        return None if found["kind"] == case.invalid else f"{found['kind']}, not {case.invalid}: {found['message']}"
    return str(said["error"]) if "error" in said else _difference(case, said["result"])


def _difference(case: Case, values: list[JsonObject]) -> str | None:
    if case.predicate:
        return None if [bool(values)] == [text == "true" for _, text in case.outputs] else "other predicate"
    wanted, found = list(case.outputs), [(str(value["type"]), _shown(value)) for value in values]
    if len(wanted) != len(found):
        return f"{len(found)} values instead of {len(wanted)}: {found}"
    if not case.ordered:
        wanted, found = sorted(wanted, key=lambda one: one[1]), sorted(found, key=lambda one: one[1])
    for (kind, text), value in zip(wanted, found, strict=True):
        if kind not in (None, value[0]) or not _same(value[0], text, value[1]):
            return f"{value} instead of {(kind, text)}"
    return None


def _same(kind: str, text: str, value: str) -> bool:
    if kind in ("integer", "decimal"):
        return Decimal(value) == Decimal(text)
    if kind in ("date", "dateTime", "time"):
        return value == text.removeprefix("@").removeprefix("T")
    return value == text


def _shown(value: JsonObject) -> str:
    found = value["value"]
    if isinstance(found, bool):
        return "true" if found else "false"
    if value["type"] == "Quantity" and isinstance(found, dict):
        return f"{found['value']} '{found['unit']}'"
    return str(found)
