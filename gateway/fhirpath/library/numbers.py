"""Functions on numbers and quantities."""

import math
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from gateway.fhirpath import quantity
from gateway.fhirpath.arithmetic import bounded
from gateway.fhirpath.env import Env
from gateway.fhirpath.equality import as_quantity
from gateway.fhirpath.items import NONE, Collection, EvaluationError, only
from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.signature import Implementation, Signature

_MOST_PLACES: Final = 28  # Decimal's own precision
_RESULT_PLACES: Final = 20  # of logarithms and powers, whose last digits are rounding
# Units of work, each some 0.5 us, that the decimal functions take at their slowest.
_SIMPLE, _ROOT, _EXPONENTIAL, _LOGARITHM, _POWER = 4, 10, 50, 60, 200


def _numbers(function: Callable[..., int | Decimal | None], cost: int = _SIMPLE) -> Implementation:
    """A function of one number and of number arguments; empty when any of them is empty."""

    def call(env: Env, focus: Collection, *arguments: Collection) -> Collection:
        values = [only(values, "a number function") for values in (focus, *arguments)]
        if None in values:
            return NONE
        numbers = [_number(value) for value in values]
        env.spend(cost)
        try:
            answer = function(*numbers)
        except (ArithmeticError, ValueError):
            return NONE  # outside of what the function is defined for
        return NONE if answer is None else [bounded(answer)]

    return call


def _amounts(function: Callable[..., int | Decimal | None], cost: int = _SIMPLE) -> Implementation:
    """As `_numbers`; a quantity keeps its unit."""
    of_numbers = _numbers(function, cost)

    def call(env: Env, focus: Collection, *arguments: Collection) -> Collection:
        env.read(focus)
        value = only(focus, "a number function")
        if not isinstance(value, Quantity):
            return of_numbers(env, focus, *arguments)
        found = of_numbers(env, [value.value], *arguments)
        return [Quantity(Decimal(one), value.unit) for one in found if isinstance(one, int | Decimal)]

    return call


def _number(value: object) -> int | Decimal:
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        raise EvaluationError("a number function needs numbers")
    return bounded(value)


def _abs(_env: Env, focus: Collection) -> Collection:
    value = only(focus, "abs()")
    if isinstance(value, Quantity):
        return [Quantity(abs(value.value), value.unit)]
    if value is None:
        return NONE
    number = _number(value)
    return [-number if number < 0 else number]


def _round(number: int | Decimal, places: int | Decimal = 0) -> Decimal:
    if not 0 <= places <= _MOST_PLACES or places != int(places):
        raise EvaluationError("round() needs a small whole number")
    return Decimal(number).quantize(Decimal(1).scaleb(-int(places)), rounding=ROUND_HALF_UP)


def _tidy(number: Decimal) -> Decimal:
    if number.adjusted() >= _MOST_PLACES - _RESULT_PLACES:
        return number
    return number.quantize(Decimal(1).scaleb(-_RESULT_PLACES)).normalize() + Decimal(0)


def _plain(number: Decimal) -> Decimal:
    """Without an exponent: 4, and not 4E+0."""
    exponent = number.as_tuple().exponent
    return number.quantize(Decimal(1)) if isinstance(exponent, int) and exponent > 0 else number


def _exp(number: int | Decimal) -> Decimal:
    return _plain(_tidy(Decimal(number).exp()))


def _ln(number: int | Decimal) -> Decimal | None:
    return _plain(_tidy(Decimal(number).ln())) if number > 0 else None


def _log(number: int | Decimal, base: int | Decimal) -> Decimal | None:
    if number <= 0 or base <= 0 or base == 1:
        return None
    return _plain(_tidy(Decimal(number).ln() / Decimal(base).ln()))


def _sqrt(number: int | Decimal) -> Decimal | None:
    return _plain(Decimal(number).sqrt()) if number >= 0 else None


def _power(number: int | Decimal, exponent: int | Decimal) -> int | Decimal | None:
    size = math.log10(math.fabs(number)) if number else 0.0
    if abs(float(exponent) * size) > 2 * _MOST_PLACES:
        raise EvaluationError("a number grew too large")
    if isinstance(number, int) and isinstance(exponent, int) and exponent >= 0:
        return int(pow(number, exponent))
    return _plain(_tidy(Decimal(number) ** Decimal(exponent)))


def _comparable(env: Env, focus: Collection, other: Collection) -> Collection:
    env.read(focus)
    env.read(other)
    one, two = as_quantity(only(focus, "comparable()")), as_quantity(only(other, "an argument"))
    if one is None or two is None:
        return NONE
    return [isinstance(one, Quantity) and isinstance(two, Quantity) and quantity.comparable(one, two)]


NUMBERS: Final[dict[str, Signature]] = {
    "abs": Signature(0, 0, _abs),
    "ceiling": Signature(0, 0, _amounts(math.ceil)),
    "floor": Signature(0, 0, _amounts(math.floor)),
    "truncate": Signature(0, 0, _amounts(math.trunc)),
    "round": Signature(0, 1, _amounts(_round, _ROOT)),
    "exp": Signature(0, 0, _numbers(_exp, _EXPONENTIAL)),
    "ln": Signature(0, 0, _numbers(_ln, _LOGARITHM)),
    "log": Signature(1, 1, _numbers(_log, 2 * _LOGARITHM)),
    "power": Signature(1, 1, _numbers(_power, _POWER)),
    "sqrt": Signature(0, 0, _numbers(_sqrt, _ROOT)),
    "comparable": Signature(1, 1, _comparable),
}
