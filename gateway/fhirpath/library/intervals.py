"""`duration` and `difference` (https://build.fhir.org/ig/HL7/FHIRPath/#date-and-time-interval-functions).

A duration counts whole periods, a difference the boundaries between them: from December to January it is a month by
the one when thirty-one days have passed, by the other always.
"""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Final

from gateway.fhirpath.env import Env
from gateway.fhirpath.equality import as_temporal
from gateway.fhirpath.items import NONE, Collection, EvaluationError, only
from gateway.fhirpath.signature import Implementation, Signature, text
from gateway.fhirpath.temporal import MICROSECONDS, Temporal

PRECISIONS: Final = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
# How many parts of year … second a value needs.
_NEEDED: Final = dict(zip(PRECISIONS, (1, 2, 3, 3, 4, 5, 6, 6), strict=True))
_CALENDAR: Final = frozenset({"year", "month", "week", "day"})
_WORK: Final = 10
_DATE_PARTS: Final = 3
_MONTHS: Final = 12

_Parts = tuple[int | Decimal, ...]


def _between(count: Callable[[_Parts, _Parts, str], int]) -> Implementation:
    def call(env: Env, focus: Collection, value: Collection, precision: Collection) -> Collection:
        for values in (focus, value, precision):
            env.read(values)
        env.spend(_WORK)
        if not focus or not value or not precision:
            return NONE
        start, end, word = _moment(focus), _moment(value), text(only(precision, "an argument"))
        _refuse(start, end, word)
        first, second = _parts(start, word), _parts(end, word)
        needed = _NEEDED[word]
        if min(len(first), len(second)) < needed or (
            (start.offset is None) != (end.offset is None) and needed > _DATE_PARTS
        ):
            return NONE
        common = min(len(first), len(second))
        return [count(first[:common], second[:common], word)]

    return call


def _moment(values: Collection) -> Temporal:
    moment = as_temporal(only(values, "an interval"))
    if not isinstance(moment, Temporal):
        raise EvaluationError("a date or time is expected here")
    return moment


def _refuse(start: Temporal, end: Temporal, word: str) -> None:
    kinds = {start.kind, end.kind}
    if "Time" in kinds and len(kinds) > 1:
        raise EvaluationError("a time of day and a date have no interval between them")
    is_known = word in PRECISIONS
    if not is_known or (word in _CALENDAR if "Time" in kinds else kinds == {"Date"} and word not in _CALENDAR):
        raise EvaluationError("this precision is none of the value's")


def _parts(moment: Temporal, word: str) -> _Parts:
    """From the year on; a time of day is one of the first day. In UTC where hours and less are asked for."""
    if moment.kind == "Time":
        return (1, 1, 1, *moment.parts)
    return moment.parts if word in _CALENDAR else moment.in_utc()


def _duration(first: _Parts, second: _Parts, word: str) -> int:
    if word not in ("year", "month"):
        return _whole(_instant(second) - _instant(first), MICROSECONDS[word])
    months = _months(second) - _months(first)
    rest = (second[2:] > first[2:]) - (second[2:] < first[2:])
    if months and rest == (-1 if months > 0 else 1):  # the last month is not over
        months += rest
    return _whole(months, _MONTHS) if word == "year" else months


def _difference(first: _Parts, second: _Parts, word: str) -> int:
    if word == "year":
        return int(second[0] - first[0])
    if word == "month":
        return _months(second) - _months(first)
    if word == "week":  # begins on a Sunday, and day 7 of the calendar is one
        return _day(second) // 7 - _day(first) // 7
    size = MICROSECONDS[word]
    return _instant(second) // size - _instant(first) // size


def _months(parts: _Parts) -> int:
    return int(parts[0]) * _MONTHS + (int(parts[1]) if len(parts) > 1 else 0)


def _day(parts: _Parts) -> int:
    return date(int(parts[0]), int(parts[1]), int(parts[2])).toordinal()


def _instant(parts: _Parts) -> int:
    hour, minute, second = (*parts[_DATE_PARTS:], 0, 0, 0)[:3]
    of_day = int(hour) * 3_600_000_000 + int(minute) * 60_000_000 + int(Decimal(second) * 1_000_000)
    return _day(parts) * MICROSECONDS["day"] + of_day


def _whole(amount: int, size: int) -> int:
    return amount // size if amount >= 0 else -(-amount // size)


INTERVALS: Final[dict[str, Signature]] = {
    "duration": Signature(2, 2, _between(_duration)),
    "difference": Signature(2, 2, _between(_difference)),
}
