"""The infix operators, each a function of two collections."""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from gateway.fhirpath import comparing
from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.values import Collection, EvaluationError, Item, Quantity, is_number, scalar, truth

ADDITIVE: Final = frozenset({"+", "&"})
_LARGEST: Final = 10**28  # past it an integer is an error: repeated squaring must not fill the memory


def decided(operator: str, left: bool | None) -> bool | None:
    """What the left side alone says of `and`, `or`, `implies`."""
    if operator == "and":
        return False if left is False else None
    if left is None:
        return None
    if operator == "or":
        return True if left else None
    return None if left else True


def _and(left: Collection, right: Collection) -> bool | None:
    one, other = truth(left), truth(right)
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _or(left: Collection, right: Collection) -> bool | None:
    one, other = truth(left), truth(right)
    if one is True or other is True:
        return True
    return None if one is None or other is None else False


def _xor(left: Collection, right: Collection) -> bool | None:
    one, other = truth(left), truth(right)
    return None if one is None or other is None else one is not other


def _implies(left: Collection, right: Collection) -> bool | None:
    one, other = truth(left), truth(right)
    if one is False or other is True:
        return True
    return None if one is None or other is None else False


def _not_equal(left: Collection, right: Collection) -> bool | None:
    answer = comparing.equal(left, right)
    return None if answer is None else not answer


def _in(left: Collection, right: Collection) -> bool | None:
    item = comparing.only(left, "in")
    return None if item is None else is_in(item, right)


def _contains(left: Collection, right: Collection) -> bool | None:
    item = comparing.only(right, "contains")
    return None if item is None else is_in(item, left)


def is_in(item: Item, values: Collection) -> bool:
    """Whether a collection has an equal item."""
    return any(comparing.same(other, item) is True for other in values)


def _ordered(holds: Callable[[int], bool]) -> Callable[[Collection, Collection], Collection]:
    def compare(left: Collection, right: Collection) -> Collection:
        order = comparing.order(left, right)
        return [] if order is None else [holds(order)]

    return compare


def _boolean(operator: Callable[[Collection, Collection], bool | None]) -> Callable[..., Collection]:
    def evaluate(left: Collection, right: Collection) -> Collection:
        answer = operator(left, right)
        return [] if answer is None else [answer]

    return evaluate


def _operands(left: Collection, right: Collection, operator: str) -> tuple[object, object] | None:
    one, other = comparing.only(left, operator), comparing.only(right, operator)
    return None if one is None or other is None else (scalar(one), scalar(other))


def _plus(left: Collection, right: Collection) -> Collection:
    pair = _operands(left, right, "+")
    if pair is None:
        return []
    one, other = pair
    if isinstance(one, str) and isinstance(other, str):
        return [one + other]
    return _moved(one, other, 1)


def _minus(left: Collection, right: Collection) -> Collection:
    pair = _operands(left, right, "-")
    return [] if pair is None else _moved(*pair, -1)


def _moved(one: object, other: object, sign: int) -> Collection:
    """Sum or difference of numbers, quantities of one unit, or a date and a duration."""
    if isinstance(one, str) and isinstance(other, Quantity):
        one = Temporal.parse(one) or one
    if isinstance(one, Temporal) and isinstance(other, Quantity):
        moved = one.plus(other.value * sign, other.unit)
        if moved is None:
            raise EvaluationError("this quantity cannot be added to a date or time")
        return [moved]
    if isinstance(one, Quantity) and isinstance(other, Quantity) and one.unit == other.unit:
        return [Quantity(one.value + other.value * sign, one.unit)]
    first, second = _number(one), _number(other)
    return [_bounded(first + second * sign)]


def _number(value: object) -> int | Decimal:
    if not isinstance(value, int | Decimal) or not is_number(value):
        raise EvaluationError("numbers are expected on both sides of an arithmetic operator")
    return value


def _bounded(number: int | Decimal) -> int | Decimal:
    if isinstance(number, int) and abs(number) > _LARGEST:
        raise EvaluationError("a number grew too large")
    return number


def _times(one: int | Decimal, other: int | Decimal) -> int | Decimal:
    return one * other


def _divided(one: int | Decimal, other: int | Decimal) -> int | Decimal | None:
    return Decimal(one) / Decimal(other) if other else None


def _whole(one: int | Decimal, other: int | Decimal) -> int | Decimal | None:
    return int(Decimal(one) / Decimal(other)) if other else None


def _rest(one: int | Decimal, other: int | Decimal) -> int | Decimal | None:
    if not other:
        return None
    rest = Decimal(one) % Decimal(other)  # Decimal truncates towards zero, as the language asks; int would not
    return int(rest) if isinstance(one, int) and isinstance(other, int) else rest


def _arithmetic(
    operator: Callable[[int | Decimal, int | Decimal], int | Decimal | None], name: str
) -> Callable[[Collection, Collection], Collection]:
    def evaluate(left: Collection, right: Collection) -> Collection:
        pair = _operands(left, right, name)
        answer = None if pair is None else operator(_number(pair[0]), _number(pair[1]))
        return [] if answer is None else [_bounded(answer)]

    return evaluate


def _joined(left: Collection, right: Collection) -> Collection:
    texts = []
    for side in (left, right):
        item = comparing.only(side, "&")
        text = "" if item is None else scalar(item)
        if not isinstance(text, str):
            raise EvaluationError("& joins strings")
        texts.append(text)
    return ["".join(texts)]


def union(left: Collection, right: Collection) -> Collection:
    """`|`: both, without repetitions."""
    return distinct([*left, *right])


def distinct(values: Collection) -> Collection:
    """The items in order of first appearance, each once."""
    found: dict[object, Item] = {}
    for item in values:
        found.setdefault(comparing.key(item), item)
    return list(found.values())


OPERATORS: Final[dict[str, Callable[[Collection, Collection], Collection]]] = {
    "and": _boolean(_and),
    "or": _boolean(_or),
    "xor": _boolean(_xor),
    "implies": _boolean(_implies),
    "=": _boolean(comparing.equal),
    "!=": _boolean(_not_equal),
    "~": _boolean(comparing.equivalent),
    "!~": _boolean(lambda left, right: not comparing.equivalent(left, right)),
    "in": _boolean(_in),
    "contains": _boolean(_contains),
    "<": _ordered(lambda order: order < 0),
    "<=": _ordered(lambda order: order <= 0),
    ">": _ordered(lambda order: order > 0),
    ">=": _ordered(lambda order: order >= 0),
    "+": _plus,
    "-": _minus,
    "*": _arithmetic(_times, "*"),
    "/": _arithmetic(_divided, "/"),
    "div": _arithmetic(_whole, "div"),
    "mod": _arithmetic(_rest, "mod"),
    "&": _joined,
    "|": union,
}
