"""Every object of a resource with its path in the element model and its place in the payload."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.fhir.json import Json, JsonObject
from gateway.fhir.model import RESOURCE, Model


@dataclass(slots=True, kw_only=True)
class Scope:
    """What `#id` references of one resource can name, and who uses them.

    `contained` are place and id of its contained resources, `named` place and id of every `#id` (no place when
    it is no Reference), `naming_container` the places of contained resources that name their container by `#`.
    """

    contained: list[tuple[str, str]] = field(default_factory=list)
    named: list[tuple[str, str]] = field(default_factory=list)
    naming_container: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One object. `at` is its place (`Observation.component[2]`); `path` its place in the model.

    `beside_value` is set for an `_x` whose `x` is there, `contained` for a contained resource; `within` is the
    place of the contained resource that the object belongs to.
    """

    path: str
    at: str
    value: JsonObject
    scope: Scope
    beside_value: bool = False
    contained: bool = False
    within: str | None = None


def nodes(model: Model, resource: JsonObject) -> Iterator[Node]:
    """The objects of a resource in document order; parts that the model does not know are left out."""
    type_name = resource.get("resourceType")
    if not isinstance(type_name, str) or type_name not in model.resources:
        return
    # A stack of our own: the depth of a payload must not become the depth of Python's.
    stack = [iter((Node(path=type_name, at=type_name, value=resource, scope=Scope()),))]
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
        else:
            yield node
            stack.append(_children(model, node))


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
        yield Node(path=path, at=at, value=value, scope=parent.scope, beside_value=beside_value, within=parent.within)
        return
    type_name = value.get("resourceType")
    if isinstance(type_name, str) and type_name in model.resources:
        scope, within = (parent.scope, at) if contained else (Scope(), None)
        yield Node(path=type_name, at=at, value=value, scope=scope, contained=contained, within=within)
