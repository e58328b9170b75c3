"""`sort`: the order of a collection by keys, each upwards or downwards."""

from functools import cmp_to_key
from typing import Final

from gateway.fhirpath.env import Env, Expr, per_item
from gateway.fhirpath.equality import value_order
from gateway.fhirpath.items import Collection, EvaluationError, system
from gateway.fhirpath.logic import Truth

_COMPARE_WORK: Final = 3


def turned(key: Expr) -> Expr:
    """A sort key whose order is turned. Its values are seen by `sort` alone."""
    return _Turned(key)


class _Turned:
    __slots__ = ("key",)

    def __init__(self, key: Expr) -> None:
        self.key = key

    def __call__(self, env: Env) -> Collection:
        return self.key(env)


def sort(env: Env, focus: Collection, _truth: Truth, *keys: Expr) -> Collection:
    """The items in the order of their values, or of what the keys give for each."""
    columns = [[values for _, values in per_item(env, focus, one)] for one in keys] or [[[item] for item in focus]]
    for column in columns:
        _count(env, column)
    signs = [-1 if isinstance(one, _Turned) else 1 for one in keys] or [1]

    read = [[[system(value) for value in values] for values in column] for column in columns]

    def compare(one: int, other: int) -> int:
        for column, sign in zip(read, signs, strict=True):
            first, second = column[one], column[other]
            # Empty comes first, downwards too.
            order = sign * _order(first, second) if first and second else bool(first) - bool(second)
            if order:
                return order
        return 0

    return [focus[at] for at in sorted(range(len(focus)), key=cmp_to_key(compare))]


def _count(env: Env, column: list[Collection]) -> None:
    """Each value is read once, and compared as often as sorting asks for it."""
    dearest = 0
    for values in column:
        before = env.left
        env.read(values)
        dearest = max(dearest, before - env.left)
    env.spend(len(column) * len(column).bit_length() * (_COMPARE_WORK + dearest))


def _order(one: list[object], other: list[object]) -> int:
    if len(one) > 1 or len(other) > 1:
        raise EvaluationError("a sort key gives at most one value")
    return value_order(one[0], other[0]) or 0
