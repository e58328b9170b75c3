"""The operators that compare, compiled: a literal on the right, as most rules have it, is prepared once."""

from collections.abc import Callable
from typing import Final, TypeAlias

from gateway.fhirpath import equality
from gateway.fhirpath.criteria import Condition
from gateway.fhirpath.env import TEXT_STEP, Env, Expr, work_of
from gateway.fhirpath.items import (
    FALSE,
    NONE,
    TRUE,
    BudgetExceeded,
    Collection,
    Element,
    EvaluationError,
    Item,
    boolean,
    system,
)


def comparison(operator: str, left: Expr, right: Expr, fixed: Collection | None) -> Expr:
    """`left operator right`; `fixed` is the right side's value when it is known at compile time."""
    if fixed is not None and all(type(value) is str for value in fixed):
        texts = frozenset(value for value in fixed if isinstance(value, str))
        if operator == "in":
            return _in_texts(left, fixed, texts)
        if operator in ("=", "!=") and len(fixed) == 1:
            return _text_equality(left, fixed, unequal=operator == "!=")
    if operator in _ORDERS:
        return _ordered(left, right, _ORDERS[operator])
    if operator in _LIKE:
        return _likeness(left, right, *_LIKE[operator])
    if operator in _EQUALITIES:
        return _equality(left, right, _COMPARES[operator], *_EQUALITIES[operator])
    return _membership(left, right, _COMPARES[operator])


def _equality(left: Expr, right: Expr, compare: "_Compare", unlike: Collection, alike: Collection) -> Expr:
    """Two booleans, and two short strings, are told apart before anything is weighed."""

    def evaluate(env: Env) -> Collection:
        one, other = left(env), right(env)
        if (one is TRUE or one is FALSE) and (other is TRUE or other is FALSE):
            env.left -= 1
            return alike if one is other else unlike
        text = short_text(one)
        if text is not None:
            second = short_text(other)
            if second is not None:
                env.spend(2)
                return alike if text == second else unlike
        _count(env, one, other, pairwise=False)
        return compare(one, other)

    return evaluate


def _membership(left: Expr, right: Expr, compare: "_Compare") -> Expr:
    def evaluate(env: Env) -> Collection:
        one, other = left(env), right(env)
        _count(env, one, other, pairwise=True)
        return compare(one, other)

    return evaluate


def on_member(condition: Condition, otherwise: Expr) -> Expr:
    """`name = 'text'` and `name in ('a' | 'b')` on one JSON object, without any collection.

    `otherwise` compares whatever is not so simple.
    """
    name, texts, is_wanted, _ = condition
    found, other = (TRUE, FALSE) if is_wanted else (FALSE, TRUE)

    def evaluate(env: Env) -> Collection:
        item = env.this[0] if len(env.this) == 1 else None
        if type(item) is Element and type(item.value) is dict:
            keys = item.type.texts[name]
            text = None if keys is None else item.value.get(keys[0])
            if type(text) is str:
                env.left -= 2
                if env.left < 0:
                    raise BudgetExceeded
                return found if text in texts else other
        return otherwise(env)

    return evaluate


def short_text(values: Collection) -> str | None:
    """The one string that a collection is, when it is short enough to be read for nothing; None: it is not so simple.

    What FHIR writes as a string and the language reads as something else (a date) is none.
    """
    if len(values) != 1:
        return None
    item = values[0]
    if type(item) is Element:
        if item.type.read is not None:
            return None
        value = item.value
    else:
        value = item
    return value if type(value) is str and len(value) < TEXT_STEP else None


def _count(env: Env, one: Collection, other: Collection, *, pairwise: bool) -> None:
    if len(one) > 1 or len(other) > 1:
        env.spend((len(one) + 1) * (len(other) + 1) if pairwise else len(one) + len(other))
    else:
        env.spend(2)
    env.weigh(one)
    env.weigh(other)


