"""Faults that no type schema can say, named one by one on payloads that look as if they had some.

Texts never repeat the payload.
"""

from collections import Counter
from collections.abc import Iterator

from gateway.errors import Issue, IssueCode
from gateway.fhir.json import JsonObject
from gateway.fhir.model import Model
from gateway.fhir.schema import coherence
from gateway.fhir.walk import Node, Scope, nodes


def thorough(model: Model, resource: JsonObject) -> Iterator[Issue]:
    """Incoherent and empty objects, contained resources, and the references to them."""
    rules = coherence(model.release)
    scopes: dict[int, Scope] = {}
    for node in nodes(model, resource):
        scopes.setdefault(id(node.scope), node.scope)
        is_resource = node.path in model.resources
        if not is_resource and not node.beside_value and node.value.keys() <= {"id"}:
            yield _issue(IssueCode.STRUCTURE, "An element must have a value or children (ele-1).", node.at)
        for fault in rules[node.path].faults(node.value):
            yield _issue(fault.code, fault.text, f"{node.at}.{fault.at}")
        if node.contained:
            yield from _contained(node)
        _note_fragments(node)
    for scope in scopes.values():
        yield from _scope(scope)


def _contained(node: Node) -> Iterator[Issue]:
    logical_id = node.value.get("id")
    if isinstance(logical_id, str):
        node.scope.contained.append((node.at, logical_id))
    else:
        yield _issue(IssueCode.REQUIRED, "A contained resource needs an id.", f"{node.at}.id")
    if "contained" in node.value:
        yield _issue(IssueCode.INVARIANT, "Contained resources cannot contain others (dom-2).", f"{node.at}.contained")


def _note_fragments(node: Node) -> None:
    for name, value in node.value.items():
        if isinstance(value, str) and value.startswith("#"):
            # Elements other than Reference.reference may name contained resources, too, or be anchors.
            is_reference = (node.path, name) == ("Reference", "reference")
            node.scope.named.append((f"{node.at}.{name}" if is_reference else "", value[1:]))
            if is_reference and value == "#" and node.within is not None:
                node.scope.naming_container.add(node.within)


def _scope(scope: Scope) -> Iterator[Issue]:
    counts = Counter(logical_id for _, logical_id in scope.contained)
    named = {name for _, name in scope.named}
    for at, logical_id in scope.contained:
        if counts[logical_id] > 1:
            yield _issue(IssueCode.VALUE, "Two contained resources have the same id.", f"{at}.id")
        # dom-3: named from elsewhere, or itself naming the resource that contains it.
        if logical_id not in named and at not in scope.naming_container:
            yield _issue(IssueCode.INVARIANT, "Nothing refers to this contained resource (dom-3).", at)
    for at, name in scope.named:
        if at and name and name not in counts:
            yield _issue(IssueCode.VALUE, "No contained resource has this id.", at)


def _issue(code: IssueCode, text: str, at: str) -> Issue:
    return Issue(code=code, text=text, expression=(at,))
