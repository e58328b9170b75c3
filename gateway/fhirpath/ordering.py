"""`sort`: the order of a collection by keys, each upwards or downwards."""

from functools import cmp_to_key

from gateway.fhirpath.env import Env, Expr, per_item
from gateway.fhirpath.equality import item_order
from gateway.fhirpath.items import Collection, EvaluationError
from gateway.fhirpath.logic import Truth


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
    env.spend(len(focus) * max(1, len(focus).bit_length()))
    columns = [[values for _, values in per_item(env, focus, one)] for one in keys] or [[[item] for item in focus]]
    signs = [-1 if isinstance(one, _Turned) else 1 for one in keys] or [1]

    def compare(one: int, other: int) -> int:
        for column, sign in zip(columns, signs, strict=True):
            first, second = column[one], column[other]
            # Empty comes first, downwards too.
            order = sign * _order(first, second) if first and second else bool(first) - bool(second)
            if order:
                return order
        return 0

    return [focus[at] for at in sorted(range(len(focus)), key=cmp_to_key(compare))]


def _order(one: Collection, other: Collection) -> int:
    if len(one) > 1 or len(other) > 1:
        raise EvaluationError("a sort key gives at most one value")
    return item_order(one[0], other[0]) or 0
