"""Conversions between the System types, and how each type is written."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from gateway.fhirpath import quantity
from gateway.fhirpath.env import Env
from gateway.fhirpath.items import AMOUNT_WORK, NONE, Collection, Item, only
from gateway.fhirpath.quantity import CALENDAR_WORDS, Quantity
from gateway.fhirpath.signature import Implementation, Signature, text
from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.tree import Long

_INTEGER: Final = re.compile(r"[+-]?\d{1,28}", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?\d{1,28}(?:\.\d{1,28})?", re.ASCII)
_QUANTITY: Final = re.compile(
    r"(?P<value>[+-]?\d{1,28}(?:\.\d{1,28})?)\s*(?:'(?P<unit>[^']+)'|(?P<word>[a-zA-Z]+))?", re.ASCII
)
_WORK: Final = 5
_MOST_DIGITS: Final = 60  # that are written out; `1E+999999` would be a million
_DATE_LENGTH: Final = 10
_INTEGERS: Final = (-(2**31), 2**31 - 1)
_LONGS: Final = (-(2**63), 2**63 - 1)
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
}


def written(value: object) -> str | None:
    """`toString()` of a System value; None for what is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value:f}" if abs(value.adjusted()) <= _MOST_DIGITS else str(value)
    if isinstance(value, Temporal):
        return value.text
    if isinstance(value, Quantity):
        plural = value.unit in CALENDAR_WORDS
        return f"{value.value:f} {value.unit}" if plural else f"{value.value:f} '{value.unit}'"
    return None


def _boolean(value: object) -> Item | None:
    if isinstance(value, int | Decimal):
        return True if value == 1 else False if value == 0 else None
    return _BOOLEANS.get(value.lower()) if isinstance(value, str) else None


def _whole(kind: type[int], limits: tuple[int, int]) -> Callable[[object], Item | None]:
    def convert(value: object) -> Item | None:
        if isinstance(value, str):
            number = int(value) if _INTEGER.fullmatch(value) else None
        else:
            number = int(value) if isinstance(value, int) else None
        return kind(number) if number is not None and limits[0] <= number <= limits[1] else None

    return convert


def _decimal(value: object) -> Item | None:
    if isinstance(value, int | Decimal):
        return Decimal(int(value)) if isinstance(value, bool) else Decimal(value)
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def _temporal(value: object) -> Temporal | None:
    return Temporal.parse(value) if isinstance(value, str) else value if isinstance(value, Temporal) else None


def _date(value: object) -> Item | None:
    moment = _temporal(value)
    if moment is None or moment.kind == "Time":
        return None
    return moment if moment.kind == "Date" else Temporal.parse(moment.text[:_DATE_LENGTH].rstrip("T"))


def _date_time(value: object) -> Item | None:
    moment = _temporal(value)
    if moment is None or moment.kind == "Time":
        return None
    return moment.as_date_time()


def _time(value: object) -> Item | None:
    moment = _temporal(value)
    return moment if moment is not None and moment.kind == "Time" else None


def _quantity(value: object) -> Item | None:
    if isinstance(value, Quantity):
        return value
    if isinstance(value, int | Decimal):
        return Quantity(Decimal(int(value) if isinstance(value, bool) else value), "1")
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match["word"] and match["word"] not in CALENDAR_WORDS):
        return None
    return Quantity(Decimal(match["value"]), match["unit"] or match["word"] or "1")


def _to(convert: Callable[[object], Item | None]) -> Implementation:
    def call(env: Env, focus: Collection, *unit: Collection) -> Collection:
        env.read(focus)
        env.spend(_WORK)
        value = only(focus, "a conversion")
        converted = None if value is None else convert(value)
        if isinstance(converted, Quantity) and unit:
            converted = _in_unit(env, converted, unit[0])
        return NONE if converted is None else [converted]

    return call


def _converts(convert: Callable[[object], Item | None]) -> Implementation:
    def call(env: Env, focus: Collection, *unit: Collection) -> Collection:
        env.read(focus)
        env.spend(_WORK)
        value = only(focus, "a conversion")
        if value is None:
            return NONE
        converted = convert(value)
        if isinstance(converted, Quantity) and unit:
            converted = _in_unit(env, converted, unit[0])
        return [converted is not None]

    return call


def _in_unit(env: Env, value: Quantity, unit: Collection) -> Quantity | None:
    env.read(unit)
    env.spend(2 * AMOUNT_WORK)  # both scales, and a fraction that is written out
    wanted = only(unit, "an argument")
    return None if wanted is None else quantity.converted(value, text(wanted))


_CONVERSIONS: Final[dict[str, Callable[[object], Item | None]]] = {
    "Boolean": _boolean,
    "Integer": _whole(int, _INTEGERS),
    "Long": _whole(Long, _LONGS),
    "Decimal": _decimal,
    "String": written,
    "Date": _date,
    "DateTime": _date_time,
    "Time": _time,
    "Quantity": _quantity,
}
_MOST: Final = {"Quantity": 1}
CONVERSIONS: Final[dict[str, Signature]] = {
    **{f"to{name}": Signature(0, _MOST.get(name, 0), _to(convert)) for name, convert in _CONVERSIONS.items()},
    **{f"convertsTo{name}": Signature(0, _MOST.get(name, 0), _converts(one)) for name, one in _CONVERSIONS.items()},
}
