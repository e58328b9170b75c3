"""The element model as one pydantic-core schema: known elements only, JSON types, cardinality, codes.

One validator holds every type, since almost every type can carry every other (`contained`, `Extension.value[x]`).
"""

import functools
from collections.abc import Iterator
from typing import TypeAlias

from pydantic_core import CoreSchema, SchemaValidator, core_schema

from gateway.fhir.coherence import Coherence, has_sibling
from gateway.fhir.model import RESOURCE, Field, Model, load
from gateway.fhir.primitives import primitive, reference_literal

ELEMENT = "Element"
_REFERENCE = "Reference"
_LITERAL = "Reference.reference"
Properties: TypeAlias = dict[str, core_schema.TypedDictField]


@functools.cache
def validator(release: str = "R4", *, every_fault: bool = False) -> SchemaValidator:
    """The validator of every resource type of a release.

    It leaves an array at its first faulty entry, so that a large payload of faults costs little;
    with `every_fault` it goes on.
    """
    model = load(release)
    types: dict[str, CoreSchema] = {name: _ref(name) for name in sorted(model.resources)}
    any_resource = core_schema.tagged_union_schema(types, discriminator="resourceType", ref=RESOURCE)
    definitions = [
        any_resource,
        *_primitives(model),
        *_value_sets(model),
        *_objects(release, fail_fast=not every_fault),
    ]
    return SchemaValidator(core_schema.definitions_schema(_ref(RESOURCE), definitions))


@functools.cache
def coherence(release: str = "R4") -> dict[str, Coherence]:
    """The rules of each path."""
    return {path: Coherence(path, fields) for path, fields in load(release).fields.items()}


def _primitives(model: Model) -> Iterator[CoreSchema]:
    names = {field.type for fields in model.fields.values() for field in fields.values() if field.primitive}
    for name in sorted(names):
        yield {**primitive(name), "ref": name}
    yield {**reference_literal(model.resources), "ref": _LITERAL}


def _value_sets(model: Model) -> Iterator[CoreSchema]:
    for url, codes in model.values.items():
        yield core_schema.literal_schema(list(codes), ref=url)


def _objects(release: str, *, fail_fast: bool) -> Iterator[CoreSchema]:
    model = load(release)
    made: dict[int, Properties] = {}
    for path, fields in model.fields.items():
        properties: Properties = {}
        for field in fields.values():
            # Paths share their fields: three quarters of all properties are those of another path as well.
            if (known := made.get(id(field))) is None:
                known = made[id(field)] = _properties(field, model, fail_fast=fail_fast)
            properties |= known
        if path == _REFERENCE:
            properties["reference"] = core_schema.typed_dict_field(_ref(_LITERAL), required=False)
        if path in model.resources:
            properties["resourceType"] = core_schema.typed_dict_field(core_schema.literal_schema([path]))
        rules = coherence(release)[path]
        if rules.needed:
            schema = core_schema.typed_dict_schema(properties, extra_behavior="forbid", strict=True)
            yield core_schema.no_info_after_validator_function(rules.tripwire, schema, ref=path)
        else:
            yield core_schema.typed_dict_schema(properties, extra_behavior="forbid", strict=True, ref=path)


def _properties(field: Field, model: Model, *, fail_fast: bool) -> Properties:
    """What a field is in JSON: itself, and `_x` beside a primitive."""
    sibling = field.primitive and has_sibling(field)
    # A required primitive may have its value in `_x` alone, and one of a choice may be any of the group.
    required = field.required and not sibling and field.group is None
    content = _occurrences(_ref(_content(field, model)), field, fail_fast=fail_fast)
    found = {field.name: core_schema.typed_dict_field(content, required=required)}
    if sibling:
        element = _occurrences(_ref(ELEMENT), field, fail_fast=fail_fast)
        found[f"_{field.name}"] = core_schema.typed_dict_field(element, required=False)
    return found


def _occurrences(schema: CoreSchema, field: Field, *, fail_fast: bool) -> CoreSchema:
    if not field.many:
        return schema
    items = core_schema.nullable_schema(schema) if field.primitive else schema
    return core_schema.list_schema(items, min_length=1, strict=True, fail_fast=fail_fast)


def _content(field: Field, model: Model) -> str:
    return str(field.binding) if field.type == "code" and field.binding in model.values else field.type


@functools.cache
def _ref(name: str) -> CoreSchema:
    return core_schema.definition_reference_schema(name)
