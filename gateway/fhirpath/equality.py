"""Equality, equivalence and order of items, three-valued where the language is."""

from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, TypeAlias

from gateway.fhirpath import quantity
from gateway.fhirpath.items import AMOUNT_WORK, Collection, Element, EvaluationError, Item, is_number, system
from gateway.fhirpath.quantity import Quantity, UnknownUnit
from gateway.fhirpath.temporal import Temporal

Spend: TypeAlias = Callable[[int], None]  # `Env.spend`
_PAIR_WORK: Final = 5
_SIMILAR_STEP: Final = 64  # characters of texts that are alike or not, which cost one unit of work
# What Python and regular expressions call white space, but for the space itself.
_BLANKS: Final = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def key(item: Item) -> object:
    """Hashable, and equal exactly for values that are equal: for sets."""
    value = system(item)
    if isinstance(item, Element) and value is None:
        return "extensions", frozen(item.extra)
    return frozen(value)


def frozen(value: object) -> object:
    """A value as something hashable; 1 and 1.0 are one number, 1 and true are not."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | Decimal | float):
        return _number_key(Decimal(repr(value)) if isinstance(value, float) else Decimal(value))
    if isinstance(value, Mapping):
        return "object", frozenset((name, frozen(child)) for name, child in value.items())
    if isinstance(value, list | tuple):
        return "list", tuple(frozen(child) for child in value)
    return type(value).__name__, quantity.key(value) if isinstance(value, Quantity) else _moment_key(value)


def _number_key(number: Decimal) -> object:
    """By its digits: Python's hash of a number is no secret, and a payload could make them all collide."""
    sign, digits, exponent = number.as_tuple()
    kept = bytes(digits).rstrip(b"\0")
    if not kept or not isinstance(exponent, int):
        return "number", 0, kept, str(exponent) if not isinstance(exponent, int) else 0
    return "number", sign, kept, exponent + len(digits) - len(kept)


def _moment_key(value: object) -> object:
    return value.key if isinstance(value, Temporal) else None


def equal(left: Collection, right: Collection) -> bool | None:
    """`=` (https://hl7.org/fhirpath/N1/#equals): None when a side is empty or the precision leaves it open."""
    if len(left) == 1 == len(right):
        return same(left[0], right[0])
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
    one, other = system(left), system(right)
    if type(one) is str and type(other) is str:
        return one == other
    if one is None or other is None:
        return None
    if isinstance(one, Temporal) or isinstance(other, Temporal):
        return _same_moment(one, other)
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        return _same_quantity(as_quantity(one), as_quantity(other))
    return _same_value(one, other)


def _same_value(one: object, other: object) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one is other:
        return True
    if isinstance(one, int | Decimal) and isinstance(other, int | Decimal) and is_number(one) and is_number(other):
        return one == other
    return frozen(one) == frozen(other)


def _same_moment(one: object, other: object) -> bool | None:
    one, other = as_temporal(one), as_temporal(other)
    if (
        not isinstance(one, Temporal)
        or not isinstance(other, Temporal)
        or (one.kind == "Time") != (other.kind == "Time")
    ):
        return False
    order = one.compare(other)
    return None if order is None else order == 0


def _same_quantity(one: object, other: object) -> bool | None:
    if not isinstance(one, Quantity) or not isinstance(other, Quantity):
        return False
    order = quantity_order(one, other)
    return None if order is None else order == 0


def quantity_order(one: Quantity, other: Quantity) -> int | None:
    """-1, 0, 1, or None without a common measure."""
    try:
        return quantity.order(one, other)
    except UnknownUnit as error:
        raise EvaluationError("quantities with these units cannot be compared by this engine") from error


def as_quantity(value: object) -> object:
    """A number beside a quantity is one of unit 1."""
    return Quantity(Decimal(value), "1") if isinstance(value, int | Decimal) and is_number(value) else value


def as_temporal(value: object) -> object:
    """A string beside a date or time is read as one; None where it is none."""
    return Temporal.parse(value) if isinstance(value, str) else value


def order(left: Collection, right: Collection) -> int | None:
    """-1, 0, 1; None when a side is empty or the precision leaves it open. Errors for what has no order."""
    if len(left) > 1 or len(right) > 1:
        raise EvaluationError("single values are expected on both sides of a comparison")
    return item_order(left[0], right[0]) if left and right else None


def item_order(left: Item, right: Item) -> int | None:
    """The order of two items."""
    return value_order(system(left), system(right))


