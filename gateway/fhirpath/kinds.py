"""What the static check knows of a value: its possible types, and where they came from."""

from functools import cache
from typing import Final, NamedTuple, TypeAlias

from gateway.fhir import model as fhir_model
from gateway.fhirpath.model import Model
from gateway.fhirpath.values import QUANTITY_TYPES, TEMPORAL_TYPES


class Kind(NamedTuple):
    """One possible type. `owner` and `name` say which element it is, for its binding; empty for other values."""

    type: str
    owner: str = ""
    name: str = ""


# None: nothing is known. The empty set: the value is always empty.
Kinds: TypeAlias = frozenset[Kind] | None

BOOLEAN: Final = frozenset({Kind("System.Boolean")})
INTEGER: Final = frozenset({Kind("System.Integer")})
STRING: Final = frozenset({Kind("System.String")})
DECIMAL: Final = frozenset({Kind("System.Decimal")})

# Functions that give back items of their input.
SAME: Final = frozenset(
    {"where", "first", "last", "tail", "skip", "take", "single", "distinct", "trace", "exclude", "intersect"}
)
# Functions whose result has one type, whatever the input.
RESULTS: Final = {
    **dict.fromkeys(("exists", "empty", "not", "all", "allTrue", "anyTrue", "allFalse", "anyFalse"), BOOLEAN),
    **dict.fromkeys(("startsWith", "endsWith", "contains", "matches", "matchesFull", "hasValue"), BOOLEAN),
    **dict.fromkeys(("isDistinct", "subsetOf", "supersetOf", "is", "toBoolean"), BOOLEAN),
    **dict.fromkeys(
        [
            f"convertsTo{name}"
            for name in ("Boolean", "Integer", "Decimal", "String", "Date", "DateTime", "Time", "Quantity")
        ],
        BOOLEAN,
    ),
    **dict.fromkeys(("count", "length", "indexOf", "toInteger"), INTEGER),
    **dict.fromkeys(("toString", "upper", "lower", "trim", "replace", "replaceMatches", "substring"), STRING),
    **dict.fromkeys(("join", "split", "toChars", "encode", "decode"), STRING),
    "toDecimal": DECIMAL,
    "toDate": frozenset({Kind("System.Date")}),
    "today": frozenset({Kind("System.Date")}),
    "toDateTime": frozenset({Kind("System.DateTime")}),
    "now": frozenset({Kind("System.DateTime")}),
    "toTime": frozenset({Kind("System.Time")}),
    "timeOfDay": frozenset({Kind("System.Time")}),
    "toQuantity": frozenset({Kind("System.Quantity")}),
    "extension": frozenset({Kind("Extension")}),
}

# Functions that read their input as a value of some families.
_TEXT: Final = frozenset({"string", "date or time"})
NEEDS: Final = {
    **dict.fromkeys(("startsWith", "endsWith", "contains", "matches", "matchesFull", "indexOf", "substring"), _TEXT),
    **dict.fromkeys(("upper", "lower", "trim", "replace", "replaceMatches", "split", "toChars", "length"), _TEXT),
    **dict.fromkeys(("encode", "decode", "join"), _TEXT),
    **dict.fromkeys(("not", "allTrue", "anyTrue", "allFalse", "anyFalse"), frozenset({"boolean"})),
    **dict.fromkeys(("abs", "ceiling", "floor", "truncate", "round", "exp", "ln", "log"), frozenset({"number"})),
    **dict.fromkeys(("power", "sqrt", "sum"), frozenset({"number"})),
}
_ANY: Final = frozenset({"", "Resource", "DomainResource", "Element", "BackboneElement", "Type"})
_FAMILIES: Final = {
    **dict.fromkeys(("boolean", "System.Boolean"), "boolean"),
    **dict.fromkeys(("integer", "decimal", "positiveInt", "unsignedInt", "System.Integer", "System.Decimal"), "number"),
    **dict.fromkeys((*TEMPORAL_TYPES, "System.Date", "System.DateTime", "System.Time"), "date or time"),
    **dict.fromkeys((*QUANTITY_TYPES, "System.Quantity"), "quantity"),
    "System.String": "string",
}


def family(kind: Kind, model: Model) -> str | None:
    """Values of different families are never equal. None: not known."""
    if kind.type in _ANY:
        return None
    is_primitive = kind.type[0].islower() and kind.type in model.parents
    return _FAMILIES.get(kind.type, "string" if is_primitive else "element")


def is_boolean(kind: Kind) -> bool:
    """Whether a criterion may be of this type."""
    return kind.type in ("boolean", "System.Boolean", *_ANY)


@cache
def codes(release: str, owner: str, name: str) -> frozenset[str] | None:
    """The codes that the required binding of an element allows; None without one, or where the model has none."""
    if release not in fhir_model.RELEASES:
        return None
    model = fhir_model.load(release)
    field = model.fields.get(owner, {}).get(name)
    found = model.values.get(field.binding) if field is not None and field.binding is not None else None
    return None if found is None else frozenset(found)