def _likeness(left: Expr, right: Expr, alike: Collection, unlike: Collection) -> Expr:
    def evaluate(env: Env) -> Collection:
        one, other = left(env), right(env)
        env.spend(2)
        env.weigh(one)
        env.weigh(other)
        return alike if equality.equivalent(one, other, env.spend) else unlike

    return evaluate


def _in_texts(left: Expr, fixed: Collection, texts: frozenset[str]) -> Expr:
    def evaluate(env: Env) -> Collection:
        values = left(env)
        if len(values) == 1:
            item = values[0]
            if type(item) is Element and type(item.value) is str and item.type.read is None:
                return TRUE if item.value in texts else FALSE
        env.weigh(values)
        env.spend(len(fixed))
        return _in(values, fixed)

    return evaluate


def _text_equality(left: Expr, fixed: Collection, *, unequal: bool) -> Expr:
    text = fixed[0]
    same, other = (FALSE, TRUE) if unequal else (TRUE, FALSE)
    compare = _not_equal if unequal else _equal

    def evaluate(env: Env) -> Collection:
        values = left(env)
        if len(values) == 1:
            item = values[0]
            if type(item) is Element and type(item.value) is str and item.type.read is None:
                return same if item.value == text else other
        env.weigh(values)
        return compare(values, fixed)

    return evaluate


def _equal(left: Collection, right: Collection) -> Collection:
    return boolean(equality.equal(left, right))


def _not_equal(left: Collection, right: Collection) -> Collection:
    answer = equality.equal(left, right)
    return NONE if answer is None else FALSE if answer else TRUE


def _in(left: Collection, right: Collection) -> Collection:
    if len(left) > 1:
        raise EvaluationError("in expects a single value, not several")
    return boolean(equality.is_in(left[0], right)) if left else NONE


def _contains(left: Collection, right: Collection) -> Collection:
    if len(right) > 1:
        raise EvaluationError("contains expects a single value, not several")
    return boolean(equality.is_in(right[0], left)) if right else NONE


def _ordered(left: Expr, right: Expr, answers: tuple[Collection, Collection, Collection]) -> Expr:
    def evaluate(env: Env) -> Collection:
        one, other = left(env), right(env)
        env.left -= 2
        if len(one) == 1 == len(other):
            first = _short_number(one[0])
            if first is not None:
                second = _short_number(other[0])
                if second is not None and (type(first) is int or type(second) is int):
                    return answers[(first > second) - (first < second)]
            env.left -= work_of(one[0]) + work_of(other[0])
            if env.left < 0:
                raise BudgetExceeded
            order = equality.value_order(system(one[0]), system(other[0]))
        else:
            env.read(one)
            env.read(other)
            order = equality.order(one, other)
        return NONE if order is None else answers[order]

    return evaluate


def _short_number(item: Item) -> int | float | None:
    """The number that an item is, when it is read for nothing: a whole one, or what JSON has of a FHIR element.

    A float is the decimal that it is written as, and stands on the same side of every whole number that is exact as
    a float; of another number it may not.
    """
    value: object = item
    if type(item) is Element:
        if item.type.read is not None:
            return None
        value = item.value
    if type(value) is int:
        return value if -_EXACT < value < _EXACT else None
    return value if type(value) is float else None


# For what is as much, for more, and, as index -1, for less.
_ORDERS: Final = {
    "<": (FALSE, FALSE, TRUE),
    "<=": (TRUE, FALSE, TRUE),
    ">": (FALSE, TRUE, FALSE),
    ">=": (TRUE, TRUE, FALSE),
}
_EXACT: Final = 2**53
_EQUALITIES: Final = {"=": (FALSE, TRUE), "!=": (TRUE, FALSE)}  # for two that are not alike, and for two that are
_LIKE: Final = {"~": (TRUE, FALSE), "!~": (FALSE, TRUE)}
_Compare: TypeAlias = Callable[[Collection, Collection], Collection]
_COMPARES: Final[dict[str, _Compare]] = {
    "=": _equal,
    "!=": _not_equal,
    "in": _in,
    "contains": _contains,
}
COMPARISONS: Final = frozenset((*_ORDERS, *_LIKE, *_COMPARES))
