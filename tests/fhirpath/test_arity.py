"""How many arguments each function takes, as the texts of FHIRPath and of FHIR declare it."""

from typing import Final

import pytest

from gateway.fhirpath import engine
from gateway.fhirpath.library import LIBRARY, TYPE_ARGUMENT
from gateway.fhirpath.signature import MANY

# https://build.fhir.org/ig/HL7/FHIRPath/#functions, http://hl7.org/fhir/R5/fhirpath.html#functions. `combine` takes
# `preserveOrder`, and `trace` a projection.
TAKES: Final[dict[tuple[int, int], tuple[str, ...]]] = {
    (0, 0): (
        *("empty", "not", "count", "first", "last", "tail", "single", "distinct", "isDistinct", "children"),
        *("allTrue", "anyTrue", "allFalse", "anyFalse", "descendants", "sum", "min", "max", "avg", "type"),
        *("toBoolean", "toInteger", "toLong", "toDecimal", "toString", "toDate", "toDateTime", "toTime"),
        *("convertsToBoolean", "convertsToInteger", "convertsToLong", "convertsToDecimal", "convertsToString"),
        *("convertsToDate", "convertsToDateTime", "convertsToTime", "upper", "lower", "length", "trim", "toChars"),
        *("abs", "ceiling", "floor", "truncate", "exp", "ln", "sqrt", "precision", "now", "today", "timeOfDay"),
        *("yearOf", "monthOf", "dayOf", "hourOf", "minuteOf", "secondOf", "millisecondOf", "timezoneOffsetOf"),
        *("dateOf", "timeOf", "hasValue", "getValue", "resolve", "htmlChecks", "htmlChecks2"),
    ),
    (0, 1): ("exists", "join", "round", "lowBoundary", "highBoundary", "toQuantity", "convertsToQuantity"),
    (0, MANY): ("sort",),
    (1, 1): (
        *("where", "all", "select", "repeat", "repeatAll", "take", "skip", "subsetOf", "supersetOf", "intersect"),
        *("exclude", "union", "indexOf", "lastIndexOf", "startsWith", "endsWith", "contains", "split", "encode"),
        *("decode", "escape", "unescape", "log", "power", "comparable", "extension", "memberOf", "conformsTo"),
    ),
    (1, 2): ("aggregate", "substring", "matches", "matchesFull", "combine", "defineVariable", "trace"),
    (1, MANY): ("coalesce",),
    (2, 2): ("replace", "duration", "difference"),
    (2, 3): ("iif", "replaceMatches"),
}
ROWS: Final = [(name, least, most) for (least, most), names in TAKES.items() for name in names]


def refused(name: str, number: int) -> bool:
    """Whether a call with so many arguments is a problem of their number."""
    compiled = engine.compile(f"{name}({', '.join(['string'] * number)})")
    return isinstance(compiled, tuple) and any(" takes " in problem.message for problem in compiled)


@pytest.mark.parametrize(("name", "least", "most"), ROWS)
def test_arguments(name: str, least: int, most: int) -> None:
    assert not refused(name, least)
    assert not refused(name, most)
    assert least == 0 or refused(name, least - 1)
    assert refused(name, most + 1)


@pytest.mark.parametrize("name", sorted(TYPE_ARGUMENT))
def test_a_function_of_a_type_names_one(name: str) -> None:
    assert [refused(name, number) for number in range(4)] == [True, False, True, True]


def test_no_function_is_left_out() -> None:
    assert {name for name, _, _ in ROWS} == LIBRARY.keys()
