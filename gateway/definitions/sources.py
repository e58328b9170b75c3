"""The published definitions as typed values: only the fields that the generator reads."""

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Definition(BaseModel):
    """Base of the models below: camelCase in the file, frozen, unknown fields ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class TypeReference(Definition):
    """`ElementDefinition.type`."""

    code: str
    target_profile: tuple[str, ...] = ()


class Binding(Definition):
    """`ElementDefinition.binding`."""

    strength: str
    value_set: str | None = None


class ElementDefinition(Definition):
    """`StructureDefinition.snapshot.element`."""

    path: str
    min: int
    max: str
    type: tuple[TypeReference, ...] = ()
    binding: Binding | None = None
    content_reference: str | None = None


class Snapshot(Definition):
    """`StructureDefinition.snapshot`."""

    element: tuple[ElementDefinition, ...]


class StructureDefinition(Definition):
    """A base type, resource or datatype."""

    resource_type: Literal["StructureDefinition"]
    name: str
    kind: str
    abstract: bool
    fhir_version: str = ""
    derivation: str | None = None
    snapshot: Snapshot


class SearchParameter(Definition):
    """A search parameter; `expression` is absent where FHIR has no FHIRPath for it."""

    resource_type: Literal["SearchParameter"]
    code: str
    base: tuple[str, ...]
    type: str
    expression: str = ""
    target: tuple[str, ...] = ()


class Concept(Definition):
    """A code and the codes below it."""

    code: str
    concept: tuple["Concept", ...] = ()


class Include(Definition):
    """`ValueSet.compose.include` or `.exclude`."""

    system: str | None = None
    concept: tuple[Concept, ...] = ()
    filter: tuple[object, ...] = ()
    value_set: tuple[str, ...] = ()


class Compose(Definition):
    """`ValueSet.compose`."""

    include: tuple[Include, ...]
    exclude: tuple[Include, ...] = ()


class ValueSet(Definition):
    """A value set by composition."""

    resource_type: Literal["ValueSet"]
    url: str
    compose: Compose | None = None


class CodeSystem(Definition):
    """A code system; `content` is `complete` when all codes are listed."""

    resource_type: Literal["CodeSystem"]
    url: str
    content: str
    concept: tuple[Concept, ...] = ()


class CompartmentType(Definition):
    """`CompartmentDefinition.resource`."""

    code: str
    param: tuple[str, ...] = ()


class CompartmentDefinition(Definition):
    """The Patient compartment: for each type the search parameters that put a resource into it."""

    resource: tuple[CompartmentType, ...] = Field(min_length=1)


class Package:
    """An unpacked definitions package; remembers the SHA-256 of every file that was read."""

    def __init__(self, folder: Path, release: str) -> None:
        about = json.loads((folder / "package.json").read_text("utf-8"))
        self.name: str = about["name"]
        self.version: str = about["version"]
        self._folder = folder / "dist" / "fhir" / release.lower()
        self._sha256: dict[str, str] = {}

    def entries(self, file: str, resource_type: str) -> list[object]:
        """The resources of one type in a Bundle file, in the order of the file."""
        entries = json.loads(self._read(file))["entry"]
        resources = [entry["resource"] for entry in entries]
        return [resource for resource in resources if resource["resourceType"] == resource_type]

    def resource(self, file: str) -> object:
        """The one resource of a file."""
        resource: object = json.loads(self._read(file))
        return resource

    def provenance(self) -> dict[str, object]:
        """What a data file says about where it comes from."""
        return {"package": self.name, "version": self.version, "sha256": dict(sorted(self._sha256.items()))}

    def _read(self, file: str) -> bytes:
        content = (self._folder / file).read_bytes()
        self._sha256[file] = hashlib.sha256(content).hexdigest()
        return content
