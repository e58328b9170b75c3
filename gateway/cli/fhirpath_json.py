"""How values of FHIRPath are written as JSON: each with its type, decimals digit by digit."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from gateway.fhirpath.items import Element, Item, plain
from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.type_tests import type_of

# The System types by the names that FHIR has for them.
_NAMES: Final = {
    "Boolean": "boolean",
    "String": "string",
    "Integer": "integer",
    "Long": "integer64",
    "Decimal": "decimal",
    "Date": "date",
    "DateTime": "dateTime",
    "Time": "time",
}


def typed(item: Item) -> dict[str, object]:
    """`{"type", "value"}`; an element that has extensions only has them in the place of its value."""
    space, name = type_of(item)
    shown = _NAMES.get(name, name) if space == "System" else name
    value: object = plain(item)
    if value is None and isinstance(item, Element):
        value = item.extra
    return {"type": shown, "value": value}


def write(value: object) -> str:
    """JSON on one line. `json` would write 1.50 as 1.5."""
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else "null"
    if isinstance(value, Temporal):
        return json.dumps(value.text)
    if isinstance(value, Quantity):
        return f'{{"value": {write(value.value)}, "unit": {_text(value.unit)}}}'
    if isinstance(value, Mapping):
        members = (f"{_text(name)}: {write(child)}" for name, child in value.items())
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(write(child) for child in value)}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """Half of a character of UTF-16, which JSON can carry, has no UTF-8: it is written as the escape that it was."""
    return json.dumps(value, ensure_ascii=not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value))


def positions(source: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1."""
    return source.count("\n", 0, offset) + 1, offset - source.rfind("\n", 0, offset)
