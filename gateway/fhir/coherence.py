"""What a type schema cannot say about one object: one choice element, `_x` beside its `x`, nothing empty.

The same rules run twice: as a tripwire inside of the compiled check, where the first violation ends it, and on
refused payloads to name every violation (http://hl7.org/fhir/R4/json.html).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from gateway.errors import IssueCode
from gateway.fhir.json import Json, JsonObject
from gateway.fhir.model import Field

INCOHERENT = "incoherent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with one property of an object (`at` is its name, without `[x]` or underscore)."""

    at: str
    code: IssueCode
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The names, with and without underscore, of one choice element."""

    group: str
    names: frozenset[str]
    required: bool


class Coherence:
    """The rules of one path."""

    def __init__(self, path: str, fields: Mapping[str, Field]) -> None:
        groups: dict[str, list[Field]] = {}
        for field in fields.values():
            if field.group is not None:
                groups.setdefault(field.group, []).append(field)
        self._choices = tuple(
            Choice(
                group=group,
                names=frozenset(name for field in members for name in (field.name, f"_{field.name}")),
                required=members[0].required,
            )
            for group, members in groups.items()
        )
        plain = [field for field in fields.values() if field.group is None and field.primitive]
        self._required = tuple(field.name for field in plain if field.required and has_sibling(field))
        self._lists = tuple((field.name, f"_{field.name}") for field in plain if field.many)
        self._extension = path == "Extension"

    @property
    def needed(self) -> bool:
        """Whether there is anything to check."""
        return bool(self._choices or self._required or self._lists)

    def tripwire(self, node: JsonObject) -> JsonObject:
        """Returns the object; raises PydanticCustomError of type `incoherent` when there is a fault."""
        for choice in self._choices:
            count = len(choice.names.intersection(node))
            if count > 1 or (count == 0 and choice.required):
                self._raise_on_fault(node)
        for name in self._required:
            if name not in node:
                self._raise_on_fault(node)
        for name, sibling in self._lists:
            if sibling in node or (name in node and None in node[name]):  # type: ignore[operator]
                self._raise_on_fault(node)
        if self._extension and ("extension" in node) == any(name.lstrip("_").startswith("value") for name in node):
            self._raise_on_fault(node)
        return node

    def _raise_on_fault(self, node: JsonObject) -> None:
        if next(self.faults(node), None) is not None:
            raise PydanticCustomError(INCOHERENT, "incoherent")

    def faults(self, node: JsonObject) -> Iterator[Fault]:
        """Every fault of one object."""
        for choice in self._choices:
            yield from _choice_faults(choice, node)
        for name in self._required:
            if name not in node and f"_{name}" not in node:
                yield Fault(at=name, code=IssueCode.REQUIRED, text="A required element is missing.")
        for name, sibling in self._lists:
            yield from _list_faults(name, node.get(name), node.get(sibling))
        if self._extension and ("extension" in node) == any(name.lstrip("_").startswith("value") for name in node):
            yield Fault(
                at="value[x]", code=IssueCode.INVARIANT, text="An extension has either a value or extensions (ext-1)."
            )


def has_sibling(field: Field) -> bool:
    """Whether a primitive can carry extensions in `_x`; ids and `Extension.url` are plain strings."""
    return not field.type.startswith("System.")


def _choice_faults(choice: Choice, node: JsonObject) -> Iterator[Fault]:
    present = sorted({name.removeprefix("_") for name in choice.names.intersection(node)})
    if len(present) > 1:
        text = f"Only one of {', '.join(present)} may be there."
        yield Fault(at=present[1], code=IssueCode.STRUCTURE, text=text)
    elif not present and choice.required:
        yield Fault(at=f"{choice.group}[x]", code=IssueCode.REQUIRED, text="A required element is missing.")


def _list_faults(name: str, values: Json, siblings: Json) -> Iterator[Fault]:
    """`x` and `_x` run side by side, with null where only the other one has something."""
    if not isinstance(values, list | None) or not isinstance(siblings, list | None):
        return  # the type schema says so
    if values is not None and siblings is not None and len(values) != len(siblings):
        yield Fault(at=name, code=IssueCode.STRUCTURE, text=f"{name} and _{name} must have the same number of entries.")
        return
    length = len(values or siblings or [])
    for index in range(length):
        if (values is None or values[index] is None) and (siblings is None or siblings[index] is None):
            yield Fault(at=f"{name}[{index}]", code=IssueCode.STRUCTURE, text="An entry is null in both arrays.")
