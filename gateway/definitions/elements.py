"""The element model: what may stand where, how often, and with which codes."""

import re

from gateway.definitions.sources import ElementDefinition, StructureDefinition

_FHIR_VERSION = {"R4": "4.0.1", "R4B": "4.3.0", "R5": "5.0.0"}
_SYSTEM = "http://hl7.org/fhirpath/System."
_PROFILE = "http://hl7.org/fhir/StructureDefinition/"


def element_model(
    structures: list[StructureDefinition], codes: dict[str, list[str]], release: str
) -> dict[str, dict[str, object]]:
    """Per section of the data file its content: `resources`, `primitives`, `parents`, `abstract`, `paths`, `values`.

    `parents` says which type each one specialises; `abstract` has the elements that every resource has.
    Raises ValueError when a structure is of another version of FHIR than the release.
    """
    kept = [each for each in structures if each.derivation != "constraint" and each.kind != "logical"]
    foreign = sorted(s.name for s in kept if s.fhir_version != _FHIR_VERSION[release])
    if foreign:
        raise ValueError(f"not of FHIR {_FHIR_VERSION[release]}: {', '.join(foreign)}")
    primitives = {s.name for s in kept if s.kind == "primitive-type"}
    resources = sorted(s.name for s in kept if s.kind == "resource" and not s.abstract)
    paths: dict[str, object] = {}
    abstract: dict[str, object] = {}
    bound: set[str] = set()
    for structure in sorted(kept, key=lambda s: s.name):
        if structure.kind == "primitive-type":
            continue
        kind = abstract if structure.abstract and structure.kind == "resource" else paths
        for path, children in _children(structure).items():
            kind[path] = {element.path.rsplit(".", 1)[1]: _element(element, structure.kind) for element in children}
            bound.update(filter(None, map(_required_value_set, children)))
    return {
        "resources": dict.fromkeys(resources, True),
        "primitives": dict.fromkeys(sorted(primitives), True),
        "parents": {s.name: s.base_definition.removeprefix(_PROFILE) for s in kept if s.base_definition},
        "abstract": abstract,
        "paths": paths,
        "values": {url: codes[url] for url in sorted(bound) if url in codes},
    }


def _children(structure: StructureDefinition) -> dict[str, list[ElementDefinition]]:
    children: dict[str, list[ElementDefinition]] = {}
    for element in structure.snapshot.element[1:]:
        children.setdefault(element.path.rsplit(".", 1)[0], []).append(element)
    return children


def _element(element: ElementDefinition, kind: str) -> dict[str, object]:
    """One element of a structure of that kind, defaults left out: min 0, max 1."""
    row: dict[str, object] = {}
    if element.content_reference:
        row["content"] = element.content_reference.lstrip("#")
    else:
        row["types"] = _types(element, kind)
    if element.min:
        row["min"] = element.min
    if element.max != "1":
        row["max"] = element.max
    targets = sorted(
        {p.removeprefix(_PROFILE) for t in element.type for p in t.target_profile if t.code == "Reference"}
    )
    if targets and targets != ["Resource"]:
        row["targets"] = targets
    value_set = _required_value_set(element)
    if value_set:
        row["binding"] = value_set
    return row


def _types(element: ElementDefinition, kind: str) -> list[str]:
    """Type names; System.String is the string of element ids, except for `id` of a resource, which is an `id`."""
    names = []
    for reference in element.type:
        if not reference.code.startswith(_SYSTEM):
            names.append(reference.code)
        elif kind == "resource" and re.fullmatch(r"[A-Z]\w+\.id", element.path):
            names.append("System.Id")
        elif element.path == "Extension.url":
            names.append("System.Uri")
        else:
            names.append("System.String")
    return names


def _required_value_set(element: ElementDefinition) -> str | None:
    if element.binding is None or element.binding.strength != "required" or element.binding.value_set is None:
        return None
    return element.binding.value_set.split("|", 1)[0]
