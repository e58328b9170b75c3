"""What a collection holds: places in the given JSON, and the values of the System types.

An `Element` only points into the JSON that was given; nothing here ever changes it. A collection is a list that
nobody changes either, once another part has seen it.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, TypeAlias

from gateway.fhirpath.model import Model
from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.tree import Long

TEMPORAL_TYPES: Final = frozenset({"date", "dateTime", "instant", "time"})
QUANTITY_TYPES: Final = frozenset(
    {"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity"}
)
_MOST_DIGITS: Final = 60  # of an amount that is computed with
UCUM: Final = "http://unitsofmeasure.org"
_COMPLEX: Final = (Mapping, list)
PLAIN: Final = frozenset({str, bool, int, float, Decimal})  # what has no children, if it has no extension
LISTS: Final = (list, tuple)  # `list | tuple` would be made anew each time that it is asked


# Units of work to read an item as a date, and to read one as an amount and bring it to its base units.
MOMENT_WORK, AMOUNT_WORK = 10, 50
_ANY: Final = frozenset({"", "Resource", "DomainResource", "CanonicalResource", "MetadataResource"})


class EvaluationError(Exception):
    """The expression has no value for this input. The message never holds a value of the payload."""


class BudgetExceeded(Exception):
    """The evaluation asked for more work than it was given."""


class Field:
    """An element of a type: its keys in JSON, each with its `_` sibling and type; several for a choice element.

    `first`: the first choice, unless what stands there says its type itself (`contained`). `simple`: that, when there
    is no other choice. `written`: every key.
    """

    __slots__ = ("choices", "first", "simple", "written")

    def __init__(self, choices: "tuple[tuple[str, str, Type], ...]") -> None:
        self.choices = choices
        self.written = frozenset(key for choice in choices for key in choice[:2])
        self.first = None if choices[0][2].is_any else choices[0]
        self.simple = self.first if len(choices) == 1 else None


class Fields(dict[str, "Field | None"]):
    """The elements of a type by name; what is asked for the first time is asked of the model."""

    __slots__ = ("_owner", "_types")

    def __init__(self, owner: str, types: "Types") -> None:
        super().__init__()
        self._owner = owner
        self._types = types

    def __missing__(self, name: str) -> Field | None:
        return self.setdefault(name, self._types.field(self._owner, name))


class Texts(dict[str, "tuple[str, str] | None"]):
    """Key in JSON and `_` sibling by the names in expressions, of those elements whose JSON string is a string there.

    None: there is no such element, or it is a choice, or what FHIR writes as a string is something else (a date).
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        self._fields = fields

    def __missing__(self, name: str) -> tuple[str, str] | None:
        field = self._fields[name]
        simple = None if field is None else field.simple
        return self.setdefault(name, None if simple is None or simple[2].read is not None else simple[:2])


class Type:
    """A FHIR type at work. The type named `` has no elements: plain JSON.

    `fields` and `texts`, by the names in expressions, and `keys` (what `at` found) are filled as they are asked for.
    """

    __slots__ = ("_types", "fields", "is_any", "is_primitive", "keys", "name", "read", "texts", "work")

    def __init__(self, name: str, types: "Types") -> None:
        self.name = name
        self.is_any = name in _ANY
        self.is_primitive = name[:1].islower() and name != "xhtml"
        self.read = _READERS.get(name)
        self.work = 0 if self.read is None else AMOUNT_WORK if name in QUANTITY_TYPES else MOMENT_WORK
        self.fields = Fields(name, types)
        self.texts = Texts(self.fields)
        self.keys: dict[str, Type] = {}
        self._types = types

    def at(self, key: str) -> "Type | None":
        """The type of what stands under a key in JSON; None for a key that the type has not."""
        found = self.keys.get(key)
        if found is None:
            model = self._types.model
            choice, member = model.choice_of(self.name, key), model.member(self.name, key)
            if choice is None and (member is None or member.keys[0][0] != key):
                return None  # never kept: it may be any key of the payload
            name = choice[1] if choice is not None else member.keys[0][1] if member is not None else ""
            found = self.keys.setdefault(key, self._types.of(name))
        return found


