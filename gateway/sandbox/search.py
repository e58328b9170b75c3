"""A handful of search parameters, read as http://hl7.org/fhir/R4/search.html says."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_plus

from gateway.fhir.json import Json, JsonObject
from gateway.sandbox import content
from gateway.sandbox.store import Store, Version

Parameters = tuple[tuple[str, str], ...]
Matcher = Callable[[Version, str], bool]

# Parameters that shape the answer and select nothing.
RESULT_PARAMETERS = frozenset({"_count", "_offset", "_format", "_pretty", "_sort", "_total", "_since"})
SUBJECT_ELEMENTS = ("subject", "patient", "beneficiary", "for", "individual")
_PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le")


class BadParameter(Exception):
    """A parameter this server does not know, or a value it cannot read."""


def parse_query(query: str) -> Parameters:
    """`a=b&c=d` as decoded pairs, in order; pairs without a value are dropped."""
    pairs = (part.partition("=") for part in query.removeprefix("?").split("&") if part)
    return tuple((unquote_plus(name), unquote_plus(value)) for name, _, value in pairs if value)


def find(store: Store, resource_type: str, parameters: Parameters) -> list[Version]:
    """The live resources of a type that match every parameter. Raises BadParameter."""
    wanted = [(name, value) for name, value in parameters if name not in RESULT_PARAMETERS]
    if store.quirks.unknown_parameter == "nothing" and any(not _is_known(store, name) for name, _ in wanted):
        return []
    if store.quirks.unknown_parameter == "everything":
        wanted = [(name, value) for name, value in wanted if _is_known(store, name)]
    return [v for v in store.live(resource_type) if all(matches(store, v, name, value) for name, value in wanted)]


def matches(store: Store, version: Version, name: str, value: str) -> bool:
    """Whether one resource matches one parameter: comma means or. Raises BadParameter."""
    if not _is_known(store, name):
        raise BadParameter(f"unknown search parameter {name!r}")
    if name == "_source":
        if store.quirks.source_disabled:
            raise BadParameter("the _source parameter is disabled on this server")
        return any(_source(kept, value) for kept in store.sources((version.type, version.id)))
    return any(_MATCHERS[name](version, one) for one in value.split(","))


def check_names(store: Store, parameters: Parameters) -> None:
    """Refuses what `matches` would refuse, also when there is nothing to match. Raises BadParameter."""
    for name, _ in parameters:
        unknown = not _is_known(store, name) and name not in RESULT_PARAMETERS
        if unknown and store.quirks.unknown_parameter == "refuse":
            raise BadParameter(f"unknown search parameter {name!r}")
        if name == "_source" and store.quirks.source_disabled:
            raise BadParameter("the _source parameter is disabled on this server")


def _is_known(store: Store, name: str) -> bool:
    return name in _MATCHERS and not (name == "_tag" and store.quirks.tag_disabled)


def _source(kept: str, wanted: str) -> bool:
    uri, _, fragment = wanted.partition("#")
    kept_uri, _, kept_fragment = kept.partition("#")
    if fragment and (not kept_fragment or fragment[:16] != kept_fragment):
        return False
    return not uri or uri == kept_uri


def _id(version: Version, value: str) -> bool:
    return version.id == value


def _tag(version: Version, value: str) -> bool:
    return _token(content.objects(content.meta_of(version.resource or {}).get("tag")), value, "code")


def _identifier(version: Version, value: str) -> bool:
    return _token(content.objects((version.resource or {}).get("identifier")), value, "value")


def _token(items: Iterable[JsonObject], wanted: str, key: str) -> bool:
    """`system|code`, `|code`, `system|` and `code` (http://hl7.org/fhir/R4/search.html#token)."""
    system, bar, code = wanted.rpartition("|")
    for item in items:
        if code and item.get(key) != code:
            continue
        if not bar or item.get("system", "") == system:
            return True
    return False


def _concept(element: str) -> Matcher:
    def matcher(version: Version, value: str) -> bool:
        return _token(_codings((version.resource or {}).get(element)), value, "code")

    return matcher


def _codings(concepts: Json) -> Iterator[JsonObject]:
    for concept in content.objects(concepts):
        yield from content.objects(concept.get("coding"))


def _status(version: Version, value: str) -> bool:
    return (version.resource or {}).get("status") == value.rpartition("|")[2]


def _subject(version: Version, value: str) -> bool:
    wanted = value if "/" in value else f"Patient/{value}"
    for element in SUBJECT_ELEMENTS:
        for reference in content.objects((version.resource or {}).get(element)):
            if reference.get("reference") == wanted:
                return True
    return False


def instant(text: str) -> tuple[datetime, datetime]:
    """The span of time that a date or instant names: start, and end (exclusive). Raises BadParameter."""
    try:
        start = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise BadParameter(f"not a date: {text!r}") from error
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    if "T" not in text:
        return start, start + timedelta(days=1)
    return start, start + (timedelta(milliseconds=1) if "." in text else timedelta(seconds=1))


def _last_updated(version: Version, value: str) -> bool:
    prefix, date = (value[:2], value[2:]) if value[:2] in _PREFIXES else ("eq", value)
    start, end = instant(date)
    when = version.updated
    when = when.replace(microsecond=when.microsecond // 1000 * 1000)
    return {
        "eq": start <= when < end,
        "ne": not start <= when < end,
        "gt": when >= end,
        "ge": when >= start,
        "lt": when < start,
        "le": when < end,
    }[prefix]


_MATCHERS: dict[str, Matcher] = {
    "_id": _id,
    "_lastUpdated": _last_updated,
    "_source": lambda _version, _value: False,
    "_tag": _tag,
    "category": _concept("category"),
    "code": _concept("code"),
    "identifier": _identifier,
    "patient": _subject,
    "status": _status,
    "subject": _subject,
}

# Names and types for the CapabilityStatement (http://hl7.org/fhir/R4/valueset-search-param-type.html).
PARAMETER_TYPES = (
    ("_id", "token"),
    ("_lastUpdated", "date"),
    ("_source", "uri"),
    ("_tag", "token"),
    ("category", "token"),
    ("code", "token"),
    ("identifier", "token"),
    ("patient", "reference"),
    ("status", "token"),
    ("subject", "reference"),
)
