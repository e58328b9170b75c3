"""FHIR's element model as CEL sees it: protobuf descriptors for the type checker, cardinalities for the rewrite.

One message per path of the model (`fhir.Observation`, `fhir.Observation_component`), one field per JSON property,
with `resourceType` on resources and `_x` beside every primitive `x`
(http://hl7.org/fhir/R4/json.html#primitive). `Resource`-typed elements (`contained`, `Bundle.entry.resource`) are a
`google.protobuf.Struct`: any JSON object. Nothing is ever parsed into these messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2, timestamp_pb2  # type: ignore[import-untyped]

from gateway.fhir import model as fhir_model

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "boolean": _FIELD.TYPE_BOOL,
    "integer": _FIELD.TYPE_INT64,
    "positiveInt": _FIELD.TYPE_INT64,
    "unsignedInt": _FIELD.TYPE_INT64,
    "decimal": _FIELD.TYPE_DOUBLE,
}
_TEXT: Final = _FIELD.TYPE_STRING
CLIENT: Final = "gateway.Client"
REQUEST: Final = "gateway.Request"
_STRUCT: Final = ".google.protobuf.Struct"
_TIMESTAMP: Final = ".google.protobuf.Timestamp"
_FILES: Final = (struct_pb2.DESCRIPTOR, timestamp_pb2.DESCRIPTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One field of a message. `message` names its type when that is not a scalar; `codes` its required binding."""

    kind: int
    message: str | None = None
    many: bool = False
    required: bool = False
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Types:
    """All messages of a release by full name, and the descriptor pool that CEL checks against."""

    messages: Mapping[str, Mapping[str, Property]]
    resources: frozenset[str]
    pool: Any = field(repr=False, compare=False)

    def find(self, message: str, name: str) -> Property | None:
        """The property of a message, or None where the message does not have it."""
        return self.messages.get(message, {}).get(name)

    def repeats(self, message: str, name: str) -> bool:
        """Whether the element is a JSON array."""
        found = self.find(message, name)
        return found is not None and found.many

    def is_timestamp(self, message: str, name: str) -> bool:
        """Whether the element is a string in JSON and a timestamp in CEL (`request.time`)."""
        found = self.find(message, name)
        return found is not None and found.message == _TIMESTAMP


def message_name(path: str) -> str:
    """The full message name of a model path: `Observation.component` -> `fhir.Observation_component`."""
    return "fhir." + path.replace(".", "_")


def element_path(message: str) -> str:
    """The model path of a full message name, for messages to people."""
    return message.removeprefix("fhir.").removeprefix("gateway.").replace("_", ".")


@cache
def load(release: str) -> Types:
    """The types of a release; raises ValueError for one that is not shipped."""
    model = fhir_model.load(release)
    messages = {message_name(path): MappingProxyType(_properties(model, path)) for path in model.fields}
    text = Property(kind=_TEXT)
    messages[CLIENT] = MappingProxyType({"id": text, "issuer": text, "scopes": Property(kind=_TEXT, many=True)})
    time = Property(kind=_FIELD.TYPE_MESSAGE, message=_TIMESTAMP, required=True)
    messages[REQUEST] = MappingProxyType({"interaction": text, "type": text, "id": text, "time": time})
    return Types(messages=MappingProxyType(messages), resources=model.resources, pool=_pool(messages))


def _properties(model: fhir_model.Model, path: str) -> dict[str, Property]:
    found = {}
    if path in model.resources:
        found["resourceType"] = Property(kind=_TEXT, required=True, codes=(path,))
    for name, element in model.fields[path].items():
        required = element.required and element.group is None
        if element.primitive:
            found[name] = Property(
                kind=_SCALARS.get(element.type, _TEXT),
                many=element.many,
                required=required,
                codes=model.values.get(element.binding or "", ()),
            )
            found[f"_{name}"] = Property(kind=_FIELD.TYPE_MESSAGE, message=".fhir.Element", many=element.many)
            continue
        message = "." + message_name(element.type)
        if element.type == fhir_model.RESOURCE:
            message = _STRUCT
        found[name] = Property(kind=_FIELD.TYPE_MESSAGE, message=message, many=element.many, required=required)
    return found


def _pool(messages: Mapping[str, Mapping[str, Property]]) -> Any:
    pool = descriptor_pool.DescriptorPool()
    for known in _FILES:
        copy = descriptor_pb2.FileDescriptorProto()
        known.CopyToProto(copy)
        pool.Add(copy)
    for package in ("fhir", "gateway"):
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        file.dependency.extend(known.name for known in _FILES)
        for full_name, properties in messages.items():
            if full_name.startswith(package):
                _describe(file.message_type.add(name=full_name.removeprefix(f"{package}.")), properties)
        pool.Add(file)
    return pool


def _describe(message: Any, properties: Mapping[str, Property]) -> None:
    for number, (name, found) in enumerate(properties.items(), start=1):
        made = message.field.add(name=name, number=number, type=found.kind)
        made.label = _FIELD.LABEL_REPEATED if found.many else _FIELD.LABEL_OPTIONAL
        if found.message is not None:
            made.type_name = found.message
