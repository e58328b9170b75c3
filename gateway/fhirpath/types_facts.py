"""What the static pass knows of a value: its possible types, how many there are, and where they come from."""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeAlias

from gateway.fhirpath.model import Model

ANY: Final = frozenset(
    {
        *("", "Base", "Element", "Resource", "DomainResource", "CanonicalResource", "MetadataResource"),
        *("BackboneElement", "BackboneType", "DataType", "PrimitiveType", "Type"),
    }
)
# Types whose elements are those of whatever resource stands there.
OPEN: Final = frozenset({"Resource", "DomainResource", "CanonicalResource", "MetadataResource"})
_TEMPORAL: Final = ("date", "dateTime", "instant", "time", "System.Date", "System.DateTime", "System.Time")
_QUANTITIES: Final = ("Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity")
_NUMBERS: Final = ("integer", "integer64", "decimal", "positiveInt", "unsignedInt")
_FAMILIES: Final = {
    **dict.fromkeys(("boolean", "System.Boolean"), "boolean"),
    **dict.fromkeys((*_NUMBERS, "System.Integer", "System.Long", "System.Decimal"), "number"),
    **dict.fromkeys(_TEMPORAL, "date or time"),
    **dict.fromkeys((*_QUANTITIES, "System.Quantity"), "quantity"),
    "System.String": "string",
}
# http://hl7.org/fhir/R4/fhirpath.html#types: what a primitive of FHIR becomes when a function makes a value of it.
_SYSTEM: Final = {
    "boolean": "Boolean",
    **dict.fromkeys(("integer", "positiveInt", "unsignedInt"), "Integer"),
    "integer64": "Long",
    "decimal": "Decimal",
    "date": "Date",
    **dict.fromkeys(("dateTime", "instant"), "DateTime"),
    "time": "Time",
    **dict.fromkeys(_QUANTITIES, "Quantity"),
}
_FEW: Final = 3  # types that a message names one by one


class Kind(NamedTuple):
    """One possible type. `owner` and `name` say which element it is, for its binding; empty for other values.

    `coded`: the owner and name of the CodeableConcept or Coding around it whose codes are bound (`clinicalStatus`).
    """

    type: str
    owner: str = ""
    name: str = ""
    coded: tuple[str, str] | None = None


# None: not known. The empty set: there is never a value.
Kinds: TypeAlias = frozenset[Kind] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Static:
    """The static type of an expression.

    `least`: how many items there are at the least, if the input is as the element model says. `many`: whether there
    may be more than one. `ordered`: whether the items have an order. `why`: why the kinds are not known.
    """

    kinds: Kinds
    least: int = 0
    many: bool = False
    ordered: bool = True
    why: str = ""

    @property
    def cardinality(self) -> str:
        """`1..1`, `0..1`, `0..*`, as FHIR writes it."""
        return f"{self.least}..{'*' if self.many else min(1, 0 if self.kinds == frozenset() else 1)}"

    @property
    def optional(self) -> "Static":
        """The same, or nothing."""
        return replace(self, least=0)

    @property
    def item(self) -> "Static":
        """One of the items: what `$this` is."""
        return replace(self, least=1, many=False, ordered=True)

    def __str__(self) -> str:
        if self.kinds is None:
            return f"anything {self.cardinality} ({self.why or 'not known before it is evaluated'})"
        if not self.kinds:
            return "always empty"
        return f"{' | '.join(sorted({kind.type for kind in self.kinds}))} {self.cardinality}"


NOTHING: Final = Static(kinds=frozenset())


def one(type_name: str) -> Static:
    """Exactly one value of a type."""
    return Static(kinds=frozenset({Kind(type_name)}), least=1)


def unknown(why: str, *, many: bool = True) -> Static:
    """A value of which nothing is known, and why."""
    return Static(kinds=None, many=many, why=why)


def merged(parts: list[Static]) -> Kinds:
    """The kinds of a value that comes from any of the parts."""
    if any(part.kinds is None for part in parts):
        return None
    return frozenset().union(*(part.kinds for part in parts if part.kinds is not None))


def family(kind: Kind, model: Model) -> str | None:
    """Values of different families are never equal. None: not known."""
    if kind.type in ANY:
        return None
    return _FAMILIES.get(kind.type, "string" if kind.type in model.primitives else "element")


def families(kinds: Kinds, model: Model) -> frozenset[str] | None:
    """The families of all kinds; None where any of them is not known."""
    found = {family(kind, model) for kind in kinds} if kinds is not None else {None}
    return None if None in found else frozenset(each for each in found if each is not None)


def system(kinds: Kinds, model: Model) -> Kinds:
    """The System types that values of these kinds become; None where one becomes none."""
    if kinds is None or any(kind.type in ANY for kind in kinds):
        return None
    names = {kind.type if kind.type.startswith("System.") else f"System.{_system(kind, model)}" for kind in kinds}
    return None if "System." in names else frozenset(map(Kind, names))


def _system(kind: Kind, model: Model) -> str:
    return _SYSTEM.get(kind.type, "String" if kind.type in model.primitives else "")


def is_boolean(kind: Kind) -> bool:
    """Whether a criterion may be of this type."""
    return kind.type in ("boolean", "System.Boolean") or kind.type in ANY


def shown(kinds: frozenset[Kind]) -> str:
    """`a code`, `an Address`, `a Period or instant`: for messages."""
    names = sorted({kind.type.removeprefix("System.") for kind in kinds})
    text = " or ".join(names) if len(names) <= _FEW else f"{names[0]} or one of {len(names) - 1} other types"
    return f"{'an' if text[:1] in 'AEIOUaeiou' else 'a'} {text}"
