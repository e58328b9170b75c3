"""The compiled check's errors in words: what is wrong, where, and what to do about it.

Texts never repeat the payload. An unknown property is described by its place, since its name is the client's.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic_core import ErrorDetails

from gateway.errors import Issue, IssueCode
from gateway.fhir.coherence import INCOHERENT, has_sibling
from gateway.fhir.json import Json, JsonObject
from gateway.fhir.model import RESOURCE, Field, Model
from gateway.fhir.reference import UnresolvableReference, classify

# Longer lists of codes are not printed.
_FEW_CODES = 16
_JSON_FORM = {"boolean": "true or false", "decimal": "a number"} | dict.fromkeys(
    ("integer", "positiveInt", "unsignedInt"), "a whole number"
)


_NO_TYPE = (IssueCode.STRUCTURE, "resourceType is missing or names no resource type; names are case-sensitive.")
_FIXED = {
    "missing": (IssueCode.REQUIRED, "A required element is missing."),
    "union_tag_invalid": _NO_TYPE,
    "union_tag_not_found": _NO_TYPE,
    "too_short": (IssueCode.STRUCTURE, "An array may not be empty; leave the element out."),
    INCOHERENT: (
        IssueCode.STRUCTURE,
        "A required element is missing, a choice element is there twice, or an entry is null in both arrays.",
    ),
    "recursion_loop": (IssueCode.STRUCTURE, "Nested too deep."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an error is: `at` for people, `parent` and `field` in the model, `value` in the payload.

    `name` is the last property name; `field` is None for an unknown one.
    """

    at: str
    parent: str
    field: Field | None
    owner: Json
    value: Json
    name: str
    index: bool


def phrase(
    model: Model, resource: JsonObject, errors: Sequence[ErrorDetails], *, incoherent: bool = False
) -> Iterator[Issue]:
    """The issues of the errors, each place once (a union reports once per member).

    `incoherent` includes the tripwire's errors, for payloads that nobody walks to name them better.
    """
    seen: set[tuple[int | str, ...]] = set()
    for error in errors:
        if error["type"] == INCOHERENT and not incoherent:
            continue
        place, used = _place(model, resource, error["loc"])
        if used not in seen:
            seen.add(used)
            yield _issue(model, place, error["type"])


def _place(model: Model, resource: JsonObject, loc: Sequence[int | str]) -> tuple[_Place, tuple[int | str, ...]]:
    """Walks the loc along the payload; tags of unions (resource types, `int`, `float`) are no places."""
    place = _Place(
        at=str(loc[0]) if loc else RESOURCE, parent="", field=None, owner=None, value=resource, name="", index=False
    )
    path: str | None = str(loc[0]) if loc else None
    used: list[int | str] = []
    for step in loc[1:]:
        if isinstance(step, int):
            value = place.value[step] if isinstance(place.value, list) else None
            place = _Place(
                at=f"{place.at}[{step}]",
                parent=place.parent,
                field=place.field,
                owner=place.owner,
                value=value,
                name=place.name,
                index=True,
            )
        elif path == RESOURCE:
            path = step
            continue
        elif path is None or path not in model.fields:
            continue
        else:
            place, path = _below(model, place, path, step)
        used.append(step)
    return place, tuple(used)


def _below(model: Model, place: _Place, path: str, step: str) -> tuple[_Place, str | None]:
    field = model.fields[path].get(step.removeprefix("_"))
    if field is not None and step.startswith("_") and not (field.primitive and has_sibling(field)):
        field = None
    known = field is not None or step == "resourceType"
    value = place.value.get(step) if isinstance(place.value, dict) else None
    at = f"{place.at}.{step.removeprefix('_')}" if known else place.at
    inner = None if field is None else "Element" if step.startswith("_") else field.type
    return _Place(at=at, parent=path, field=field, owner=place.value, value=value, name=step, index=False), inner


def _issue(model: Model, place: _Place, kind: str) -> Issue:
    code, text = _words(model, place, kind)
    return Issue(code=code, text=text, expression=(place.at,))


def _words(model: Model, place: _Place, kind: str) -> tuple[IssueCode, str]:
    if kind in _FIXED:
        return _FIXED[kind]
    if kind == "extra_forbidden":
        return IssueCode.STRUCTURE, _unknown(model, place)
    if kind == "literal_error" and isinstance(place.value, str):
        return IssueCode.CODE_INVALID, _code(model, place)
    if kind == "string_pattern_mismatch":
        return IssueCode.VALUE, _pattern(place)
    if kind in ("greater_than_equal", "less_than_equal"):
        return IssueCode.VALUE, f"The number is outside the range of {_type(place)}."
    return IssueCode.STRUCTURE, _form(place)


def _unknown(model: Model, place: _Place) -> str:
    known = [*model.fields[place.parent], *(f"_{name}" for name in model.fields[place.parent])]
    close = difflib.get_close_matches(place.name[:64], known, n=1, cutoff=0.7) or [
        name for name in known if name.lower() == place.name.lower()
    ]
    position = list(place.owner).index(place.name) + 1 if isinstance(place.owner, dict) else 0
    hint = f"; did you mean `{close[0]}`?" if close else "."
    return f"Unknown element: property {position} of this object is not one of {place.parent}{hint}"


def _code(model: Model, place: _Place) -> str:
    codes = model.values.get(place.field.binding or "", ()) if place.field else ()
    listed = f": {', '.join(codes)}" if 0 < len(codes) <= _FEW_CODES else ""
    return f"Not a code of the required value set{listed}."


def _pattern(place: _Place) -> str:
    if (place.parent, place.name) == ("Reference", "reference") and isinstance(place.value, str):
        named = classify(place.value, ())
        why = named.why if isinstance(named, UnresolvableReference) else "it names no resource type"
        return f"The reference does not have exactly one reading: {why}."
    if place.value == "":
        return "A string may not be empty; leave the element out."
    return f"The value does not have the form of {_type(place)}."


def _form(place: _Place) -> str:
    field = place.field
    if field is None or place.value is None:
        return "null is not a value here; leave the element out."
    if place.name.startswith("_"):
        what = "an object with id or extension"
    elif field.primitive:
        what = _JSON_FORM.get(field.type, "a string")
    else:
        what = "an object"
    if field.many and not place.index:
        return f"This element repeats: write an array, each entry {what}."
    if isinstance(place.value, list):
        return f"This element does not repeat: write {what}, not an array."
    return f"Write {what} here."


def _type(place: _Place) -> str:
    return place.field.type.replace("System.Id", "id").removeprefix("System.") if place.field else "its type"
