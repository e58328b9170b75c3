"""`precision`, `lowBoundary` and `highBoundary` (https://build.fhir.org/ig/HL7/FHIRPath/#lowboundaryprecision-integer).

A written value stands for all values that round to it: 1.587 for 1.5865 to 1.5875, `@2014` for the days of 2014, and
a time without an offset for all offsets from +14:00 to -12:00.
"""

import calendar
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, localcontext
from typing import Final

from gateway.fhirpath.env import Env
from gateway.fhirpath.items import NONE, Collection, EvaluationError, only
from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.signature import Implementation, Signature, of_one, whole
from gateway.fhirpath.temporal import Temporal

_MOST_PLACES: Final = 31
_WORK: Final = 10
_DEFAULT_PLACES: Final = 8
# Digits of a value that has so many parts: `@2014-01-05` has 8, milliseconds make 17.
_DATE_DIGITS: Final = (4, 6, 8, 10, 12, 17)
_TIME_DIGITS: Final = (2, 4, 9)
_WHOLE_SECOND: Final = 3  # digits less than milliseconds
_DATE_PARTS: Final = 3
_LOW: Final = (1, 1, 1, 0, 0, Decimal("0.000"))
_HIGH: Final = (9999, 12, 31, 23, 59, Decimal("59.999"))
_LAST_ZONE, _FIRST_ZONE = 14 * 60, -12 * 60


def _boundary(*, high: bool) -> Implementation:
    def call(env: Env, focus: Collection, precision: Collection | None = None) -> Collection:
        env.read(focus)
        env.spend(_WORK)
        value = only(focus, "a boundary")
        if value is None:
            return NONE
        digits = whole(precision) if precision else None
        if isinstance(value, Temporal):
            moment = _moment(value, digits, high=high)
            return NONE if moment is None else [moment]
        if isinstance(value, Quantity):
            number = _number(value.value, digits, high=high)
            return NONE if number is None else [Quantity(number, value.unit)]
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise EvaluationError("only numbers, quantities, dates and times have boundaries")
        number = _number(Decimal(value), digits, high=high)
        return NONE if number is None else [number]

    return call


def _number(value: Decimal, digits: int | None, *, high: bool) -> Decimal | None:
    places = _DEFAULT_PLACES if digits is None else digits
    exponent = value.as_tuple().exponent
    if not 0 <= places <= _MOST_PLACES or not isinstance(exponent, int) or abs(exponent) > _MOST_PLACES:
        return None
    with localcontext() as context:
        context.prec = 4 * _MOST_PLACES
        half = Decimal(5).scaleb(min(exponent, 0) - 1)
        edge = value + half if high else value - half
        away = (edge > 0) == high  # the boundary that is farther from zero
        return edge.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP if away else ROUND_DOWN)


def _moment(value: Temporal, digits: int | None, *, high: bool) -> Temporal | None:
    steps = _TIME_DIGITS if value.kind == "Time" else _DATE_DIGITS
    default = {"Date": 8, "DateTime": 17, "Time": 9}[value.kind]
    wanted = default if digits is None else digits
    if value.kind != "Date" and wanted == default - _WHOLE_SECOND:
        wanted = default
    if wanted not in steps:
        return None
    count = steps.index(wanted) + 1
    parts = _filled(value, high=high)[:count]
    if value.kind == "Time":
        return Temporal.of("Time", parts, None)
    if count <= _DATE_PARTS:
        return Temporal.of("Date" if value.kind == "Date" else "DateTime", parts, None)
    zone = value.offset if value.offset is not None else _FIRST_ZONE if high else _LAST_ZONE
    return Temporal.of("DateTime", parts, zone)


def _filled(value: Temporal, *, high: bool) -> tuple[int | Decimal, ...]:
    fill: tuple[int | Decimal, ...] = _HIGH if high else _LOW
    parts = list(value.parts)
    if value.kind == "Time":
        fill = fill[_DATE_PARTS:]
    elif len(parts) == _DATE_PARTS + 1:
        parts.append(0)  # FHIR has no hours without minutes: `T08` is 08:00 (the suites' HighBoundaryDateTime…)
    rest = list(fill[len(parts) :])
    if value.kind != "Time" and len(parts) < _DATE_PARTS and high:
        year, month = int(parts[0]), int(parts[1]) if len(parts) > 1 else 12
        rest[_DATE_PARTS - 1 - len(parts)] = calendar.monthrange(year, month)[1]
    return (*parts, *rest)


def _precision(value: object) -> Collection:
    if isinstance(value, Temporal):
        steps, count = _TIME_DIGITS if value.kind == "Time" else _DATE_DIGITS, len(value.parts)
        is_whole = count == len(steps) and isinstance(value.parts[-1], int)
        return [steps[count - 1] - (_WHOLE_SECOND if is_whole else 0)]
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        return [max(0, -exponent)] if isinstance(exponent, int) else NONE
    if isinstance(value, int) and not isinstance(value, bool):
        return [0]
    raise EvaluationError("only numbers, dates and times have a precision")


BOUNDARIES: Final[dict[str, Signature]] = {
    "lowBoundary": Signature(0, 1, _boundary(high=False)),
    "highBoundary": Signature(0, 1, _boundary(high=True)),
    "precision": Signature(0, 0, of_one("precision()", _precision)),
}
