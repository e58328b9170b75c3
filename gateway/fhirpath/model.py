"""What the FHIR model says about element names and types, from the tables that fhirpathpy carries.

A type is named as in FHIR (`HumanName`, `code`), a backbone element by its path (`Observation.component`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Final

from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.values import Element, Item, Quantity, is_number, plain

RELEASES: Final = {"R4": "r4", "R4B": "r4", "R5": "r5"}
_TABLES: Final = ("path2Type", "choiceTypePaths", "pathsDefinedElsewhere", "type2Parent")
_SYSTEM_TYPES: Final = frozenset(
    {"Any", "Boolean", "String", "Integer", "Long", "Decimal", "Date", "DateTime", "Time", "Quantity"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An element of a type: `key` in JSON by `type`; several for a choice element (`value` of Observation)."""

    keys: tuple[tuple[str, str], ...]

    @property
    def types(self) -> tuple[str, ...]:
        return tuple(type_name for _, type_name in self.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The element tables of one release. `members` is filled as types are asked for."""

    path_types: Mapping[str, str]
    choices: Mapping[str, tuple[str, ...]]
    elsewhere: Mapping[str, str]
    parents: Mapping[str, str]
    backbones: frozenset[str]
    types: frozenset[str]
    _members: dict[tuple[str, str], Member] = field(default_factory=dict)
    _found_choices: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

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
            path = f"{owner}.{name}"
            path = self.elsewhere.get(path, path)
            if path in self.choices:
                return Member(
                    keys=tuple((name + suffix, self.path_types[path + suffix]) for suffix in self.choices[path])
                )
            if path in self.path_types and not self._is_choice_key(owner, name):
                return Member(keys=((name, self.path_types[path]),))
            if path in self.backbones:
                return Member(keys=((name, path),))
            owner = self.parent(owner)
        return None

    def choice_of(self, type_name: str, key: str) -> tuple[str, str] | None:
        """For `valueQuantity`: (`value`, `Quantity`), when the type has that choice."""
        found = self._found_choices.get((type_name, key))
        if found is None:
            found = self._find_choice(type_name, key)
            if found is not None:
                self._found_choices[(type_name, key)] = found
        return found

    def _find_choice(self, type_name: str, key: str) -> tuple[str, str] | None:
        for owner in self._line(type_name):
            for end in range(len(key) - 1, 0, -1):
                path = f"{owner}.{key[:end]}"
                if key[end].isupper() and key[end:] in self.choices.get(path, ()):
                    return key[:end], self.path_types[path + key[end:]]
        return None

    def _is_choice_key(self, owner: str, name: str) -> bool:
        return self.choice_of(owner, name) is not None

    def names(self, type_name: str) -> frozenset[str]:
        """Every element name of a type, inherited ones included: for hints."""
        found: set[str] = set()
        for owner in self._line(type_name):
            prefix = f"{owner}."
            for table in (self.path_types, self.choices, self.backbones, self.elsewhere):
                found.update(
                    path[len(prefix) :] for path in table if path.startswith(prefix) and "." not in path[len(prefix) :]
                )
        return frozenset(name for name in found if self.choice_of(type_name, name) is None)

    def parent(self, type_name: str) -> str | None:
        """The type that this one specialises."""
        if type_name in self.backbones:
            return "BackboneElement"
        return self.parents.get(type_name)

    def _line(self, type_name: str) -> tuple[str, ...]:
        line = [type_name]
        while (above := self.parent(line[-1])) is not None:
            line.append(above)
        return tuple(line)

    def is_a(self, type_name: str, other: str) -> bool:
        """Whether a FHIR type is another one, or specialises it."""
        return other in self._line(type_name)

    def knows(self, specifier: str) -> bool:
        """Whether a type specifier (`Quantity`, `FHIR.code`, `System.String`) names a type."""
        space, _, name = specifier.rpartition(".")
        if space == "System":
            return name in _SYSTEM_TYPES
        return space in ("", "FHIR") and (name in self.types or (not space and name in _SYSTEM_TYPES))

    def item_is(self, item: Item, specifier: str) -> bool:
        """`item is specifier` (https://hl7.org/fhirpath/N1/#is-type-specifier)."""
        wanted_space, _, wanted = specifier.rpartition(".")
        space, name = self.type_of(item)
        if wanted_space and wanted_space != space:
            return False
        return self.is_a(name, wanted) if space == "FHIR" else name == wanted

    def type_of(self, item: Item) -> tuple[str, str]:
        """Namespace and name of an item's type. What came from plain JSON has a System type, or `Object`."""
        if isinstance(item, Element) and item.type:
            space, _, name = item.type.rpartition(".")
            return ("System", name) if space == "System" else ("FHIR", item.type)
        value = plain(item)
        if isinstance(value, Temporal):
            return "System", value.kind
        if isinstance(value, bool):
            return "System", "Boolean"
        if is_number(value):
            return "System", "Integer" if isinstance(value, int) else "Decimal"
        if isinstance(value, str):
            return "System", "String"
        return "System", "Quantity" if isinstance(value, Quantity) else "Object"


@cache
def load(release: str) -> Model:
    """The tables of `R4`, `R4B` or `R5`. Raises KeyError for another release."""
    # The files, and not `fhirpathpy.models`, which would read four releases into every process.
    folder = files("fhirpathpy").joinpath("models", RELEASES[release])
    tables = {name: json.loads(folder.joinpath(f"{name}.json").read_text(encoding="utf-8")) for name in _TABLES}
    path_types: dict[str, str] = tables["path2Type"]
    choices = {path: tuple(suffixes) for path, suffixes in tables["choiceTypePaths"].items()}
    parents: dict[str, str] = tables["type2Parent"]
    backbones = {
        path.rpartition(".")[0] for table in (path_types, choices, tables["pathsDefinedElsewhere"]) for path in table
    }
    backbones = {path for path in backbones if "." in path and path not in path_types}
    return Model(
        path_types=path_types,
        choices=choices,
        elsewhere=tables["pathsDefinedElsewhere"],
        parents=parents,
        backbones=frozenset(backbones),
        types=frozenset(parents) | frozenset(parents.values()) | backbones,
    )
