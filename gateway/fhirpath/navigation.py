"""Steps from an element to its parts."""

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.fhirpath.closures import on_this
from gateway.fhirpath.env import Env, Expr, Step
from gateway.fhirpath.items import (
    NONE,
    PLAIN,
    TRUE,
    BudgetExceeded,
    Collection,
    Element,
    Item,
    Type,
    Types,
    element_at,
    elements,
    members,
    untyped,
)

_CONTENT_WORK: Final = 3
_KEYS_STEP: Final = 16  # keys that are looked at for one unit of work


def member_step(*names: str, types: Types) -> Step:
    """`.name`, or several in a row (`.code.coding`). What the last one gives is counted by the path."""
    if len(names) == 1:
        (name,) = names
        return lambda _env, focus: _of(focus[0], name, types) if len(focus) == 1 else _of_each(focus, name, types)
    between = 2 * (len(names) - 1)

    def step(env: Env, focus: Collection) -> Collection:
        env.left -= between
        if len(focus) == 1:
            item = focus[0]
            return _along(env, item.value, item.type, names, item) if type(item) is Element else NONE
        return _each(env, focus, names, types)

    return step


def from_this(*names: str, types: Types) -> Expr:
    """`name.name` at the start of an expression, asked of `$this`."""
    if len(names) > 1:
        return on_this(member_step(*names, types=types))
    (name,) = names

    def evaluate(env: Env) -> Collection:
        focus = env.this
        found = _of(focus[0], name, types) if len(focus) == 1 else _of_each(focus, name, types)
        env.left -= 1 + len(found)
        if env.left < 0:
            raise BudgetExceeded
        return found

    return evaluate


def from_variable(variable: str, *names: str, types: Types) -> Expr:
    """`%variable.name.name`, of a JSON object without an item for it."""
    step = member_step(*names, types=types)
    between = 1 + 2 * (len(names) - 1)

    def evaluate(env: Env) -> Collection:
        value = env.variables.get(variable)
        if type(value) is dict:
            env.left -= between
            found = _along(env, value, types.said_by(value), names)
        else:
            base = env.variable(variable)
            found = step(env, base)
        env.left -= 1 + len(found)
        if env.left < 0:
            raise BudgetExceeded
        return found

    return evaluate


def _of(item: Item, name: str, types: Types) -> Collection:
    """As `members`; simple, as most are, is told apart first: see `_along`."""
    if type(item) is Element and type(item.value) is dict:
        field = item.type.fields[name]
        if field is not None and field.first is not None:
            key, sibling, type_ = field.first
            if sibling not in item.value:
                child = item.value.get(key)
                if type(child) is list:
                    return [element_at(one, type_) for one in child]
                if child is not None:
                    return [element_at(child, type_)]
                if field.simple is not None:
                    return NONE
    return members(item, name, types)


def _of_each(focus: Collection, name: str, types: Types) -> Collection:
    found: Collection = []
    for item in focus:
        if type(item) is Element and (type(item.value) not in PLAIN or item.extra is not None):
            found += _of(item, name, types)
    return found


def _along(env: Env, value: object, type_: Type, names: tuple[str, ...], item: Element | None = None) -> Collection:
    """Along the names, and without an item for what lies between, as long as each leads to one simple thing.

    Simple, as most are: a typed JSON object, and in it an element of one type with a value and no `_` sibling.
    `item`: what the value and the type are of, if there is an item already.
    """
    for at, name in enumerate(names):
        if type(value) is not dict:
            break
        field = type_.fields[name]
        if field is None and type(value.get(name)) in PLAIN and not type_.name:
            value = value[name]  # plain JSON
            continue
        if field is None or field.simple is None or field.simple[1] in value:
            if field is not None and field.written.isdisjoint(value):
                return NONE
            break
        key, _, type_ = field.simple
        value = value.get(key)
        if value is None:
            return NONE
        if type(value) is list:
            if len(value) != 1:
                found: Collection = [element_at(one, type_) for one in value]
                return found if at + 1 == len(names) else _each(env, found, names[at + 1 :], env.types)
            value = value[0]
    else:
        return [element_at(value, type_)]
    start = element_at(value, type_) if item is None or at else item
    return _each(env, [start], names[at:], env.types)


def reached(value: object, type_: Type, names: tuple[str, ...]) -> tuple[list[object], Type] | None:
    """What the names lead to, and its type, where each leads to one simple thing, and the last to any number.

    Simple: as in `_along`. None: it is not so simple.
    """
    values = [value]
    for name in names:
        if len(values) != 1:
            return None
        (value,) = values
        if type(value) is not dict:
            return None
        field = type_.fields[name]
        if field is None or field.simple is None or field.simple[1] in value:
            return None
        key, _, type_ = field.simple
        child = value.get(key)
        if child is None:
            return [], type_
        values = child if type(child) is list else [child]
    return values, type_


