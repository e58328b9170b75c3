"""The fast tests, as calls: the table of expressions, the official suites, and tables of the language's own tests.

Each is run in a process that imported the engine anew, with the mistake in it.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from tests.fhirpath.known import listed
from tests.fhirpath.suite import Case, cases, fault
from tests.fhirpath.table import TABLE

# Their tests without fixtures; those that draw examples or measure time are too slow for thousands of runs.
_MODULES: Final = (
    *("test_engine", "test_arity", "test_units", "test_types", "test_types_functions", "test_types_rules"),
    *("test_temporal", "test_syntax", "test_resources_around", "test_constraints", "test_short_ways", "test_criteria"),
)
_SLOW: Final = ("hypothesis", "cost", "capfd", "suite", "one_pass")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One check: `run` raises, or gives a fault, when the engine is wrong."""

    name: str
    run: Callable[[], object]


def all_rows() -> list[Row]:
    """Every check, the quickest to fail first."""
    table = [Row(name=f"table: {row['expression']}", run=functools.partial(_expression, row)) for row in TABLE]
    seen: set[tuple[str, str]] = set()
    suites = []
    for release in ("R4", "R5"):
        known = listed(release)
        for case in cases(release):
            if case.name not in known and (case.name, case.expression) not in seen:
                seen.add((case.name, case.expression))
                suites.append(Row(name=f"{release}: {case.name}", run=functools.partial(_suite, case)))
    return [*table, *_called(), *suites]


def _expression(row: Mapping[str, object]) -> None:
    module = importlib.import_module("tests.fhirpath.test_engine")
    module.test_expression(row)


def _suite(case: Case) -> None:
    found = fault(case, importlib.import_module("gateway.cli.fhirpath_batch").answer)
    assert found is None, found


def _called() -> list[Row]:
    rows = []
    for name in _MODULES:
        module = importlib.import_module(f"tests.fhirpath.{name}")
        for word, function in inspect.getmembers(module, inspect.isfunction):
            if word.startswith("test_") and function.__module__ == module.__name__ and word != "test_expression":
                rows += _calls(module.__name__, word, function)
    return rows


def _calls(module: str, name: str, function: Callable[..., object]) -> list[Row]:
    marks = [mark for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"]
    if hasattr(function, "hypothesis") or any(word in name for word in _SLOW):
        return []
    names = set(inspect.signature(function).parameters)
    if len(marks) != 1 or not names:
        return [] if names else [Row(name=f"{module}::{name}", run=functools.partial(_call, module, name, {}))]
    words = marks[0].args[0]
    keys = [one.strip() for one in words.split(",")] if isinstance(words, str) else list(words)
    if set(keys) != names:
        return []
    found = []
    for at, values in enumerate(marks[0].args[1]):
        row = dict(zip(keys, values if len(keys) > 1 else (values,), strict=True))
        found.append(Row(name=f"{module}::{name}[{at}]", run=functools.partial(_call, module, name, row)))
    return found


def _call(module: str, name: str, arguments: Mapping[str, object]) -> None:
    getattr(importlib.import_module(module), name)(**arguments)
