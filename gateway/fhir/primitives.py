"""The JSON form of each primitive type as a pydantic-core schema (http://hl7.org/fhir/R4/datatypes.html#primitive).

The patterns are those of the StructureDefinitions, but for four where they are looser or tighter than what
servers agree on; each says why. They run on Rust's regex engine, which never backtracks.
"""

from collections.abc import Iterable

from pydantic_core import CoreSchema, core_schema

INTEGER_LIMIT = 2**31 - 1

# Like the published pattern, but not `.` or `..`, which are path segments of another meaning.
ID = r"(?:[A-Za-z0-9\-][A-Za-z0-9\-.]{0,63}|\.[A-Za-z0-9\-][A-Za-z0-9\-.]{0,62}|\.\.[A-Za-z0-9\-.]{1,62})"

# Control characters but for tab, line feed and carriage return: "strings SHALL NOT contain" them.
_NO_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f"
# The published `[ \r\n\t\S]+` means other characters on each regex engine (U+00A0) and lets a blank string
# through, which HAPI takes for an absent one: so at least one character that is not blank.
_STRING = rf"\s*[^\s{_NO_CONTROL}][^{_NO_CONTROL}]*"
_URI = r"[^\s\x00-\x1f]+"
_YEAR = r"([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)"
# Days as the months have them: servers refuse or roll over the 31st of June.
_MONTH_DAY = r"(02-(0[1-9]|[12][0-9])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01]))"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_ZONE = r"(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
# The published pattern takes `=` anywhere, where decoders stop in silence; blanks between quads are legal.
_BASE64 = r"(\s*[A-Za-z0-9+/]{4})*\s*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)\s*"

PATTERNS = {
    "base64Binary": _BASE64,
    "canonical": _URI,
    "code": r"[^\s\x00-\x1f]+(\s[^\s\x00-\x1f]+)*",
    "date": rf"{_YEAR}(-(0[1-9]|1[0-2])|-{_MONTH_DAY})?",
    "dateTime": rf"{_YEAR}(-(0[1-9]|1[0-2])|-{_MONTH_DAY}(T{_CLOCK}{_ZONE})?)?",
    "id": ID,
    "instant": rf"{_YEAR}-{_MONTH_DAY}T{_CLOCK}{_ZONE}",
    "markdown": _STRING,
    "oid": r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+",
    "string": _STRING,
    "time": _CLOCK,
    "uri": _URI,
    "url": _URI,
    "uuid": r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "xhtml": _STRING,
    "System.Id": ID,
    "System.String": _STRING,
    "System.Uri": _URI,
}
_INTEGERS = {"integer": -INTEGER_LIMIT - 1, "positiveInt": 1, "unsignedInt": 0}


def primitive(name: str) -> CoreSchema:
    """The schema of a primitive type."""
    if name == "boolean":
        return core_schema.bool_schema(strict=True)
    if name == "decimal":
        return core_schema.union_schema([core_schema.float_schema(strict=True), core_schema.int_schema(strict=True)])
    if name in _INTEGERS:
        return core_schema.int_schema(strict=True, ge=_INTEGERS[name], le=INTEGER_LIMIT)
    return core_schema.str_schema(strict=True, pattern=f"^(?:{PATTERNS[name]})$")


def reference_literal(resource_types: Iterable[str]) -> CoreSchema:
    """`Reference.reference`: `Type/id`, `#id`, a urn, or an absolute http URL without query, fragment or `_history`.

    Not what servers rewrite: a leading slash, a version, a search (hapi-fhir stores `/Patient/1/_history/1` as
    `Patient/1`, and the first hit of `Patient?identifier=x`).
    """
    types = "|".join(sorted(resource_types))
    uuid_or_oid = rf"(?:{PATTERNS['uuid']}|{PATTERNS['oid']})"
    character = r"[^\s\x00-\x1f/?#]"
    absolute = rf"https?://{character}+(?:/(?:[^\s\x00-\x1f/?#_]{character}*)?)*"
    return core_schema.str_schema(
        strict=True, pattern=rf"^(?:(?:{types})/{ID}|#[A-Za-z0-9\-.]{{0,64}}|{uuid_or_oid}|{absolute})$"
    )
