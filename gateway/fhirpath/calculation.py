"""The operators that calculate, compiled: short strings and moments that are moved by a literal take the short way."""

from collections.abc import Callable
from typing import Final, TypeAlias

from gateway.fhirpath.arithmetic import ARITHMETIC
from gateway.fhirpath.comparison import short_text
from gateway.fhirpath.env import TEXT_STEP, Env, Expr
from gateway.fhirpath.items import MOMENT_WORK, Collection
from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.temporal import Temporal, whole_months

_WORK: Final = 2


def calculation(operator: str, left: Expr, right: Expr, fixed: Collection | None) -> Expr:
    """`left operator right`; `fixed` is the right side's value when it is known at compile time."""
    calculate = ARITHMETIC[operator]
    if operator == "&":
        return _joined(left, right, calculate)
    if operator in _SIGNS and fixed is not None and len(fixed) == 1 and isinstance(fixed[0], Quantity):
        return _moved(left, fixed[0], _SIGNS[operator], calculate)

    def evaluate(env: Env) -> Collection:
        return _calculated(env, calculate, left(env), right(env))

    return evaluate


def _calculated(env: Env, calculate: "_Calculate", one: Collection, other: Collection) -> Collection:
    env.spend(_WORK)
    env.read(one)
    env.read(other)
    found = calculate(one, other)
    env.read(found)
    return found


def _joined(left: Expr, right: Expr, calculate: "_Calculate") -> Expr:
    def evaluate(env: Env) -> Collection:
        one, other = left(env), right(env)
        first = short_text(one)
        if first is not None:
            second = short_text(other)
            if second is not None:
                env.spend(_WORK + (len(first) + len(second)) // TEXT_STEP)
                return [first + second]
        return _calculated(env, calculate, one, other)

    return evaluate


def _moved(left: Expr, amount: Quantity, sign: int, calculate: "_Calculate") -> Expr:
    """`today() - 18 years`."""
    fixed: Collection = [amount]
    shift = sign * amount.value
    months = whole_months(shift, amount.unit)

    def evaluate(env: Env) -> Collection:
        one = left(env)
        moment = one[0] if len(one) == 1 else None
        if type(moment) is Temporal:
            found = moment.plus_months(months) if months is not None else moment.plus(shift, amount.unit)
            if found is not None:
                env.spend(_WORK + 2 * MOMENT_WORK)
                return [found]
        return _calculated(env, calculate, one, fixed)

    return evaluate


_Calculate: TypeAlias = Callable[[Collection, Collection], Collection]
_SIGNS: Final = {"+": 1, "-": -1}
