"""Arithmetic on numbers, strings, quantities, dates and times."""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from gateway.fhirpath import quantity
from gateway.fhirpath.equality import as_quantity, as_temporal
from gateway.fhirpath.items import NONE, Collection, EvaluationError, is_number, only
from gateway.fhirpath.quantity import Quantity, UnknownUnit
from gateway.fhirpath.temporal import Temporal

MAX_TEXT: Final = 5_000_000  # characters that an expression may make
_LARGEST: Final = 10**28  # past it a number is an error: repeated squaring must not fill the memory
_SMALLEST: Final = -60  # decimal places, for the same reason
_MIXED: Final = "numbers are expected on both sides of an arithmetic operator"


def bounded(number: int | Decimal) -> int | Decimal:
    """The number itself. Raises EvaluationError when it has grown past what Decimal keeps exactly, or next to 0."""
    if not -_LARGEST <= number <= _LARGEST:
        raise EvaluationError("a number grew too large")
    if isinstance(number, Decimal) and number.adjusted() < _SMALLEST and number:
        raise EvaluationError("a number grew too small")
    return number


def _bounded_quantity(found: Quantity | None) -> Collection:
    if found is None:
        return NONE
    bounded(found.value)
    return [found]


def _pair(left: Collection, right: Collection, operator: str) -> tuple[object, object] | None:
    one, other = only(left, operator), only(right, operator)
    return None if one is None or other is None else (one, other)


def _number(value: object) -> int | Decimal:
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        raise EvaluationError(_MIXED)
    return value


def plus(left: Collection, right: Collection) -> Collection:
    """`+`: numbers, strings, quantities, or a time-valued quantity on a date or time."""
    return _sum(left, right, 1)


def minus(left: Collection, right: Collection) -> Collection:
    """`-`."""
    return _sum(left, right, -1)


def _sum(left: Collection, right: Collection, sign: int) -> Collection:
    pair = _pair(left, right, "+" if sign > 0 else "-")
    if pair is None:
        return NONE
    one, other = pair
    if isinstance(one, Quantity):
        other = as_quantity(other)  # a number is a quantity of unit 1
    if isinstance(other, Quantity):
        one = as_quantity(one)
        if isinstance(one, Quantity):
            return _quantities(one, Quantity(sign * other.value, other.unit))
        moment = as_temporal(one)
        if isinstance(moment, Temporal):
            moved = moment.plus(sign * other.value, other.unit)
            if moved is None:
                raise EvaluationError("this quantity cannot be added to a date or time")
            return [moved]
    if isinstance(one, str) and isinstance(other, str) and sign > 0:
        return [joined(one, other)]
    return [bounded(_number(one) + sign * _number(other))]


def _quantities(one: Quantity, other: Quantity) -> Collection:
    try:
        found = quantity.plus(one, other)
    except UnknownUnit as error:
        raise EvaluationError("quantities with these units cannot be added by this engine") from error
    return _bounded_quantity(found)


def joined(one: str, other: str) -> str:
    """Both texts as one."""
    if len(one) + len(other) > MAX_TEXT:
        raise EvaluationError("a string grew too long")
    return one + other


def _product(operator: str, *, divide: bool) -> Callable[[Collection, Collection], Collection]:
    def evaluate(left: Collection, right: Collection) -> Collection:
        pair = _pair(left, right, operator)
        if pair is None:
            return NONE
        one, other = pair
        if isinstance(one, Quantity) or isinstance(other, Quantity):
            return _scaled(one, other, divide=divide)
        first, second = _number(one), _number(other)
        if not divide:
            return [bounded(first * second)]
        return [bounded(Decimal(first) / Decimal(second))] if second else NONE

    return evaluate


def _scaled(one: object, other: object, *, divide: bool) -> Collection:
    first, second = (
        value if isinstance(value, Quantity) else Quantity(Decimal(_number(value)), "1") for value in (one, other)
    )
    try:
        found = quantity.times(first, second, divide=divide)
    except UnknownUnit as error:
        raise EvaluationError("quantities with these units cannot be multiplied by this engine") from error
    return _bounded_quantity(found)


def _whole(one: int | Decimal, other: int | Decimal) -> int | Decimal:
    if isinstance(one, int) and isinstance(other, int):
        return abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1)
    return int(Decimal(one) / Decimal(other))


def _rest(one: int | Decimal, other: int | Decimal) -> int | Decimal:
    rest = Decimal(one) % Decimal(other)  # Decimal truncates towards zero, as the language asks; int would not
    return int(rest) if isinstance(one, int) and isinstance(other, int) else rest


def _divided(
    operator: str, calculate: Callable[[int | Decimal, int | Decimal], int | Decimal]
) -> Callable[[Collection, Collection], Collection]:
    def evaluate(left: Collection, right: Collection) -> Collection:
        pair = _pair(left, right, operator)
        if pair is None:
            return NONE
        one, other = _number(pair[0]), _number(pair[1])
        return [bounded(calculate(one, other))] if other else NONE

    return evaluate


def concatenate(left: Collection, right: Collection) -> Collection:
    """`&`: an empty side is an empty string."""
    one, other = only(left, "&"), only(right, "&")
    one, other = "" if one is None else one, "" if other is None else other
    if not isinstance(one, str) or not isinstance(other, str):
        raise EvaluationError("& joins strings")
    return [joined(one, other)]


def negative(values: Collection) -> Collection:
    """Unary `-`."""
    value = _signed(values, "-")
    if value is None:
        return NONE
    return [Quantity(-value.value, value.unit)] if isinstance(value, Quantity) else [-value]


def positive(values: Collection) -> Collection:
    """Unary `+`."""
    value = _signed(values, "+")
    return NONE if value is None else [value]


def _signed(values: Collection, operator: str) -> int | Decimal | Quantity | None:
    if len(values) > 1:
        raise EvaluationError(f"unary {operator} needs one number")
    value = only(values, operator)
    if value is None:
        return None
    if not isinstance(value, int | Decimal | Quantity) or (isinstance(value, int) and not is_number(value)):
        raise EvaluationError(f"unary {operator} needs one number")
    return value


ARITHMETIC: Final[dict[str, Callable[[Collection, Collection], Collection]]] = {
    "+": plus,
    "-": minus,
    "*": _product("*", divide=False),
    "/": _product("/", divide=True),
    "div": _divided("div", _whole),
    "mod": _divided("mod", _rest),
    "&": concatenate,
}
