"""Where HL7's constraints are judged: the types of their path, and every part of a resource that they speak of."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateway.fhir.json import JsonObject
from gateway.fhirpath.model import Model
from tests.fhirpath.fetch_definitions import Rule

_EVERYWHERE = ("Element", "BackboneElement", "Resource", "DomainResource")


def first_places(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules without the copies that snapshots make of what is inherited: each once, where it was written."""
    written: dict[tuple[str, str], list[str]] = {}
    for rule in rules:
        root = rule.path.partition(".")[0]
        if rule.is_base and (rule.path == root or root in _EVERYWHERE):
            written.setdefault((rule.key, rule.expression), []).append(rule.path)
    found: dict[tuple[str, str, str], Rule] = {}
    for rule in rules:
        places = written.get((rule.key, rule.expression), [rule.path])
        general = [place for place in places if place.partition(".")[0] in _EVERYWHERE]
        for place in general or ([rule.path] if rule.path in places else []):
            found.setdefault((place, rule.key, rule.expression), rule._replace(path=place))
    return tuple(found.values())


def types_at(path: str, model: Model) -> tuple[str, ...]:
    """The types that an element of a definition may have; empty where the path is of no type of the release."""
    root, *names = path.split(".")
    kinds: tuple[str, ...] = (root,) if root in model.types else ()
    for name in names:
        members = [model.member(kind, name.partition(":")[0].removesuffix("[x]")) for kind in kinds]
        kinds = tuple(dict.fromkeys(kind for member in members if member is not None for kind in member.types))
    return kinds


class Part(NamedTuple):
    """A part of a resource: its value, its type, the path of its definition, and the resource around it."""

    value: object
    type: str
    path: str
    resource: JsonObject


def parts(resource: JsonObject, model: Model) -> Iterator[Part]:
    """The resource and everything in it that has a type; a resource inside of it is its own resource."""
    name = str(resource["resourceType"])
    yield Part(resource, name, name, resource)
    yield from _below(resource, name, resource, model)


def _below(value: Mapping[str, object], type_name: str, resource: JsonObject, model: Model) -> Iterator[Part]:
    for key, child in value.items():
        choice = model.choice_of(type_name, key)
        member = model.member(type_name, key if choice is None else choice[0])
        if member is None:
            continue
        kind = member.types[0] if choice is None else choice[1]
        path = f"{type_name}.{key}" if choice is None else f"{type_name}.{choice[0]}[x]"
        for each in child if isinstance(child, list) else [child]:
            if kind == "Resource" and isinstance(each, dict):
                yield from parts(each, model)
            elif each is not None:
                yield Part(each, kind, path, resource)
                if isinstance(each, dict):
                    yield from _below(each, kind, resource, model)


def is_of_release(resource: JsonObject, model: Model) -> bool:
    """Whether a release knows every element: some files lie in the folder of a later release than their own."""
    return all(
        not isinstance(part.value, dict) or _is_known(part.value, part.type, model) for part in parts(resource, model)
    )


def _is_known(value: Mapping[str, object], type_name: str, model: Model) -> bool:
    for key in value:
        name = key.removeprefix("_")
        choice = model.choice_of(type_name, name)
        member = model.member(type_name, name if choice is None else choice[0])
        if name != "resourceType" and (member is None or member.many != isinstance(value[key], list)):
            return False
    return True