def _each(env: Env, focus: Collection, names: tuple[str, ...], types: Types) -> Collection:
    """Along the names from any number of items, name by name."""
    for name in names:
        env.spend(len(focus))
        focus = _of_each(focus, name, types)
    return focus


def type_step(name: str, types: Types) -> Step:
    """`Patient` at the start of a path: the items that are one (http://hl7.org/fhirpath/N1/#path-selection)."""
    model = types.model

    def step(_env: Env, focus: Collection) -> Collection:
        return [
            item
            for item in focus
            if isinstance(item, Element) and (item.type.name == name or model.is_a(item.type.name, name))
        ]

    return step


def children(env: Env, focus: Collection) -> Collection:
    """Every direct child element."""
    env.spend(len(focus))
    found: Collection = []
    for item in focus:
        if type(item) is Element and (type(item.value) not in PLAIN or item.extra is not None):
            before = len(found)
            if type(item.value) is not dict or not _add_children(item.value, item.type, found, env.types):
                del found[before:]
                for values in _children(item, env.types):
                    env.spend(1)
                    found += values
            env.left -= len(found) - before
            if env.left < 0:
                raise BudgetExceeded
    return found


def child_count(env: Env) -> Collection:
    """`children().count()`, which ele-1 asks of every element: nothing is made of what is counted only."""
    focus = env.this
    number = _child_count(focus[0]) if len(focus) == 1 and type(focus[0]) is Element else None
    if number is None:
        number = len(children(env, focus))
    env.left -= 3 + number
    if env.left < 0:
        raise BudgetExceeded
    return [number]


def has_content(otherwise: Expr) -> Expr:
    """`hasValue() or (children().count() > id.count())`: ele-1, which stands at every element.

    One child beside the id, of a type that is known already, is enough: the id counts as much on the right.
    """

    def evaluate(env: Env) -> Collection:
        item = env.this[0] if len(env.this) == 1 else None
        if type(item) is Element and type(item.value) is dict:
            known = item.type.keys
            for key, child in item.value.items():
                if type(child) is list and child:
                    child = child[0]  # noqa: PLW2901 (one of several tells as much)
                if (type(child) is dict or type(child) in PLAIN) and key != "id" and key in known:
                    env.spend(_CONTENT_WORK)
                    return TRUE
            env.spend(len(item.value) // _KEYS_STEP)
        return otherwise(env)

    return evaluate


def _add_children(value: dict[str, object], owner: Type, found: Collection, types: Types) -> bool:
    """The children of a JSON object when all are of known types, without `_` siblings. False: there are others."""
    known = owner.keys
    for key, child in value.items():
        type_ = known.get(key)
        if type_ is None:
            if key == "resourceType":
                continue
            type_ = owner.at(key)
        if type_ is None:
            return False
        if type_.is_any:
            found += elements(child, None, type_, types)
        elif type(child) is list:
            found += [element_at(one, type_) for one in child]
        elif child is not None:
            found.append(element_at(child, type_))
    return True


def _child_count(item: Element) -> int | None:
    """As many as `_add_children` adds; None where it says False."""
    value = item.value
    if type(value) is not dict:
        return 0 if type(value) in PLAIN and item.extra is None else None
    number = 0
    known = item.type.keys
    for key, child in value.items():
        if key not in known:
            if key == "resourceType":
                continue
            if item.type.at(key) is None:
                return None
        if type(child) is list:
            number += len(child)
        elif child is not None:
            number += 1
    return number


def _children(item: Element, types: Types) -> Iterator[Collection]:
    value, owner = item.value, item.type
    if not isinstance(value, Mapping):
        value, owner = item.extra or {}, types.of("Element")
    for key, child in value.items():
        name = key.removeprefix("_")
        is_sibling = name != key
        if (is_sibling and name in value) or name == "resourceType":
            continue  # a sibling comes with its primitive
        if not owner.name:
            yield untyped(value, name, types)
            continue
        type_ = owner.at(name)
        if type_ is None:
            yield NONE
        elif is_sibling:
            yield elements(None, child, type_, types)
        else:
            yield elements(child, value.get(f"_{key}"), type_, types)


def below_resource(env: Env) -> Collection:
    """`%resource.descendants()`, which dom-3 asks four times for each contained resource: found once."""
    if env.below is None or env.below[0] is not env.resource:
        env.below = (env.resource, descendants(env, env.resource))
    found = env.below[1]
    env.spend(3 + len(found))
    return found


def descendants(env: Env, focus: Collection) -> Collection:
    """Every element below."""
    found: Collection = []
    level = focus
    while level:
        level = children(env, level)
        found += level
    return found
