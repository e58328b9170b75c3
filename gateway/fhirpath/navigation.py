"""Steps from an element to its parts."""

from collections.abc import Iterator, Mapping

from gateway.fhirpath.env import Env, Step
from gateway.fhirpath.items import NONE, Collection, Element, Item, Types, elements, members, untyped


def member_step(name: str, types: Types) -> Step:
    """`.name`."""

    def step(_env: Env, focus: Collection) -> Collection:
        if len(focus) == 1:
            return _of(focus[0], name, types)
        found: Collection = []
        for item in focus:
            found += _of(item, name, types)
        return found

    return step


def _of(item: Item, name: str, types: Types) -> Collection:
    """As `members`; the common case, a typed JSON object whose element has no sibling, is told apart first."""
    if type(item) is not Element or type(item.value) is not dict:
        return members(item, name, types)
    value = item.value
    fields = item.type.fields
    field = fields[name] if name in fields else item.type.field(name)
    if field is None:
        return NONE if item.type.name else untyped(value, name, types)
    for key, sibling, type_ in field.choices:
        if sibling in value or (type_.is_any and key in value):
            return members(item, name, types)
        child = value.get(key)
        if child is not None:
            return [Element(one, type_) for one in child] if type(child) is list else [Element(child, type_)]
    return NONE


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
    found: Collection = []
    for item in focus:
        if isinstance(item, Element):
            for values in _children(item, env.types):
                env.spend(2 + len(values))
                found += values
    return found


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


def descendants(env: Env, focus: Collection) -> Collection:
    """Every element below."""
    found: Collection = []
    level = focus
    while level:
        level = children(env, level)
        found += level
    return found
