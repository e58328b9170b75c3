"""What a collection holds: elements of the judged JSON, and the values of the System types.

An `Element` only points into the JSON that was given; nothing here ever changes it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from gateway.fhirpath.temporal import Temporal


class EvaluationError(Exception):
    """The expression has no value for this input. The message never holds a value of the payload."""


class BudgetExceeded(Exception):
    """The evaluation asked for more work than it was given."""


@dataclass(slots=True, eq=False)
class Element:
    """A place in the JSON: its value, its FHIR type (`HumanName`, `Observation.component`; empty: not known).

    `extra` is the `_name` sibling of a primitive (http://hl7.org/fhir/R4/json.html#primitive): its id and
    extensions. `data` is None for a primitive that has extensions only.
    """

    data: object
    type: str = ""
    extra: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a UCUM code (`mg`) or a calendar unit (`days`)."""

    value: Decimal
    unit: str


Item: TypeAlias = Element | bool | int | Decimal | str | Temporal | Quantity
Collection: TypeAlias = list[Item]

TEMPORAL_TYPES: Final = frozenset({"date", "dateTime", "instant", "time"})
QUANTITY_TYPES: Final = frozenset(
    {"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity"}
)
_ESCAPES: Final = {"r": "\r", "n": "\n", "t": "\t", "f": "\f"}


def unquote(text: str) -> str:
    """The content of a quoted string or identifier, in one pass, so that `\\\\n` stays a backslash and an n."""

    def one(match: re.Match[str]) -> str:
        code = match.group(1)
        if len(code) > 1:
            return chr(int(code[1:], 16))
        return _ESCAPES.get(code, code)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", one, text[1:-1], flags=re.DOTALL)


def plain(item: Item) -> object:
    """The JSON or System value of an item; a float becomes the Decimal that was written."""
    value = item.data if isinstance(item, Element) else item
    return Decimal(str(value)) if isinstance(value, float) else value


def scalar(item: Item) -> object:
    """As `plain`, with dates and quantities read by their FHIR type."""
    value = plain(item)
    if isinstance(item, Element):
        if isinstance(value, str) and item.type in TEMPORAL_TYPES:
            return Temporal.parse(value) or value
        if isinstance(value, Mapping) and item.type in QUANTITY_TYPES:
            return _quantity_of(value)
    return value


def _quantity_of(value: Mapping[str, object]) -> object:
    """A FHIR Quantity as a System one (http://hl7.org/fhir/R4/fhirpath.html#quantity).

    With a comparator (`<5`) it is a range, not a number: no value.
    """
    number = value.get("value")
    if "comparator" in value or isinstance(number, bool) or not isinstance(number, int | float | Decimal):
        return value
    unit = value.get("code") if value.get("system") == "http://unitsofmeasure.org" else value.get("unit")
    if unit is None:
        unit = value.get("code", "1")
    return Quantity(Decimal(str(number)), str(unit))


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


def is_number(value: object) -> bool:
    """An Integer or Decimal; Python's booleans are integers, FHIRPath's are not."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def truth(values: Collection) -> bool | None:
    """The one boolean, None when empty; anything else is an error, never taken for true."""
    if not values:
        return None
    if len(values) > 1:
        raise EvaluationError("one boolean is expected here, not several values")
    value = plain(values[0])
    if value is None:
        return None
    if not isinstance(value, bool):
        raise EvaluationError("a boolean is expected here, not another value")
    return value
