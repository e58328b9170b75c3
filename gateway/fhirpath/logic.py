"""Booleans: how a collection is read as one, and the three-valued operators.

https://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections: a single value that is no boolean is true. A policy
has to be read strictly: there it is an error, because a string `false` must not open a door.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from gateway.fhirpath.env import Env, Expr
from gateway.fhirpath.items import FALSE, NONE, TRUE, BudgetExceeded, Collection, Element, EvaluationError, boolean

Truth: TypeAlias = Callable[[Collection], bool | None]


def strictly(values: Collection) -> bool | None:
    """The one boolean, None when empty; anything else is an error, never taken for true."""
    if len(values) == 1:
        item = values[0]
        value = item.value if type(item) is Element else item
        if value is True or value is False or value is None:
            return value
        raise EvaluationError("a boolean is expected here, not another value")
    if not values:
        return None
    raise EvaluationError("one boolean is expected here, not several values")


def by_singleton(values: Collection) -> bool | None:
    """The one boolean, None when empty; another single value is true."""
    if len(values) == 1:
        item = values[0]
        value = item.value if type(item) is Element else item
        return value if value is False else True
    if not values:
        return None
    raise EvaluationError("one boolean is expected here, not several values")


def and_(left: Expr, right: Expr, truth: Truth) -> Expr:
    """https://hl7.org/fhirpath/N1/#boolean-logic allows to stop early; the right side is then not even asked.

    What an operator answers is TRUE or FALSE itself, so that most often nothing has to be asked of it.
    """

    def evaluate(env: Env) -> Collection:
        first = left(env)
        one = first is TRUE or (first is not FALSE and truth(first))
        if one is False:
            return FALSE
        second = right(env)
        other = second is TRUE or (second is not FALSE and truth(second))
        if other is False:
            return FALSE
        return TRUE if one and other else NONE

    return evaluate


def or_(left: Expr, right: Expr, truth: Truth) -> Expr:
    """As `and_`."""

    def evaluate(env: Env) -> Collection:
        first = left(env)
        one = first is TRUE or (first is not FALSE and truth(first))
        if one is True:
            return TRUE
        second = right(env)
        other = second is TRUE or (second is not FALSE and truth(second))
        if other is True:
            return TRUE
        return FALSE if one is False and other is False else NONE

    return evaluate


def xor(left: Expr, right: Expr, truth: Truth) -> Expr:
    """True when one side is."""

    def evaluate(env: Env) -> Collection:
        one, other = truth(left(env)), truth(right(env))
        return boolean(None if one is None or other is None else one is not other)

    return evaluate


def implies(left: Expr, right: Expr, truth: Truth) -> Expr:
    """As `and_`."""

    def evaluate(env: Env) -> Collection:
        first = left(env)
        one = first is TRUE or (first is not FALSE and truth(first))
        if one is False:
            return TRUE
        other = truth(right(env))
        if other is True:
            return TRUE
        return FALSE if one is True and other is False else NONE

    return evaluate


def negation(operand: Expr, truth: Truth) -> Expr:
    """`operand.not()`."""

    def evaluate(env: Env) -> Collection:
        found = operand(env)
        env.left -= 2
        if env.left < 0:
            raise BudgetExceeded
        if found is TRUE or found is FALSE:
            return FALSE if found is TRUE else TRUE
        value = truth(found)
        return NONE if value is None else FALSE if value else TRUE

    return evaluate


LOGIC: Final[dict[str, Callable[[Expr, Expr, Truth], Expr]]] = {"and": and_, "or": or_, "xor": xor, "implies": implies}
