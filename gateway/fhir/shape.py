"""Whether a payload has exactly one reading as FHIR: what a server would drop, convert or rewrite is refused.

HAPI stores the first item of an array where one value belongs, drops unknown and wrongly cased elements, reads
`"1"` as 1 and keeps one of two choice elements, all without a word. A policy judged on such a payload would
have judged something else than what is stored.
"""

from itertools import islice

from pydantic_core import PydanticSerializationError, ValidationError, to_json

from gateway.errors import Issue, IssueCode
from gateway.fhir.faults import thorough
from gateway.fhir.json import JsonObject
from gateway.fhir.model import load
from gateway.fhir.phrases import phrase
from gateway.fhir.schema import validator

# What an answer lists at most; and how many errors are worth spelling out at all.
_SHOWN = 50
_SPELLED = 1000
# Types that carry whole resources: always looked at thoroughly.
_CARRIERS = frozenset({"Bundle", "Parameters"})


def check(resource: JsonObject, *, release: str = "R4") -> tuple[Issue, ...]:
    """Every fault of a payload, at most 50; empty when it has exactly one reading.

    Expressions name the place (`Observation.component[2].valueQuantity.value`). Codes are structure, required,
    value, invariant and code-invalid.
    """
    model = load(release)
    try:
        validator(release).validate_python(resource)
    except ValidationError as error:
        if error.error_count() > _SPELLED:
            return (Issue(code=IssueCode.STRUCTURE, text=f"This is not FHIR: {error.error_count()} faults."),)
        details = error.errors(include_url=False, include_context=False, include_input=False)
        issues = dict.fromkeys([*phrase(model, resource, details), *islice(thorough(model, resource), _SHOWN)])
        return tuple(islice(issues, _SHOWN))
    if not _doubtful(resource):
        return ()
    return tuple(islice(thorough(model, resource), _SHOWN))


def _doubtful(resource: JsonObject) -> bool:
    """Whether there may be what the compiled check does not see: empty objects, objects with an id alone,
    contained resources and references to them. Compact JSON shows traces of all of them, and costs less than
    a walk."""
    if "contained" in resource or resource["resourceType"] in _CARRIERS:
        return True
    try:
        encoded = to_json(resource)
    except PydanticSerializationError:  # nested deeper than it goes
        return True
    return b"{}" in encoded or b'{"id":' in encoded or b'"#' in encoded


def resource_types(release: str = "R4") -> frozenset[str]:
    """The names of the resource types of a release."""
    return load(release).resources
