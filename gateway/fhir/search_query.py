"""The query of a search, read strictly: which Patients it names, and whether it can reach beyond its type.

http://hl7.org/fhir/R4/search.html. Two readers of one query string must not disagree, so doubtful text is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from gateway.errors import Issue, IssueCode, Malformed
from gateway.fhir.compartment import PATIENT
from gateway.fhir.model import search_parameters
from gateway.fhir.reference import LiteralReference, classify

_ESCAPED = re.compile(r"(?:[^%;\x00-\x20\x7f-\U0010ffff]|%[0-9A-Fa-f]{2})*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BARE_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
# Parameters that begin with an underscore and stay within the type that is searched. Every other one, known or
# not, may bring other resources in (`_include`, `_has`) or means what this gateway cannot say.
_WITHIN_TYPE = frozenset(
    {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source", "_count", "_offset", "_sort", "_summary"}
    | {"_elements", "_total", "_format", "_pretty"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """A search as read: decoded `pairs` in order.

    `concerns_other_types` is True unless every parameter stays within the searched type. `patient_ids` are the
    Patients that the result is limited to, by `patient`, `subject`, or `_id` on Patient; empty when it is not
    limited to named Patients. `formats` are the values of `_format`.
    """

    pairs: tuple[tuple[str, str], ...]
    concerns_other_types: bool
    patient_ids: tuple[str, ...]
    formats: tuple[str, ...]


def parse(query: str, type_name: str | None, *, bases: tuple[str, ...] = (), release: str = "R4") -> SearchQuery:
    """Reads a query string, or the form of a search by POST (both are form-encoded).

    `type_name` is the searched type, or None for the whole server. Raises Malformed for what has not exactly
    one reading: empty parts, `;`, bad escapes, bytes that are not UTF-8, control characters.
    """
    pairs = tuple(map(_pair, query.split("&"))) if query else ()
    ids = dict.fromkeys(
        logical_id for key, value in pairs for logical_id in _patients(key, value, type_name, bases, release)
    )
    return SearchQuery(
        pairs=pairs,
        concerns_other_types=type_name is None or any(_reaches_out(key, value) for key, value in pairs),
        patient_ids=tuple(ids),
        formats=tuple(value for key, value in pairs if key == "_format"),
    )


def _pair(part: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not key or not equals or _ESCAPED.fullmatch(part) is None:
        raise _doubtful()
    return _decode(key), _decode(value)


def _decode(text: str) -> str:
    try:
        decoded = unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise _doubtful() from None
    if _CONTROL.search(decoded):
        raise _doubtful()
    return decoded


def _doubtful() -> Malformed:
    return Malformed(
        Issue(code=IssueCode.INVALID, text="The search query cannot be read: each part must be name=value, in UTF-8.")
    )


def _reaches_out(key: str, value: str) -> bool:
    name = key.split(":", 1)[0]
    if "." in key or (name.startswith("_") and name not in _WITHIN_TYPE):
        return True
    return name == "_sort" and "." in value


def _patients(key: str, value: str, type_name: str | None, bases: tuple[str, ...], release: str) -> Iterator[str]:
    """The Patients that one parameter limits the result to; none when any of its alternatives is something else."""
    name, _, modifier = key.partition(":")
    alternatives = value.split(",")
    if type_name == PATIENT and key == "_id":
        if all(map(_BARE_ID.fullmatch, alternatives)):
            yield from alternatives
        return
    known = search_parameters(release).get(type_name or "", {}).get(name)
    # A parameter that the type does not have may be ignored by a server, which then answers with everything.
    if name not in ("patient", "subject") or modifier not in ("", PATIENT) or known is None:
        return
    bare_is_patient = name == "patient" or modifier == PATIENT
    named = [_patient(alternative, bases, bare=bare_is_patient) for alternative in alternatives]
    if None not in named:
        yield from (logical_id for logical_id in named if logical_id is not None)


def _patient(text: str, bases: tuple[str, ...], *, bare: bool) -> str | None:
    if bare and _BARE_ID.fullmatch(text):
        return text
    named = classify(text, bases)
    return named.id if isinstance(named, LiteralReference) and named.type == PATIENT else None
