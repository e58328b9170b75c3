"""Equality, equivalence and order of values.

The library compares only the first items of two collections, takes 1 for true, 6.3 for unequal to 6.3 when one comes
from JSON, and orders dates as strings; all of that is silent, so none of it is used.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.values import Collection, Element, EvaluationError, Item, Quantity, is_number, plain, scalar

_SECONDS: Final = {"week": 604_800, "day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
CALENDAR_WORDS: Final = frozenset(
    f"{word}{end}"
    for word in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for end in ("", "s")
)
_CALENDAR: Final = {
    **{f"{word}{end}": (Decimal(seconds), "second") for word, seconds in _SECONDS.items() for end in ("", "s")},
    **{f"millisecond{end}": (Decimal("0.001"), "second") for end in ("", "s")},
    **{f"month{end}": (Decimal(1), "month") for end in ("", "s")},
    **{f"year{end}": (Decimal(12), "month") for end in ("", "s")},
    "s": (Decimal(1), "second"),
    "ms": (Decimal("0.001"), "second"),
    "min": (Decimal(60), "second"),
    "h": (Decimal(3_600), "second"),
    "d": (Decimal(86_400), "second"),
    "wk": (Decimal(604_800), "second"),
}


def key(item: Item) -> object:
    """Hashable, and equal exactly for values that are equal: for sets."""
    value = scalar(item)
    if isinstance(item, Element) and value is None:
        return "extensions", _frozen(item.extra)
    return _frozen(value)


def _frozen(value: object) -> object:
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float | Decimal):
        return "number", Decimal(str(value))
    if isinstance(value, Mapping):
        return "object", frozenset((name, _frozen(child)) for name, child in value.items())
    if isinstance(value, list | tuple):
        return "list", tuple(_frozen(child) for child in value)
    if isinstance(value, Temporal | Quantity):
        return type(value).__name__, value.key if isinstance(value, Temporal) else _base(value)
    return "string", value


def _base(quantity: Quantity) -> tuple[Decimal, str]:
    factor, unit = _CALENDAR.get(quantity.unit, (Decimal(1), quantity.unit))
    return quantity.value * factor, unit


def equal(left: Collection, right: Collection) -> bool | None:
    """`=` (https://hl7.org/fhirpath/N1/#equals): None when a side is empty or the precision leaves it open."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    answers = [same(one, other) for one, other in zip(left, right, strict=True)]
    if False in answers:
        return False
    return None if None in answers else True


def same(left: Item, right: Item) -> bool | None:
    """Equality of two items."""
    one, other = _aligned(left, right)
    if isinstance(one, Temporal) and isinstance(other, Temporal):
        order = one.compare(other) if (one.kind == "Time") == (other.kind == "Time") else 1
        return None if order is None else order == 0
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        return _same_quantity(one, other)
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        one, other = _as_quantity(one), _as_quantity(other)
        return isinstance(one, Quantity) and isinstance(other, Quantity) and _same_quantity(one, other)
    if one is None or other is None:
        return None
    return _frozen(one) == _frozen(other)


def _same_quantity(one: Quantity, other: Quantity) -> bool:
    (left, left_unit), (right, right_unit) = _base(one), _base(other)
    if left_unit == right_unit:
        return left == right
    raise EvaluationError("quantities with different units cannot be compared by this engine")


def _as_quantity(value: object) -> object:
    return Quantity(Decimal(str(value)), "1") if is_number(value) else value


def _aligned(left: Item, right: Item) -> tuple[object, object]:
    """Both values; a string beside a date or time is read as one."""
    one, other = scalar(left), scalar(right)
    if isinstance(one, Temporal) and isinstance(other, str):
        other = Temporal.parse(other) or other
    elif isinstance(other, Temporal) and isinstance(one, str):
        one = Temporal.parse(one) or one
    return one, other


def order(left: Collection, right: Collection) -> int | None:
    """-1, 0, 1; None when a side is empty or the precision leaves it open. Errors for what has no order."""
    if not left or not right:
        return None
    if len(left) > 1 or len(right) > 1:
        raise EvaluationError("single values are expected on both sides of a comparison")
    one, other = _aligned(left[0], right[0])
    if one is None or other is None:
        return None
    if isinstance(one, Temporal) and isinstance(other, Temporal) and (one.kind == "Time") == (other.kind == "Time"):
        return one.compare(other)
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        return _quantity_order(_as_quantity(one), _as_quantity(other))
    if isinstance(one, str) and isinstance(other, str):
        return (one > other) - (one < other)
    if is_number(one) and is_number(other):
        left_number, right_number = Decimal(str(one)), Decimal(str(other))
        return (left_number > right_number) - (left_number < right_number)
    raise EvaluationError("values of these types have no order")


def _quantity_order(one: object, other: object) -> int:
    if not isinstance(one, Quantity) or not isinstance(other, Quantity):
        raise EvaluationError("values of these types have no order")
    (left, left_unit), (right, right_unit) = _base(one), _base(other)
    if left_unit != right_unit:
        raise EvaluationError("quantities with different units cannot be compared by this engine")
    return (left > right) - (left < right)


def equivalent(left: Collection, right: Collection) -> bool:
    """`~` (https://hl7.org/fhirpath/N1/#equivalent): order does not matter, never empty."""
    if len(left) != len(right):
        return False
    open_items = list(right)
    for one in left:
        found = next((index for index, other in enumerate(open_items) if _alike(one, other)), None)
        if found is None:
            return False
        del open_items[found]
    return True


def _alike(left: Item, right: Item) -> bool:
    one, other = _aligned(left, right)
    if isinstance(one, Temporal) and isinstance(other, Temporal):
        return one.compare(other) == 0
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        return same(left, right) is True
    return _alike_values(one, other)


def _alike_values(one: object, other: object) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return " ".join(one.lower().split()) == " ".join(other.lower().split())
    if isinstance(one, float):
        one = Decimal(str(one))
    if isinstance(other, float):
        other = Decimal(str(other))
    if is_number(one) and is_number(other):
        return _alike_numbers(Decimal(str(one)), Decimal(str(other)))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        mine, theirs = one.keys() - {"id"}, other.keys() - {"id"}
        return mine == theirs and all(_alike_values(one[name], other[name]) for name in mine)
    if isinstance(one, list) and isinstance(other, list):
        return equivalent([Element(item) for item in one], [Element(item) for item in other])
    return _frozen(one) == _frozen(other)


def _alike_numbers(one: Decimal, other: Decimal) -> bool:
    places = min(_places(one), _places(other))
    step = Decimal(1).scaleb(-places)
    return one.quantize(step, ROUND_HALF_UP) == other.quantize(step, ROUND_HALF_UP)


def _places(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def only(values: Collection, what: str) -> Item | None:
    """The single item, None when there is none; several are an error."""
    if len(values) > 1:
        raise EvaluationError(f"{what} expects a single value, not several")
    return values[0] if values and plain(values[0]) is not None else None
