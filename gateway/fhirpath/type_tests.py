"""`is`, `as`, `ofType` and `type()`: the type of an item at work."""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from gateway.fhirpath.env import Env, Step
from gateway.fhirpath.items import (
    FALSE,
    NONE,
    TRUE,
    Collection,
    Element,
    EvaluationError,
    Item,
    Type,
    Types,
    element_at,
    plain,
)
from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.tree import Long

TYPE_FUNCTIONS: Final = frozenset({"is", "as", "ofType"})


def type_of(item: Item) -> tuple[str, str]:
    """Namespace and name of an item's type. What came from plain JSON has a System type, or `Object`."""
    if isinstance(item, Element) and item.type.name:
        space, _, name = item.type.name.rpartition(".")
        return ("System", name) if space == "System" else ("FHIR", item.type.name)
    value = plain(item)
    if isinstance(value, Temporal):
        return "System", value.kind
    for kind, name in _SYSTEM:
        if isinstance(value, kind):
            return "System", name
    return "System", "Object"


_SYSTEM: Final[tuple[tuple[type, str], ...]] = (
    (bool, "Boolean"),
    (Long, "Long"),
    (int, "Integer"),
    (Decimal, "Decimal"),
    (str, "String"),
    (Quantity, "Quantity"),
)


def type_test(operator: str, specifier: str, types: Types) -> Step:
    """`is`, `as` or `ofType` with one type (`Quantity`, `FHIR.code`, `System.String`)."""
    return _TESTS[operator](_by_type(_is(specifier, types)), _by_type(_narrows(specifier, types)))


def _by_type(holds: Callable[[Item], bool]) -> Callable[[Item], bool]:
    """The same, asked once for each type: what a typed element is says its type alone."""
    known: dict[Type, bool] = {}  # bounded by the model

    def answer(item: Item) -> bool:
        if type(item) is not Element or not item.type.name:
            return holds(item)
        found = known.get(item.type)
        return known.setdefault(item.type, holds(item)) if found is None else found

    return answer


def _is(specifier: str, types: Types) -> Callable[[Item], bool]:
    """Whether an item is of the type or of one that specialises it."""
    space, _, name = specifier.rpartition(".")
    model = types.model

    def holds(item: Item) -> bool:
        own_space, own = type_of(item)
        if space and space != own_space:
            return False
        return own == name or (own_space == "FHIR" and model.is_a(own, name))

    return holds


def _narrows(specifier: str, types: Types) -> Callable[[Item], bool]:
    """As `_is`, but a primitive is narrowed to its own type only: the suites have `gender.as(string)` empty."""
    name = specifier.rpartition(".")[2]
    holds = _is(specifier, types)
    if not name[:1].islower():
        return holds
    return lambda item: holds(item) and type_of(item)[1] == name


def _one(focus: Collection, operator: str) -> None:
    if len(focus) > 1:
        raise EvaluationError(f"{operator} expects a single value, not several")


def _is_step(holds: Callable[[Item], bool], _narrow: Callable[[Item], bool]) -> Step:
    def step(_env: Env, focus: Collection) -> Collection:
        _one(focus, "is")
        return NONE if not focus else TRUE if holds(focus[0]) else FALSE

    return step


def _as_step(_holds: Callable[[Item], bool], narrow: Callable[[Item], bool]) -> Step:
    def step(_env: Env, focus: Collection) -> Collection:
        _one(focus, "as")
        return focus if focus and narrow(focus[0]) else NONE

    return step


def _of_type_step(_holds: Callable[[Item], bool], narrow: Callable[[Item], bool]) -> Step:
    def step(_env: Env, focus: Collection) -> Collection:
        if len(focus) == 1:
            return focus if narrow(focus[0]) else NONE
        return [item for item in focus if narrow(item)]

    return step


_TESTS: Final = {"is": _is_step, "as": _as_step, "ofType": _of_type_step}


def type_info(env: Env, focus: Collection) -> Collection:
    """`type()`: namespace and name of every item's type."""
    kinds = [type_of(item) for item in focus]
    return [element_at({"namespace": space, "name": name}, env.types.plain) for space, name in kinds]
