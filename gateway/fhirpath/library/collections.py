"""Functions on whole collections: counting, subsetting, sets."""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from gateway.fhirpath.arithmetic import plus
from gateway.fhirpath.env import Env
from gateway.fhirpath.equality import distinct, item_order, key
from gateway.fhirpath.items import FALSE, NONE, TRUE, Collection, EvaluationError, Item, plain, system
from gateway.fhirpath.logic import Truth
from gateway.fhirpath.navigation import children, descendants
from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.signature import Implementation, Signature, simple, whole

_STEP_WORK: Final = 3  # of one addition or comparison in a fold


def _single(focus: Collection) -> Collection:
    if len(focus) > 1:
        raise EvaluationError("single() met several items")
    return focus


def _not(_env: Env, focus: Collection, truth: Truth) -> Collection:
    value = truth(focus)
    return NONE if value is None else FALSE if value else TRUE


def _booleans(*, every: bool, wanted: bool) -> Implementation:
    """`allTrue`, `anyTrue`, `allFalse`, `anyFalse`."""

    def ask(_env: Env, focus: Collection) -> Collection:
        answers = [plain(item) for item in focus]
        if not all(isinstance(answer, bool) for answer in answers):
            raise EvaluationError("a boolean is expected here, not another value")
        return [(all if every else any)(answer is wanted for answer in answers)]

    return ask


def _take(_env: Env, focus: Collection, number: Collection) -> Collection:
    return focus[: max(0, whole(number))]


def _skip(_env: Env, focus: Collection, number: Collection) -> Collection:
    return focus[max(0, whole(number)) :]


def _weighed(function: Callable[[Collection, Collection], Collection]) -> Implementation:
    """A function of two collections that are compared item by item."""

    def call(env: Env, focus: Collection, other: Collection) -> Collection:
        env.spend(len(focus) + len(other))
        env.weigh(focus)
        env.weigh(other)
        return function(focus, other)

    return call


def _distinct(env: Env, focus: Collection) -> Collection:
    env.weigh(focus)
    return distinct(focus)


def _is_distinct(env: Env, focus: Collection) -> Collection:
    return [len(_distinct(env, focus)) == len(focus)]


def _subset_of(focus: Collection, other: Collection) -> Collection:
    keys = {key(item) for item in other}
    return [all(key(item) in keys for item in focus)]


def _intersect(focus: Collection, other: Collection) -> Collection:
    keys = {key(item) for item in other}
    return [item for item in distinct(focus) if key(item) in keys]


def _exclude(focus: Collection, other: Collection) -> Collection:
    keys = {key(item) for item in other}
    return [item for item in focus if key(item) not in keys]


def _sum(env: Env, focus: Collection) -> Collection:
    env.read(focus)
    env.spend(_STEP_WORK * len(focus))
    values = [_value(item) for item in focus]
    total: Collection = [*values[:1]]
    for value in values[1:]:
        total = plus(total, [value])
    return total


def _value(item: Item) -> int | Decimal | Quantity:
    value = system(item)
    if isinstance(value, bool) or not isinstance(value, int | Decimal | Quantity):
        raise EvaluationError("numbers or quantities are expected here")
    return value


def _extreme(sign: int) -> Implementation:
    def find(env: Env, focus: Collection) -> Collection:
        env.read(focus)
        env.spend(_STEP_WORK * len(focus))
        best = focus[:1]
        for item in focus:  # the first, too: what has no order is an error when it stands alone
            order = item_order(item, best[0])
            if order is None:
                return NONE
            best = [item] if order == sign else best
        return best

    return find


def _average(env: Env, focus: Collection) -> Collection:
    total = _sum(env, focus)
    if not total:
        return NONE
    value = _value(total[0])
    if isinstance(value, Quantity):
        return [Quantity(value.value / len(focus), value.unit)]
    return [Decimal(value) / len(focus)]


COLLECTIONS: Final[dict[str, Signature]] = {
    "empty": Signature(0, 0, lambda _env, focus: FALSE if focus else TRUE),
    "not": Signature(0, 0, _not, lazy=True),
    "count": Signature(0, 0, lambda _env, focus: [len(focus)]),
    "first": Signature(0, 0, lambda _env, focus: focus[:1]),
    "last": Signature(0, 0, lambda _env, focus: focus[-1:]),
    "tail": Signature(0, 0, lambda _env, focus: focus[1:]),
    "single": Signature(0, 0, simple(_single)),
    "take": Signature(1, 1, _take),
    "skip": Signature(1, 1, _skip),
    "distinct": Signature(0, 0, _distinct),
    "isDistinct": Signature(0, 0, _is_distinct),
    "allTrue": Signature(0, 0, _booleans(every=True, wanted=True)),
    "anyTrue": Signature(0, 0, _booleans(every=False, wanted=True)),
    "allFalse": Signature(0, 0, _booleans(every=True, wanted=False)),
    "anyFalse": Signature(0, 0, _booleans(every=False, wanted=False)),
    "subsetOf": Signature(1, 1, _weighed(_subset_of)),
    "supersetOf": Signature(1, 1, _weighed(lambda focus, other: _subset_of(other, focus))),
    "intersect": Signature(1, 1, _weighed(_intersect)),
    "exclude": Signature(1, 1, _weighed(_exclude)),
    "union": Signature(1, 1, _weighed(lambda focus, other: distinct(focus + other))),
    "combine": Signature(1, 2, lambda _env, focus, other, *_order: focus + other),
    "sum": Signature(0, 0, _sum),
    "min": Signature(0, 0, _extreme(-1)),
    "max": Signature(0, 0, _extreme(1)),
    "avg": Signature(0, 0, _average),
    "children": Signature(0, 0, children),
    "descendants": Signature(0, 0, descendants),
}
