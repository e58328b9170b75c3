"""Dates and times: what is read, in which order, and how far a duration moves them."""

from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhirpath.temporal import Temporal


def read(text: str) -> Temporal:
    found = Temporal.parse(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "text",
    ["", "x", "2024-13", "2024-00", "2024-02-30", "2024-1-1", "2024-01-01T24:00", "T24", "10:60", "2024-01-01 10:00",
     "2024-01-01T10:00:61", "2024-01-01Z", "٢٠٢٤", "2024\n"],
)  # fmt: skip
def test_not_a_date(text: str) -> None:
    assert Temporal.parse(text) is None


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        ("2024", "2025", -1),
        ("2024", "2024", 0),
        ("2024", "2024-01", None),
        ("2023-12", "2024", -1),
        ("2024-01-01", "2024-01-01T10:00:00Z", None),
        ("2024-01-02", "2024-01-01T10:00:00Z", 1),
        ("2024-01-01T10:00:00Z", "2024-01-01T12:00:00+02:00", 0),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00-01:00", -1),
        ("2024-01-01T00:30:00+01:00", "2023-12-31T23:30:00Z", 0),
        ("2024-01-01T10:00:00", "2024-01-01T10:00:00Z", None),
        ("2024-01-01T10:00:00.0Z", "2024-01-01T10:00:00Z", 0),
        ("2024-01-01T10:00:00.1Z", "2024-01-01T10:00:00Z", 1),
        ("T10:00", "T10:30", -1),
        ("10:00:00", "T10:00:00", 0),
        ("T10", "T10:30", None),
        ("T10:00", "2024", None),
        ("0001-01-01T00:00:00+10:00", "0001-01-01T00:00:00+10:00", 0),
    ],
)
def test_order(one: str, other: str, order: int | None) -> None:
    assert read(one).compare(read(other)) == order
    assert read(other).compare(read(one)) == (None if order is None else -order)


@pytest.mark.parametrize(
    ("text", "value", "unit", "moved"),
    [
        ("2024-02-29", "1", "year", "2025-02-28"),
        ("2024-01-31", "1", "months", "2024-02-29"),
        ("2024-03-31", "-1", "month", "2024-02-29"),
        ("2024-03-31", "1.9", "months", "2024-04-30"),
        ("2024", "11", "months", "2024"),
        ("2024", "-25", "months", "2022"),
        ("2024", "400", "days", "2025"),
        ("2024-11", "61", "days", "2025-01"),
        ("2024-12-31", "1", "d", "2025-01-01"),
        ("2024-12-31", "2", "weeks", "2025-01-14"),
        ("2024-12-31", "23", "hours", "2024-12-31"),
        ("2024-12-31", "25", "h", "2025-01-01"),
        ("2024-12-31T23", "90", "minutes", "2025-01-01T00"),
        ("2024-12-31T23:59:59.500Z", "0.5", "seconds", "2025-01-01T00:00:00.000Z"),
        ("2024-12-31T23:59:59Z", "1", "ms", "2024-12-31T23:59:59.001Z"),
        ("2024-12-31T23:59:59+05:30", "1", "second", "2025-01-01T00:00:00+05:30"),
        ("2024-12-31T23:59:59-05:00", "1", "second", "2025-01-01T00:00:00-05:00"),
        ("T23:59:59", "1", "second", "00:00:00"),
        ("T00:00", "-1", "minute", "23:59"),
        ("2024", "1", "mg", None),
        ("2024", "1", "a", None),
        ("T10", "1", "year", None),
        ("9999", "1", "year", None),
        ("9999-12-31", "1", "day", None),
    ],
)
def test_plus(text: str, value: str, unit: str, moved: str | None) -> None:
    found = read(text).plus(Decimal(value), unit)
    assert (None if found is None else found.text) == moved


@given(
    st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1)),
    st.integers(-100_000, 100_000),
    st.sampled_from(["days", "hours", "minutes", "seconds"]),
)
def test_a_duration_can_be_taken_back(moment: datetime, amount: int, unit: str) -> None:
    start = read(moment.isoformat() + "Z")
    moved = start.plus(Decimal(amount), unit)
    assert moved is not None
    back = moved.plus(Decimal(-amount), unit)
    assert back is not None
    assert back.compare(start) == 0
    assert moved.compare(start) == (amount > 0) - (amount < 0)