def value_order(one: object, other: object) -> int | None:
    """The order of two System values."""
    if one is None or other is None:
        return None
    if type(one) is str and type(other) is str:
        return (one > other) - (one < other)
    if type(one) is Temporal and type(other) is Temporal and one.kind != "Time" != other.kind:
        return one.compare(other)
    if isinstance(one, Temporal) or isinstance(other, Temporal):
        one, other = as_temporal(one), as_temporal(other)
        if isinstance(one, Temporal) and isinstance(other, Temporal) and (one.kind == "Time") == (other.kind == "Time"):
            return one.compare(other)
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        one, other = as_quantity(one), as_quantity(other)
        if isinstance(one, Quantity) and isinstance(other, Quantity):
            return quantity_order(one, other)
    if isinstance(one, int | Decimal) and isinstance(other, int | Decimal) and is_number(one) and is_number(other):
        return (one > other) - (one < other)
    raise EvaluationError("values of these types have no order")


def equivalent(left: Collection, right: Collection, spend: Spend) -> bool:
    """`~` (https://hl7.org/fhirpath/N1/#equivalent): order does not matter, never empty.

    `spend` counts the pairs that are compared: lists, also those inside of an item, are searched for each other.
    """
    if len(left) != len(right):
        return False
    waiting = [system(other) for other in right]
    for one in map(system, left):
        found = next((index for index, other in enumerate(waiting) if _alike(one, other, spend)), None)
        if found is None:
            return False
        del waiting[found]
    return True


def _alike(one: object, other: object, spend: Spend) -> bool:
    if isinstance(one, Temporal) or isinstance(other, Temporal):
        return _same_moment(one, other) is True
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        spend(AMOUNT_WORK)
        one, other = as_quantity(one), as_quantity(other)
        return isinstance(one, Quantity) and isinstance(other, Quantity) and _alike_quantities(one, other)
    return _alike_values(one, other, spend)


def _alike_quantities(one: Quantity, other: Quantity) -> bool:
    pair = (one.value, other.value) if one.unit == other.unit else quantity.coarse(one, other)
    return pair is not None and _alike_numbers(*pair)


def _alike_values(one: object, other: object, spend: Spend) -> bool:
    spend(_PAIR_WORK)
    if isinstance(one, str) and isinstance(other, str):
        spend((len(one) + len(other)) // _SIMILAR_STEP)
        return _spaced(one) == _spaced(other)
    one = Decimal(repr(one)) if isinstance(one, float) else one
    other = Decimal(repr(other)) if isinstance(other, float) else other
    if isinstance(one, int | Decimal) and isinstance(other, int | Decimal) and is_number(one) and is_number(other):
        return _alike_numbers(Decimal(one), Decimal(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        mine, theirs = one.keys() - {"id"}, other.keys() - {"id"}
        return mine == theirs and all(_alike_values(one[name], other[name], spend) for name in mine)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and _alike_lists(one, list(other), spend)
    return frozen(one) == frozen(other)


def _spaced(text: str) -> str:
    """White space is all alike, and not collapsed (https://build.fhir.org/ig/HL7/FHIRPath/#string-equivalence)."""
    text = text.lower()
    for blank in _BLANKS:  # one pass of C for each: a regular expression takes some thirty times as long on blanks
        text = text.replace(blank, " ")
    return text


def _alike_lists(one: list[object], waiting: list[object], spend: Spend) -> bool:
    for value in one:
        found = next((index for index, other in enumerate(waiting) if _alike_values(value, other, spend)), None)
        if found is None:
            return False
        del waiting[found]
    return True


def _alike_numbers(one: Decimal, other: Decimal) -> bool:
    places = min(_places(one), _places(other))
    step = Decimal(1).scaleb(-places)
    try:
        return one.quantize(step, ROUND_HALF_UP) == other.quantize(step, ROUND_HALF_UP)
    except ArithmeticError:  # more digits than Decimal keeps
        return one == other


def _places(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def is_in(item: Item, values: Collection) -> bool:
    """Whether a collection has an equal item."""
    return any(same(other, item) is True for other in values)


def distinct(values: Collection) -> Collection:
    """The items in order of first appearance, each once."""
    if len(values) < 2:  # noqa: PLR2004 (fewer cannot repeat)
        return values
    found: dict[object, Item] = {}
    for item in values:
        found.setdefault(key(item), item)
    return list(found.values())
