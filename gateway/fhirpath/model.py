"""What the FHIR model says about element names and types, from HL7's definitions of each release.

A type is named as in FHIR (`HumanName`, `code`), a backbone element by its path (`Observation.component`). A release
is read when it is first asked for; a process that judges R4 alone never reads another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from gateway.fhir.model import files
from gateway.fhir.model.files import ElementRow

RELEASES: Final = ("R4", "R4B", "R5")
_CHOICE: Final = "[x]"
_SYSTEM_TYPES: Final = frozenset(
    {"Any", "Boolean", "String", "Integer", "Long", "Decimal", "Date", "DateTime", "Time", "Quantity"}
)
# The definitions name these System types; each says in an extension which FHIR type it stands for
# (http://hl7.org/fhir/extensions/StructureDefinition-structuredefinition-fhir-type.html).
_FHIR_TYPES: Final = {"System.Id": "id", "System.Uri": "uri", "System.String": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An element of a type: `key` in JSON by `type`; several for a choice element (`value` of Observation).

    `many`: it may repeat. `required`: it is there at least once. `binding`: the URL of its required value set.
    """

    keys: tuple[tuple[str, str], ...]
    many: bool = False
    required: bool = False
    binding: str | None = None

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(type_name for _, type_name in self.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The elements of one release. `members` is filled as types are asked for."""

    release: str
    rows: Mapping[str, Mapping[str, ElementRow]]
    parents: Mapping[str, str]
    resources: frozenset[str]
    primitives: frozenset[str]
    types: frozenset[str]
    values: Mapping[str, tuple[str, ...]]
    _members: dict[tuple[str, str], Member] = field(default_factory=dict)
    _choices: dict[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)

    def member(self, type_name: str, name: str) -> Member | None:
        """The element `name` of a type, or None when the type has no such element."""
        found = self._members.get((type_name, name))
        if found is None:
            found = self._find(type_name, name)
            if found is not None:  # hits are bounded by the model, misses by nothing: they may be the payload's keys
                self._members[(type_name, name)] = found
        return found

    def _find(self, type_name: str, name: str) -> Member | None:
        owner: str | None = type_name
        while owner:
            rows = self.rows.get(owner, {})
            if name in rows and not name.endswith(_CHOICE):
                return _member(((name, self._type(owner, name, rows[name])),), rows[name])
            choice = rows.get(f"{name}{_CHOICE}")
            if choice is not None:
                return _member(tuple((f"{name}{_capital(each)}", each) for each in choice["types"]), choice)
            owner = self.parent(owner)
        return None

    def _type(self, owner: str, name: str, row: ElementRow) -> str:
        if "content" in row:
            return row["content"]
        path = f"{owner}.{name}"
        return path if path in self.rows else _FHIR_TYPES.get(row["types"][0], row["types"][0])

    def choice_of(self, type_name: str, key: str) -> tuple[str, str] | None:
        """For `valueQuantity`: (`value`, `Quantity`), when the type has that choice."""
        found = self._choices.get(type_name)
        if found is None:
            found = {
                f"{name.removesuffix(_CHOICE)}{_capital(each)}": (name.removesuffix(_CHOICE), each)
                for owner in self.line(type_name)
                for name, row in self.rows.get(owner, {}).items()
                if name.endswith(_CHOICE)
                for each in row["types"]
            }
            if type_name in self.types:
                self._choices[type_name] = found
        return found.get(key)

    def names(self, type_name: str) -> frozenset[str]:
        """Every element name of a type, inherited ones included: for hints."""
        return frozenset(
            name.removesuffix(_CHOICE) for owner in self.line(type_name) for name in self.rows.get(owner, ())
        )

    def codes(self, type_name: str, name: str) -> frozenset[str] | None:
        """The codes that the required binding of an element allows; None without one, or where it cannot be listed."""
        found = self.member(type_name, name)
        listed = self.values.get(found.binding) if found is not None and found.binding is not None else None
        return None if listed is None else frozenset(listed)

    def parent(self, type_name: str) -> str | None:
        """The type that this one specialises."""
        found = self.parents.get(type_name)
        return "BackboneElement" if found is None and "." in type_name and type_name in self.rows else found

    def line(self, type_name: str) -> tuple[str, ...]:
        """A type and all that it specialises, the nearest first."""
        line = [type_name]
        while (above := self.parent(line[-1])) is not None:
            line.append(above)
        return tuple(line)

    def is_a(self, type_name: str, other: str) -> bool:
        """Whether a FHIR type is another one, or specialises it."""
        return other in self.line(type_name)

    def knows(self, specifier: str) -> bool:
        """Whether a type specifier (`Quantity`, `FHIR.code`, `System.String`) names a type."""
        space, _, name = specifier.rpartition(".")
        if space == "System":
            return name in _SYSTEM_TYPES
        return space in ("", "FHIR") and (name in self.types or (not space and name in _SYSTEM_TYPES))


def _member(keys: tuple[tuple[str, str], ...], row: ElementRow) -> Member:
    return Member(
        keys=keys, many=row.get("max", "1") != "1", required=row.get("min", 0) > 0, binding=row.get("binding")
    )


def _capital(type_name: str) -> str:
    return type_name[0].upper() + type_name[1:]


@cache
def load(release: str) -> Model:
    """The elements of `R4`, `R4B` or `R5`. Raises FileNotFoundError for another release."""
    content = files.elements(release)
    rows = {**content["paths"], **content["abstract"]}
    return Model(
        release=release,
        rows=rows,
        parents=content["parents"],
        resources=frozenset(content["resources"]),
        primitives=frozenset(content["primitives"]),
        types=frozenset((*content["parents"], *content["parents"].values(), *rows)),
        values={url: tuple(codes) for url, codes in content["values"].items()},
    )
