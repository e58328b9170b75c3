"""FHIR's element model as CEL sees it: protobuf descriptors for the type checker, cardinalities for the rewrite.

One message per path of the model (`fhir.Observation`, `fhir.Observation_component`), one field per JSON property,
with `resourceType` on resources and `_x` beside every primitive `x`
(http://hl7.org/fhir/R4/json.html#primitive). `Resource`-typed elements (`contained`, `Bundle.entry.resource`) are a
`google.protobuf.Struct`: any JSON object. Nothing is ever parsed into these messages.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True, slots=True)
class Types:
    """The element model of a release under CEL's names. A property is made when it is asked for, and not kept."""

    model: fhir_model.Model = field(repr=False)

    def names(self, message: str) -> tuple[str, ...]:
        """The fields of a message, `_x` aside; none where there is no such message."""
        path = element_path(message)
        own = ("resourceType",) if path in self.model.resources else ()
        return (*_OWN.get(message, ()), *own, *self.model.fields.get(path, ()))

    def find(self, message: str, name: str) -> Property | None:
        """The property of a message, or None where the message does not have it."""
        if message in _OWN:
            return _OWN[message].get(name)
        path = element_path(message)
        elements = self.model.fields.get(path, {})
        if name in elements:
            return _property(self.model, elements[name])
        if name == "resourceType" and path in self.model.resources:
            return Property(kind=_TEXT, required=True, codes=(path,))
        beside = elements.get(name[1:]) if name.startswith("_") else None
        if beside is None or not beside.primitive:
            return None
        return Property(kind=_FIELD.TYPE_MESSAGE, message=".fhir.Element", many=beside.many)

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


def load(release: str) -> Types:
    """The types of a release; raises ValueError for one that is not shipped."""
    return Types(fhir_model.load(release))


def _property(model: fhir_model.Model, element: fhir_model.Field) -> Property:
    required = element.required and element.group is None
    if element.primitive:
        return Property(
            kind=_SCALARS.get(element.type, _TEXT),
            many=element.many,
            required=required,
            codes=model.values.get(element.binding or "", ()),
        )
    message = _STRUCT if element.type == fhir_model.RESOURCE else "." + message_name(element.type)
    return Property(kind=_FIELD.TYPE_MESSAGE, message=message, many=element.many, required=required)


@dataclass(slots=True)
class Excerpts:
    """What one text can see of the element model: the fields that its words name, and the messages these lead to.

    A type checker asks for nothing else, so that it finds the same in some ten messages as in all 675 of R4, in a
    fiftieth of the time and memory. `words` are all the words of the text, its strings and comments included.
    """

    types: Types
    words: frozenset[str]
    _fields: dict[str, Mapping[str, Property]] = field(default_factory=dict)

    def of(self, roots: Iterable[str]) -> "Excerpt":
        """The excerpt that is reached from some messages."""
        found: dict[str, Mapping[str, Property]] = {}
        ahead = list(roots)
        # Types that the text names itself: they are there, so that a rule which makes one is told that it cannot.
        if "fhir" in self.words:
            ahead += (f"fhir.{word}" for word in self.words if self.types.names(f"fhir.{word}"))
        while ahead:
            message = ahead.pop()
            if message not in found:
                found[message] = self._of_message(message)
                ahead += (each.message[1:] for each in found[message].values() if each.message is not None)
        return Excerpt(found)

    def _of_message(self, message: str) -> Mapping[str, Property]:
        if message not in self._fields:
            properties = ((word, self.types.find(message, word)) for word in self.words)
            self._fields[message] = {word: found for word, found in properties if found is not None}
        return self._fields[message]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some messages by full name, with some of their fields."""

    messages: Mapping[str, Mapping[str, Property]]

    def shape(self, resource: str) -> Hashable:
        """Equal for two resource types exactly when the excerpts differ in nothing but the type's own name."""
        own = message_name(resource)

        def neutral(name: str) -> str:
            return name[len(own) :] if name == own or name.startswith(f"{own}_") else name

        return frozenset(
            (
                neutral(message),
                frozenset((name, replace(found, message=neutral((found.message or "")[1:]))) for name, found in fields),
            )
            for message, fields in ((message, fields.items()) for message, fields in self.messages.items())
        )

    def pool(self) -> Any:
        """The descriptor pool that CEL checks against."""
        pool = descriptor_pool.DescriptorPool()
        for known in _FILES:
            pool.AddSerializedFile(known.serialized_pb)
        for package in ("fhir", "gateway"):
            file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
            file.dependency.extend(known.name for known in _FILES)
            for message, properties in self.messages.items():
                if message.startswith(f"{package}."):
                    _describe(file.message_type.add(name=message.removeprefix(f"{package}.")), properties)
            pool.Add(file)
        return pool


def _describe(message: Any, properties: Mapping[str, Property]) -> None:
    for number, (name, found) in enumerate(properties.items(), start=1):
        made = message.field.add(name=name, number=number, type=found.kind)
        made.label = _FIELD.LABEL_REPEATED if found.many else _FIELD.LABEL_OPTIONAL
        if found.message is not None:
            made.type_name = found.message


_PLAIN: Final = Property(kind=_TEXT, required=True)
# `request.id` is absent before a create; the rest is always there.
_OWN: Final[Mapping[str, Mapping[str, Property]]] = {
    CLIENT: {"id": _PLAIN, "issuer": _PLAIN, "scopes": Property(kind=_TEXT, many=True)},
    REQUEST: {
        "interaction": _PLAIN,
        "type": _PLAIN,
        "id": Property(kind=_TEXT),
        "time": Property(kind=_FIELD.TYPE_MESSAGE, message=_TIMESTAMP, required=True),
    },
}