class Types:
    """The types of one release, each made once."""

    __slots__ = ("_made", "model", "plain")

    def __init__(self, model: Model) -> None:
        self.model = model
        self._made: dict[str, Type] = {}
        self.plain = self.of("")

    def of(self, name: str) -> Type:
        """The type of a name; a resource type or primitive that the model has not is as plain JSON."""
        found = self._made.get(name)
        if found is None:
            if name and "." not in name and name not in self.model.types:
                return self.plain
            found = self._made.setdefault(name, Type(name, self))
        return found

    def said_by(self, value: Mapping[str, object]) -> Type:
        """The type that a JSON object says it is of: a resource does, anything else is plain JSON."""
        said = value.get("resourceType")
        return self._made.get(said) or self.of(said) if type(said) is str else self.plain

    def field(self, owner: str, name: str) -> Field | None:
        """What the model says of an element."""
        member = self.model.member(owner, name) if owner else None
        if member is None:
            return None
        return Field(tuple((key, f"_{key}", self.of(type_name)) for key, type_name in member.keys))


class Element:
    """A place in the JSON: its value and its type.

    `extra` is the `_name` sibling of a primitive (http://hl7.org/fhir/R4/json.html#primitive): its id and
    extensions. `value` is None for a primitive that has extensions only.
    """

    __slots__ = ("extra", "type", "value")

    value: object
    type: Type
    extra: Mapping[str, object] | None


def element_at(value: object, type_: Type, extra: Mapping[str, object] | None = None) -> Element:
    """An element. The class has no `__init__`, which would take as long again: many elements are made."""
    made = Element()
    made.value = value
    made.type = type_
    made.extra = extra
    return made


Item: TypeAlias = Element | bool | int | Decimal | str | Temporal | Quantity
Collection: TypeAlias = list[Item]

TRUE: Final[Collection] = [True]
FALSE: Final[Collection] = [False]
NONE: Final[Collection] = []


def boolean(answer: bool | None) -> Collection:
    """The collection of a three-valued answer."""
    return NONE if answer is None else TRUE if answer else FALSE


def system(item: Item) -> object:
    """The System value of an item: dates and quantities read by their FHIR type; a complex element is its JSON."""
    if type(item) is not Element:
        return item
    value = item.value
    if item.type.read is not None:
        return item.type.read(value)
    # A float is what another JSON reader made of a decimal: its shortest text is what was written.
    return Decimal(repr(value)) if type(value) is float else value


def plain(item: Item) -> object:
    """As `system`, with dates and quantities of FHIR left as the JSON they are."""
    value = item.value if type(item) is Element else item
    return Decimal(repr(value)) if type(value) is float else value


def element(value: object, type_: Type, extra: object, types: Types) -> Element:
    """One place in the JSON; a resource, wherever it stands, has the type that it says."""
    if type_.is_any and (type(value) is dict or isinstance(value, Mapping)):
        said = value.get("resourceType")
        if isinstance(said, str):
            type_ = types.of(said)
    return element_at(value, type_, extra if extra is not None and isinstance(extra, Mapping) else None)


def lift(value: object, types: Types) -> Collection:
    """JSON from outside as a collection; a resource gets its type."""
    if type(value) is dict:
        return [element_at(value, types.said_by(value))]
    if type(value) is str:
        return [element_at(value, types.plain)]
    if value is None:
        return []
    if isinstance(value, LISTS):
        return [item for child in value for item in lift(child, types)]
    return [element(value, types.plain, None, types)]


def members(item: Item, name: str, types: Types) -> Collection:
    """The children of one item by name."""
    if type(item) is not Element:
        return NONE
    owner, value = item.type, item.value
    if type(value) is not dict and not isinstance(value, Mapping):
        if item.extra is None:
            return NONE
        value, owner = item.extra, types.of("Element")  # a primitive has no children but its id and extensions
    field = owner.fields[name]
    if field is None:
        return NONE if owner.name else untyped(value, name, types)
    if not field.written.isdisjoint(value):
        for key, sibling, type_ in field.choices:
            if key in value or sibling in value:
                return elements(value.get(key), value.get(sibling), type_, types)
    return NONE


