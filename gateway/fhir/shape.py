"""Whether a payload has exactly one reading as FHIR: what a server would drop, convert or rewrite is refused.

HAPI stores the first item of an array where one value belongs, drops unknown and wrongly cased elements, reads
`"1"` as 1 and keeps one of two choice elements, all without a word. A policy judged on such a payload would
have judged something else than what is stored.
"""

from collections.abc import Iterable
from itertools import chain, islice

from pydantic_core import PydanticSerializationError, ValidationError, to_json

from gateway.errors import Issue, IssueCode
from gateway.fhir.faults import thorough
from gateway.fhir.json import JsonObject
from gateway.fhir.model import load
from gateway.fhir.phrases import phrase
from gateway.fhir.schema import validator

# What an answer lists at most.
_SHOWN = 50
# Past this many bytes (as compact JSON) of a refused payload only its first faults are looked for.
_LARGE = 100_000
# More errors than this are not spelled out at all.
_SPELLED = 1000
# Types that carry whole resources: always looked at thoroughly.
_CARRIERS = frozenset({"Bundle", "Parameters"})


def check(resource: JsonObject, *, release: str = "R4") -> tuple[Issue, ...]:
    """The faults of a payload, at most 50; empty when it has exactly one reading.

    Expressions name the place (`Observation.component[2].valueQuantity.value`). Codes are structure, required,
    value, invariant and code-invalid. Of a large payload it may be the first faults only.
    """
    encoded = _encoded(resource)
    small = encoded is not None and len(encoded) < _LARGE
    try:
        # Two compiled models, of which most gateways ever need the first alone: every fault of a large payload
        # could be a million faults.
        validator(release, every_fault=small).validate_python(resource)
    except ValidationError as error:
        return _faults(resource, error, release, small=small)
    if encoded is not None and not _doubtful(resource, encoded):
        return ()
    return tuple(islice(thorough(load(release), resource), _SHOWN))


def _faults(resource: JsonObject, error: ValidationError, release: str, *, small: bool) -> tuple[Issue, ...]:
    model = load(release)
    if error.error_count() > _SPELLED:
        return (Issue(code=IssueCode.STRUCTURE, text=f"This is not FHIR: {error.error_count()} faults."),)
    walked: Iterable[Issue] = thorough(model, resource) if small else ()
    details = error.errors(include_url=False, include_context=False, include_input=False)
    named = phrase(model, resource, details, incoherent=not small)
    issues = dict.fromkeys(islice(chain(named, walked), _SHOWN))
    # The check has failed, so there is a fault even if no words were found for it.
    return tuple(issues) or (Issue(code=IssueCode.STRUCTURE, text="The payload has not exactly one reading."),)


def _encoded(resource: JsonObject) -> bytes | None:
    """Compact JSON, or None when it is nested too deep for that."""
    try:
        return to_json(resource)
    except PydanticSerializationError:
        return None


def _doubtful(resource: JsonObject, encoded: bytes) -> bool:
    """Whether there may be what the compiled check does not see: empty objects, objects with an id alone,
    contained resources and references to them. Compact JSON shows traces of all of them, and costs less than
    a walk."""
    if "contained" in resource or resource["resourceType"] in _CARRIERS:
        return True
    return b"{}" in encoded or b'{"id":' in encoded or b'"#' in encoded


def resource_types(release: str = "R4") -> frozenset[str]:
    """The names of the resource types of a release."""
    return load(release).resources
