"""Every object of a resource with its path in the element model and its place in the payload."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.fhir.json import Json, JsonObject
from gateway.fhir.model import RESOURCE, Model


@dataclass(slots=True, kw_only=True)
class Scope:
    """What `#id` references of one resource can name: the ids of its contained resources, and who uses them."""

    at: str
    contained: list[tuple[str, Json]] = field(default_factory=list)
    named: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One object. `at` is its place (`Observation.component[2]`); `path` its place in the model.

    `beside_value` is set for an `_x` whose `x` is there; `contained` for a contained resource.
    """

    path: str
    at: str
    value: JsonObject
    scope: Scope
    beside_value: bool = False
    contained: bool = False


def nodes(model: Model, resource: JsonObject) -> Iterator[Node]:
    """The objects of a resource in document order; parts that the model does not know are left out."""
    type_name = resource.get("resourceType")
    if not isinstance(type_name, str) or type_name not in model.resources:
        return
    # A stack of our own: the depth of a payload must not become the depth of Python's.
    stack = [Node(path=type_name, at=type_name, value=resource, scope=Scope(at=type_name))]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(list(_children(model, node))))


def _children(model: Model, node: Node) -> Iterator[Node]:
    fields = model.fields[node.path]
    for name, value in node.value.items():
        plain = name.removeprefix("_")
        known = fields.get(plain)
        if known is None or known.primitive == (name == plain):
            continue  # unknown, a primitive's value, or an underscore where there can be none
        path = "Element" if known.primitive else known.type
        twin = node.value.get(plain) if known.primitive else None
        for index, item in enumerate(value) if isinstance(value, list) else ((None, value),):
            at = f"{node.at}.{plain}" if index is None else f"{node.at}.{plain}[{index}]"
            if isinstance(item, dict):
                beside = _entry(twin, index) is not None
                yield from _child(model, node, path, at, item, beside_value=beside, contained=plain == "contained")


def _entry(twin: Json, index: int | None) -> Json:
    if index is None or not isinstance(twin, list):
        return twin
    return twin[index] if index < len(twin) else None


def _child(
    model: Model, parent: Node, path: str, at: str, value: JsonObject, *, beside_value: bool, contained: bool
) -> Iterator[Node]:
    if path != RESOURCE:
        yield Node(path=path, at=at, value=value, scope=parent.scope, beside_value=beside_value)
        return
    type_name = value.get("resourceType")
    if isinstance(type_name, str) and type_name in model.resources:
        scope = parent.scope if contained else Scope(at=at)
        yield Node(path=type_name, at=at, value=value, scope=scope, contained=contained)
