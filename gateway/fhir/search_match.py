"""Whether a payload matches a search query, as far as the payload alone can say.

For scopes with search parameters (SMART App Launch 2.2, "Finer-grained resource constraints"). Parameters are
joined by AND, commas mean OR. What needs a server, a terminology or a guess is None, and the caller refuses.
"""

import re
from collections.abc import Iterable, Iterator

from gateway.errors import Malformed
from gateway.fhir import search_query
from gateway.fhir.json import Json, JsonObject
from gateway.fhir.model import SearchParameter, SearchPath, search_parameters
from gateway.fhir.reference import LiteralReference, classify

_COMMA = re.compile(r"(?<!\\)(?:\\\\)*,")
_ESCAPE = re.compile(r"\\([,|$\\])")
_BAR = re.compile(r"(?<!\\)(?:\\\\)*\|")
_BARE_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_TEXT_TYPES = frozenset({"code", "id", "string", "uri", "canonical", "url", "oid", "uuid", "System.Id"})


def matches(resource: JsonObject, query: str, *, release: str = "R4") -> bool | None:
    """True or False when the payload (checked by `shape`) decides it; None when it cannot be decided here.

    `query` has no type and no `?`, and may be percent-encoded. Decided are token, reference and uri parameters
    whose R4 expression is a plain path, without modifier.
    """
    try:
        pairs = search_query.parse(query, str(resource["resourceType"]), release=release).pairs
    except Malformed:
        return None
    parameters = search_parameters(release)[str(resource["resourceType"])]
    verdicts = [_any(resource, parameters.get(key), value) for key, value in pairs]
    if not verdicts or False in verdicts:
        return False if verdicts else None
    return None if None in verdicts else True


def _any(resource: JsonObject, parameter: SearchParameter | None, value: str) -> bool | None:
    if parameter is None or not value:
        return None
    return _either(
        _one(parameter.type, path, found, alternative)
        for alternative in _split(_COMMA, value)
        for path in parameter.paths
        for found in _values(resource, path.names)
    )


def _either(verdicts: Iterable[bool | None]) -> bool | None:
    """OR of three values: True wins, then None."""
    unknown = False
    for verdict in verdicts:
        if verdict:
            return True
        unknown = unknown or verdict is None
    return None if unknown else False


def _split(separator: re.Pattern[str], text: str) -> list[str]:
    """Splits at separators that no backslash escapes (http://hl7.org/fhir/R4/search.html#escaping)."""
    parts = []
    start = 0
    for match in separator.finditer(text):
        parts.append(text[start : match.end() - 1])
        start = match.end()
    return [*parts, text[start:]]


def _values(node: Json, names: tuple[str, ...]) -> Iterator[Json]:
    if isinstance(node, list):
        for item in node:
            yield from _values(item, names)
    elif not names:
        yield node
    elif isinstance(node, dict) and names[0] in node:
        yield from _values(node[names[0]], names[1:])


def _one(kind: str, path: SearchPath, found: Json, wanted: str) -> bool | None:
    if kind == "token":
        return _token(path.type, found, wanted)
    if isinstance(found, dict):
        return _reference(found.get("reference"), path.target, _unescape(wanted))
    return found == _unescape(wanted)  # uri parameters, and canonical references


def _token(type_name: str, found: Json, wanted: str) -> bool | None:
    parts = [_unescape(part) for part in _split(_BAR, wanted)]
    if isinstance(found, bool):
        return found is (wanted == "true") if wanted in ("true", "false") else None
    if isinstance(found, str):
        # `system|code` on a code element would need the systems of its value set.
        return found == parts[0] if len(parts) == 1 and type_name in _TEXT_TYPES else None
    if type_name == "CodeableConcept" and isinstance(found, dict):
        codings = found.get("coding")
        return _either(_coded(item, "code", parts) for item in codings) if isinstance(codings, list) else False
    key = {"Coding": "code", "Identifier": "value"}.get(type_name)
    return _coded(found, key, parts) if key else None


def _coded(found: Json, key: str, parts: list[str]) -> bool | None:
    """`code`, `system|code`, `|code` (no system) or `system|` (any code) against a Coding or an Identifier."""
    if not isinstance(found, dict) or len(parts) > 2:  # noqa: PLR2004
        return None
    if len(parts) == 1:
        return found.get(key) == parts[0]
    system, code = parts
    return found.get("system") == (system or None) and (not code or found.get(key) == code)


def _reference(found: Json, target: str | None, wanted: str) -> bool | None:
    if not isinstance(found, str):
        return False
    named = classify(found, ())
    if not isinstance(named, LiteralReference):
        return found == wanted and target is None
    if target is not None and named.type != target:
        return False
    if _BARE_ID.fullmatch(wanted):
        return named.id == wanted
    return named == classify(wanted, ())


def _unescape(text: str) -> str:
    return _ESCAPE.sub(r"\1", text)
