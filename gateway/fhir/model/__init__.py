"""The FHIR definitions as the gateway uses them, read once from the generated files beside this page.

`python -m gateway.definitions.generate` writes the files. The element model is keyed by path as the
StructureDefinitions write it (`Observation.component`, `HumanName`); choice elements are expanded to the
names of the JSON format (`valueQuantity`), each knowing its group (`value`).
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from gateway.fhir.model import files
from gateway.fhir.model.files import ElementsFile, PathRow

RELEASES = ("R4",)
CHOICE = "[x]"
RESOURCE = "Resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One JSON property of a path.

    `type` is a primitive type, a datatype, the path of a backbone element, or `Resource`. `group` names the
    choice element (`value`) and `required` then means that one of the group must be there. `binding` is the
    URL of a required value set; `targets` are the types a Reference may name (empty: any).
    """

    name: str
    type: str
    primitive: bool
    many: bool
    required: bool
    group: str | None = None
    binding: str | None = None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompartmentEntry:
    """How a type belongs to the Patient compartment: its reference paths, and the subject-like one."""

    paths: tuple[tuple[str, ...], ...]
    subject: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPath:
    """A plain element path of a search parameter, with JSON names. `target` narrows to one reference type."""

    names: tuple[str, ...]
    type: str
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchParameter:
    """A token, reference or uri parameter that a payload alone decides."""

    type: str
    paths: tuple[SearchPath, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One release. `fields` maps a path to its JSON properties by name; `values` a value set URL to its codes."""

    release: str
    resources: frozenset[str]
    primitives: frozenset[str]
    fields: Mapping[str, Mapping[str, Field]]
    values: Mapping[str, tuple[str, ...]]
    compartment: Mapping[str, CompartmentEntry]


@functools.cache
def load(release: str = "R4") -> Model:
    """The model of a release; raises ValueError for one that is not shipped."""
    if release not in RELEASES:
        raise ValueError(f"no FHIR model of release {release}; there are: {', '.join(RELEASES)}")
    elements = files.elements(release)
    field = functools.cache(functools.partial(_field, elements))
    return Model(
        release=release,
        resources=frozenset(elements["resources"]),
        primitives=frozenset(elements["primitives"]),
        fields={path: dict(_fields(path, elements, field)) for path in elements["paths"]},
        values={url: tuple(codes) for url, codes in elements["values"].items()},
        compartment={
            name: CompartmentEntry(
                paths=tuple(tuple(path.split(".")) for path in row["paths"]), subject=tuple(row["subject"].split("."))
            )
            for name, row in files.compartment(release)["types"].items()
        },
    )


def _fields(path: str, elements: ElementsFile, field: Callable[..., Field]) -> Iterator[tuple[str, Field]]:
    """The JSON properties of a path. Most are those of other paths as well: `field` makes each once."""
    paths = elements["paths"]
    for name, row in paths[path].items():
        inner = row.get("content") or (below if (below := f"{path}.{name}") in paths else None)
        group = name.removesuffix(CHOICE) if name.endswith(CHOICE) else None
        about = (row.get("max", "1") != "1", row.get("min", 0) > 0, group, row.get("binding"))
        for type_name in (inner,) if inner else row["types"]:
            json_name = f"{group}{type_name[0].upper()}{type_name[1:]}" if group else name
            targets = tuple(row.get("targets", ())) if type_name == "Reference" else ()
            yield json_name, field(json_name, type_name, *about, targets)


def _field(  # noqa: PLR0917 (what is cached has no names)
    elements: ElementsFile,
    name: str,
    type_name: str,
    many: bool,
    required: bool,
    group: str | None,
    binding: str | None,
    targets: tuple[str, ...],
) -> Field:
    return Field(
        name=name,
        type=type_name,
        primitive=type_name in elements["primitives"] or type_name.startswith("System."),
        many=many,
        required=required,
        group=group,
        binding=binding,
        targets=targets,
    )


@functools.cache
def search_parameters(release: str = "R4") -> Mapping[str, Mapping[str, SearchParameter]]:
    """Per resource type the search parameters that a payload alone decides, by code."""
    model = load(release)
    content = files.search(release)
    return {
        name: {
            code: SearchParameter(
                type=row["type"],
                paths=tuple(found for path in row["paths"] for found in _search_paths(model, name, path)),
            )
            for code, row in (content["common"] | content["types"].get(name, {})).items()
        }
        for name in model.resources
    }


def _search_paths(model: Model, type_name: str, row: PathRow) -> Iterator[SearchPath]:
    """The JSON names of a path: a choice element stands for each of its types, or for the one it is cast to."""
    open_paths: list[tuple[tuple[str, ...], str]] = [((), type_name)]
    for name in row["path"].split("."):
        open_paths = [
            ((*names, field.name), field.type)
            for names, at in open_paths
            for field in model.fields.get(at, {}).values()
            if name in (field.name, field.group)
        ]
    for names, found in open_paths:
        if row.get("as_type") in (None, found):
            yield SearchPath(names=names, type=found, target=row.get("target"))
