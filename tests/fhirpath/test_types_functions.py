"""Static types of functions: which are asked of one value, and which of any number."""

from typing import Final

import pytest

from gateway.fhirpath.model import load
from gateway.fhirpath.parser import parse
from gateway.fhirpath.types_check import check
from gateway.fhirpath.types_functions import FUNCTIONS

# https://hl7.org/fhirpath/N1/#functions: "if the input collection contains multiple items, the evaluation … will end
# and signal an error". By an input that the function takes, but for its number.
OF_ONE: Final = {
    "('a' | 'b')": (
        *("startsWith('a')", "endsWith('a')", "contains('a')", "matches('a')", "matchesFull('a')", "indexOf('a')"),
        *("lastIndexOf('a')", "length()", "upper()", "lower()", "trim()", "replace('a', 'b')", "substring(1)"),
        *("replaceMatches('a', 'b')", "encode('hex')", "decode('hex')", "escape('json')", "unescape('json')"),
        *("split(',')", "toChars()", "toBoolean()", "toInteger()", "toLong()", "toDecimal()", "toString()"),
        *("toDate()", "toDateTime()", "toTime()", "toQuantity()", "convertsToBoolean()", "convertsToInteger()"),
        *("convertsToLong()", "convertsToDecimal()", "convertsToString()", "convertsToDate()", "convertsToTime()"),
        *("convertsToDateTime()", "convertsToQuantity()", "memberOf('x')", "conformsTo('x')", "iif(true, 1)"),
    ),
    "(1 | 2)": (
        *("abs()", "ceiling()", "floor()", "truncate()", "round()", "exp()", "ln()", "sqrt()", "log(2)", "power(2)"),
        *("lowBoundary()", "highBoundary()", "precision()", "comparable(1)"),
    ),
    "(@2024 | @2025)": (
        *("yearOf()", "monthOf()", "dayOf()", "hourOf()", "minuteOf()", "secondOf()", "millisecondOf()", "dateOf()"),
        *("timezoneOffsetOf()", "timeOf()", "duration(@2024, 'year')", "difference(@2024, 'year')"),
    ),
    "(true | false)": ("not()",),
}
OF_MANY: Final = {
    "('a' | 'b')": (
        *("exists()", "empty()", "all($this = 'a')", "isDistinct()", "subsetOf('a')", "supersetOf('a')", "count()"),
        *("where($this = 'a')", "tail()", "distinct()", "exclude('a')", "intersect('a')", "skip(1)", "take(1)"),
        *("first()", "last()", "single()", "trace('x')", "sort()", "join(',')", "min()", "max()", "extension('x')"),
        *("hasValue()", "getValue()", "union('a')", "combine('a')", "coalesce('a')", "defineVariable('x')"),
        *("htmlChecks()",),
    ),
    "(1 | 2)": ("sum()", "avg()"),
    "(true | false)": ("allTrue()", "anyTrue()", "allFalse()", "anyFalse()"),
}


def said(source: str) -> list[str]:
    return [problem.message for problem in check(parse(source), load("R4"), {"resource": "Observation"})]


@pytest.mark.parametrize("source", [f"{focus}.{call}" for focus, calls in OF_ONE.items() for call in calls])
def test_a_function_of_one_value(source: str) -> None:
    assert any("is asked of one value, and this may be several" in message for message in said(source))


@pytest.mark.parametrize("source", [f"{focus}.{call}" for focus, calls in OF_MANY.items() for call in calls])
def test_a_function_of_any_number(source: str) -> None:
    assert said(source) == []


def test_no_function_is_left_out() -> None:
    named = {call.partition("(")[0] for calls in (*OF_ONE.values(), *OF_MANY.values()) for call in calls}
    assert FUNCTIONS.keys() - named == {"now", "today", "timeOfDay"}
