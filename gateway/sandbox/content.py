"""Resources as JSON text, with every number kept as it was written.

FHIR says that the precision of a decimal is significant (http://hl7.org/fhir/R4/json.html#decimal): `1.50` must
not come back as `1.5`. A `float` forgets it, so a number keeps its text beside its value.
"""

import json
from collections.abc import Iterator
from typing import Self, cast

from gateway.fhir.json import Json, JsonObject


class NotAResource(Exception):
    """The body is no JSON object with a `resourceType`."""


class WrittenNumber(float):
    """A decimal that remembers how it was written."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """`text` is a JSON number with a fraction or an exponent."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def _refuse(token: str) -> float:
    # NaN and Infinity are Python's extension, not JSON (RFC 8259 section 6).
    raise NotAResource(f"{token} is not JSON")


def parse(body: bytes) -> JsonObject:
    """The resource in `body`. Two equal keys: the last wins, as on HAPI. Raises NotAResource."""
    try:
        value = json.loads(body.decode("utf-8"), parse_float=WrittenNumber, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise NotAResource("the body is not JSON") from error
    if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
        raise NotAResource("the body is not a resource")
    return cast("JsonObject", value)


def dump(value: Json) -> str:
    """Compact JSON text; numbers as they were written."""
    match value:
        case WrittenNumber():
            return value.text
        case dict():
            return (
                "{"
                + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{dump(item)}" for key, item in value.items())
                + "}"
            )
        case list():
            return "[" + ",".join(dump(item) for item in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def body_of(value: JsonObject) -> bytes:
    """The bytes that go on the wire. A lone surrogate is written as an escape, for it has no UTF-8."""
    return dump(value).encode("utf-8", "backslashreplace")


def copy(value: JsonObject) -> JsonObject:
    """A deep copy that keeps the numbers' text."""
    return cast("JsonObject", _copied(value))


def _copied(value: Json) -> Json:
    match value:
        case dict():
            return {key: _copied(item) for key, item in value.items()}
        case list():
            return [_copied(item) for item in value]
        case _:
            return value


def references(value: Json) -> Iterator[str]:
    """Every `reference` string at any depth (http://hl7.org/fhir/R4/references.html)."""
    match value:
        case dict():
            for key, item in value.items():
                if key == "reference" and isinstance(item, str):
                    yield item
                else:
                    yield from references(item)
        case list():
            for item in value:
                yield from references(item)
        case _:
            return


def objects(value: Json) -> list[JsonObject]:
    """`value` as a list of objects: what a repeating or a single complex element holds."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def meta_of(resource: JsonObject) -> JsonObject:
    """The resource's `meta`, or an empty one that is not attached."""
    meta = resource.get("meta")
    return meta if isinstance(meta, dict) else {}
