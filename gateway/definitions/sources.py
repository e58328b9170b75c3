"""The published definitions as typed values: only the fields that the generator reads."""

from typing import get_origin
from xml.etree.ElementTree import Element

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

NAMESPACE = "{http://hl7.org/fhir}"


class Definition(BaseModel):
    """Base of the models below: camelCase in the file, frozen, unknown fields ignored. Reads JSON and XML."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _from_xml(cls, source: object) -> object:
        """XML does not say what repeats (http://hl7.org/fhir/R4/xml.html), so the fields of the model say it."""
        if not isinstance(source, Element):
            return source
        content: dict[str, object] = {}
        for name, field in cls.model_fields.items():
            found = [child.get("value", child) for child in source.findall(f"{NAMESPACE}{field.alias}")]
            if get_origin(field.annotation) is tuple:
                content[name] = found
            elif len(found) > 1:
                raise ValueError(f"{source.tag}: {field.alias} is there {len(found)} times")
            elif found:
                content[name] = found[0]
        return content


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

    name: str
    kind: str
    abstract: bool
    fhir_version: str = ""
    derivation: str | None = None
    base_definition: str | None = None
    snapshot: Snapshot = Snapshot(element=())  # left out of some published examples of profiles


class SearchParameter(Definition):
    """A search parameter; `expression` is absent where FHIR has no FHIRPath for it."""

    code: str
    base: tuple[str, ...]
    type: str
    expression: str = ""


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

    url: str
    compose: Compose | None = None


class CodeSystem(Definition):
    """A code system; `content` is `complete` when all codes are listed."""

    url: str
    content: str
    concept: tuple[Concept, ...] = ()


class CompartmentType(Definition):
    """`CompartmentDefinition.resource`."""

    code: str
    param: tuple[str, ...] = ()


class CompartmentDefinition(Definition):
    """The compartment of one type (`code`): for each type the search parameters that put a resource into it."""

    code: str
    resource: tuple[CompartmentType, ...] = Field(min_length=1)
