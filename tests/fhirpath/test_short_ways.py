"""What most rules ask is answered the short way: it says what the long way says."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhirpath import engine, temporal
from gateway.fhirpath.engine import Program
from gateway.fhirpath.items import as_json

_ODD = [
    *("2020-W01-1", "2020-001-1", "20200101", "2020-02-29", "2021-02-29", "2020-13-01", "2020-00-10", "0000-01-01"),
    *("2020-01-01T24:00:00Z", "2020-01-01T23:59:60Z", "2020-01-01t00:00:00Z", "2020-01-01 00:00:00Z"),
    *("2020-01-01T00:00:00+14:00", "2020-01-01T00:00:00-99:59", "2020-01-01T00:00:00+01:60"),
    *("2020-01-01T00:00:00+0100", "2020-01-01T00:00:00.0000Z", "2020-01-01T00:00:00.00000", "2020-01-01T00:00,00Z"),
    *(
        "2020-01-01T00:00:0aZ",
        "\uff12\uff10\uff12\uff10-01-01",
        "2020-01-01T00:00:00\u066b0Z",
        "2020-01-01T00:00:00z",
        "2020-01-01\n",
    ),
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "+020-01-01", "2020-01- 1", "2020-01-01T00:00:00Z\n"),
]
_NEAR = st.from_regex(r"\A\d{4}-[0-9W-]{2}-\d{2}(T\d{2}:\d{2}:[0-9,.]{2}(Z|[+-]\d\d[:0]\d{1,2}))?\Z")


def _is_same(text: str) -> bool:
    short, full = temporal._usual(text), temporal._any(text)
    return short is None or (full is not None and (short, short.text) == (full, full.text))


@pytest.mark.parametrize("text", _ODD)
def test_a_moment_in_its_usual_form_is_what_the_long_way_reads(text: str) -> None:
    assert _is_same(text)


@given(_NEAR)
def test_any_moment_is_read_the_same_both_ways(text: str) -> None:
    assert _is_same(text)


@pytest.mark.parametrize("text", ["2020-02-29", "2020-02-29T10:11:12Z", "2020-02-29T10:11:12-05:30"])
def test_the_usual_forms_take_the_short_way(text: str) -> None:
    assert temporal._usual(text) is not None


def _value(expression: str, number: object, text: str = "a") -> list[object]:
    program = engine.compile(expression, strict=True)
    assert isinstance(program, Program), program
    resource = {
        "resourceType": "Observation",
        "id": ["a", "b"],
        "valueQuantity": {"value": number, "unit": text},
        "status": text,
        "note": [{"text": "m"}, {"text": "n"}],
        "component": [{"id": "c"}, {"id": "d", "valueInteger": 1}, {"valueInteger": 2}],
    }
    plain = {"text": text, "number": number, "many": [1, 2], "inner": {"text": text}}
    variables = {"plain": plain, "none": None, "odd": {"resourceType": 5, "text": text}}
    variables["strange"] = {"resourceType": "Observation", "id": ["a", "b"], "note": [{"text": "x"}]}
    variables["ids"] = {"resourceType": "Observation", "id": ["a", "b"]}
    return [as_json(item) for item in program.evaluate(resource, variables, now="2024-02-29T10:00:00Z").values]


@pytest.mark.parametrize(
    ("number", "expression", "expected"),
    [
        (6.1, "value.ofType(Quantity).value > 6", True),
        (5, "value.ofType(Quantity).value < 6", True),
        (6.0, "value.ofType(Quantity).value >= 6", True),
        (Decimal("6.0"), "value.ofType(Quantity).value <= 6", True),
        # As a float the literal would be 2^53, which is the value.
        (2.0**53, "value.ofType(Quantity).value < 9007199254740993", True),
        (2.0**53, "9007199254740993 > value.ofType(Quantity).value", True),
        (0.1, "value.ofType(Quantity).value >= 0.1", True),
        (0.1, "value.ofType(Quantity).value <= 0.1", True),
        (-0.0, "value.ofType(Quantity).value >= 0", True),
        # As a float 1e23 is less than it is written.
        (1e23, "value.ofType(Quantity).value >= 100000000000000000000000", True),
        (1e300, "value.ofType(Quantity).value > 5", True),
        (3, "%plain.number > 2.5", True),
        (3, "%plain.number < 4", True),
    ],
)
def test_numbers_are_ordered_as_they_are_written(number: object, expression: str, expected: bool) -> None:
    assert _value(expression, number) == [expected]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("status = %plain.text", [True]),
        ("status != %plain.text", [False]),
        ("%plain.inner.text & status", ["aa"]),
        ("%plain.none & status", ["a"]),
        ("%none.text & status", ["a"]),
        ("%odd.text", ["a"]),
        ("(status | 'b') = (status | 'c')", [False]),
        ("(status | 'b') & 'c'", []),
        ("note.defineVariable('x', text).select(%x)", ["m", "n", "m", "n"]),
        ("note.where(false).where($this.text.exists())", []),
        ("note.where(false).iif(true, text).empty()", [True]),
        ("id.count()", [2]),
        ("select(children().count() > id.count())", [True]),
        ("%ids.select(children().count() > id.count())", [False]),
        ("component.select(children().count() > id.count())", [False, True, True]),
        ("component.id.select(children().count() > id.count())", [False, False]),
        ("component.select(hasValue() or (children().count() > id.count()))", [False, True, True]),
        ("component.id.select(hasValue() or (children().count() > id.count()))", [True, True]),
        ("component.select(hasValue() or children().count() > id.count())", [False, True, True]),
        ("component.select(hasValue() or (`children()`.count() > id.count()))", [False, False, False]),
        ("%ids.select(hasValue() or (children().count() > id.count()))", [False]),
        ("%strange.select(hasValue() or (children().count() > id.count()))", [True]),
        ("{}.select(hasValue() or (children().count() > id.count()))", []),
        ("iif(true, hasValue() or (children().count() > id.count()))", [True]),
        ("@2023-01-31 + 2 months", ["2023-03-31"]),
        ("@2023-01-31T10:11:12Z + 1 month", ["2023-02-28T10:11:12Z"]),
        ("@2023-11-30T10:11:12.5+01:00 - 10 months", ["2023-01-30T10:11:12.5+01:00"]),
        ("@2023-12-30 + 1 month", ["2024-01-30"]),
        ("@2023-01 - 1 month", ["2022-12"]),
        ("@2023 + 11 months", ["2023"]),
        ("(1 | 2) <= 3", []),
        ("%plain.many.first() <= 1 and 1 < %plain.many.last()", [True]),
        ("status in ('x' | 'a')", [True]),
        ("note.text.first() in ('x' | 'y')", [False]),
        ("note.first().text = 'm' and note.last().text != 'm'", [True]),
        ("%plain.many", [1, 2]),
        ("%plain.many.text", []),
        ("%plain.text.text", []),
        ("today() - 1 year", ["2023-02-28"]),
        ("today() + 1 month", ["2024-03-29"]),
        ("(today() | @2020).first() - 1 years", ["2023-02-28"]),
        ("today() - 1.9 years", ["2023-02-28"]),
        ("{} - 1 year", []),
        ("status.startsWith('a')", [True]),
        ("status.upper().startsWith('a')", [False]),
    ],
)
def test_the_short_ways_of_strings_variables_and_moments(expression: str, expected: list[object]) -> None:
    assert _value(expression, 1) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("status = ('a' | 'b')", [False]),
        ("status != ('a' | 'b')", [True]),
        ("note.where(text = ('m' | 'n')).exists()", [False]),
        ("note.where(text != ('m' | 'n')).count()", [2]),
        ("status in ('a' | 'b')", [True]),
    ],
)
def test_one_string_equals_no_several(expression: str, expected: list[object]) -> None:
    """The short way once took `=` beside several strings for `in`."""
    assert _value(expression, 1) == expected


def test_long_strings_are_joined_and_compared_the_long_way() -> None:
    long = "x" * 1000
    assert _value("status & %plain.text", 1, long) == [long * 2]
    assert _value("status = %plain.text", 1, long) == [True]