def untyped(data: Mapping[str, object], name: str, types: Types) -> Collection:
    """The children of JSON of no known type."""
    if name in data:
        return lift(data[name], types)
    # A FHIR value whose type was lost on the way (`%let.x`): which of the choice elements is meant is not known.
    if any(key.startswith(name) and key[len(name)].isupper() for key in data if len(key) > len(name)):
        raise EvaluationError("a choice element is read on a value whose type is not known")
    return NONE


def elements(value: object, extra: object, type_: Type, types: Types) -> Collection:
    """The items of one key of JSON and its `_` sibling."""
    if extra is None and not type_.is_any:
        if type(value) is list:
            return [element_at(one, type_) for one in value]
        if type(value) is not tuple:
            return [] if value is None else [element_at(value, type_)]
    if not isinstance(value, LISTS) and not isinstance(extra, LISTS):
        return [] if value is None and extra is None else [element(value, type_, extra, types)]
    values = value if isinstance(value, LISTS) else ()
    extras = extra if isinstance(extra, LISTS) else ()
    if not extras:
        return [element(one, type_, None, types) for one in values]
    padded = [*values, *[None] * (len(extras) - len(values))]
    siblings = [*extras, *[None] * (len(values) - len(extras))]
    return [element(one, type_, other, types) for one, other in zip(padded, siblings, strict=True)]


def _temporal(value: object) -> object:
    return (Temporal.parse(value) or value) if isinstance(value, str) else value


def _date_time(value: object) -> object:
    moment = Temporal.parse(value) if isinstance(value, str) else None
    return value if moment is None else moment.as_date_time()


def _quantity(value: object) -> object:
    """A FHIR Quantity as a System one (http://hl7.org/fhir/R4/fhirpath.html#quantity).

    With a comparator (`<5`) it is a range, not a number: no value.
    """
    number = value.get("value") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or "comparator" in value:
        return value
    if isinstance(number, bool) or not isinstance(number, int | float | Decimal):
        return value
    amount = Decimal(str(number))
    if not amount.is_finite() or abs(amount.adjusted()) > _MOST_DIGITS:
        return value
    unit = value.get("code") if value.get("system") == UCUM else value.get("unit")
    if unit is None:
        unit = value.get("code", "1")
    return Quantity(amount, str(unit))


def _long(value: object) -> object:
    """JSON writes an integer64 as a string (http://hl7.org/fhir/R5/json.html#primitive)."""
    try:
        return Long(value) if isinstance(value, str) else value
    except ValueError:
        return value


_READERS: Final[dict[str, Callable[[object], object]]] = {
    **dict.fromkeys(("date", "time"), _temporal),
    **dict.fromkeys(("dateTime", "instant"), _date_time),
    **dict.fromkeys(QUANTITY_TYPES, _quantity),
    "integer64": _long,
}


def is_number(value: object) -> bool:
    """An Integer, Long or Decimal; Python's booleans are integers, FHIRPath's are not."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def is_system(value: object) -> bool:
    """Whether a JSON or System value is a primitive."""
    return value is not None and type(value) is not dict and not isinstance(value, _COMPLEX)


def has_value(item: Item) -> bool:
    """Whether an item is a primitive with a value, and not only with extensions."""
    value = item.value if type(item) is Element else item
    return type(value) is str or is_system(value)


def only(values: Collection, what: str) -> object:
    """The System value of the single item, None when there is none. Several are an error."""
    if len(values) == 1:
        item = values[0]
        if type(item) is Element and type(item.value) is str and item.type.read is None:
            return item.value
        return system(item)
    if values:
        raise EvaluationError(f"{what} expects a single value, not several")
    return None


def as_json(item: Item) -> object:
    """A value that JSON can write; dates become their text."""
    value = plain(item)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Temporal):
        return value.text
    if isinstance(value, Quantity):
        return {"value": float(value.value), "unit": value.unit}
    return value
