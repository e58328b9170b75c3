"""The functions that FHIR adds (http://hl7.org/fhir/R5/fhirpath.html#functions)."""

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.fhirpath.env import TEXT_STEP, Env
from gateway.fhirpath.equality import is_in
from gateway.fhirpath.items import (
    FALSE,
    NONE,
    TRUE,
    Collection,
    Element,
    EvaluationError,
    Item,
    element,
    has_value,
    members,
    only,
    plain,
)
from gateway.fhirpath.markup import is_fhir_html, is_fhir_html_inside
from gateway.fhirpath.signature import Signature, text
from gateway.fhirpath.type_tests import type_info

_MARK_WORK: Final = 4  # of each element, attribute and entity
_CONTAINED_WORK, _ENTRY_WORK = 2, 5
_DEFINITIONS: Final = "http://hl7.org/fhir/StructureDefinition/"


def _extension(env: Env, focus: Collection, url: Collection) -> Collection:
    """The extensions with a url; one without a url is none of them."""
    if len(url) > 1:
        raise EvaluationError("extension() expects one url")
    if not url:
        return NONE
    found = [one for item in focus for one in members(item, "extension", env.types)]
    env.spend(2 * len(focus) + 3 * len(found))
    return [one for one in found if is_in(url[0], members(one, "url", env.types))]


def _has_value(_env: Env, focus: Collection) -> Collection:
    """Whether the input is one primitive with a value, and not only with extensions."""
    return TRUE if len(focus) == 1 and has_value(focus[0]) else FALSE


def _get_value(_env: Env, focus: Collection) -> Collection:
    value = only(focus, "getValue()") if len(focus) == 1 else None
    return [value] if isinstance(value, Item) else NONE


def _resolve(env: Env, focus: Collection) -> Collection:
    """Follows references within the resource, its Bundle and the resources that were given; nothing is fetched."""
    found: Collection = []
    for item in focus:
        env.spend(_CONTAINED_WORK)
        value = plain(item)
        reference = value.get("reference") if isinstance(value, Mapping) else value
        target = _target(env, reference) if isinstance(reference, str) else None
        if target is not None:
            found.append(target)
        elif env.strict:
            # Empty would be a value, and `resolve().exists().not()` would hold.
            raise EvaluationError("resolve() follows references to contained and given resources only")
    return found


def _target(env: Env, reference: str) -> Element | None:
    if reference.startswith("#"):
        return _contained(env, reference[1:])
    known = env.resolvable.get(reference)
    if known is not None:
        return element(known, env.types.plain, None, env.types)
    for entry in _entries(env):
        resource = entry.get("resource")
        if isinstance(resource, Mapping) and _is_meant(entry, resource, reference):
            return element(resource, env.types.plain, None, env.types)
    return None


def _contained(env: Env, name: str) -> Element | None:
    for root in env.resource:
        if not name and isinstance(root, Element):
            return root
        contained = members(root, "contained", env.types)
        env.spend(_CONTAINED_WORK * len(contained))
        for one in contained:
            if isinstance(one, Element) and isinstance(one.value, Mapping) and one.value.get("id") == name:
                return one
    return None


def _entries(env: Env) -> Iterator[Mapping[str, object]]:
    for root in env.resource:
        entries = members(root, "entry", env.types)
        env.spend(_ENTRY_WORK * len(entries))
        for entry in entries:
            if isinstance(entry, Element) and isinstance(entry.value, Mapping):
                yield entry.value


def _is_meant(entry: Mapping[str, object], resource: Mapping[str, object], reference: str) -> bool:
    own = f"{resource.get('resourceType')}/{resource.get('id')}"
    return reference in (entry.get("fullUrl"), own)


def _member_of(env: Env, focus: Collection, value_set: Collection) -> Collection:
    """Against the required bindings that are shipped; any other value set would need a terminology server."""
    if not focus or not value_set:
        return NONE
    url = text(only(value_set, "an argument"))
    codes = env.types.model.values.get(url.partition("|")[0])
    if codes is None:
        raise EvaluationError("memberOf() knows the value sets of required bindings only")
    value = only(focus, "memberOf()")
    if isinstance(value, str):
        return [value in codes]
    raise EvaluationError("memberOf() of a Coding needs a terminology server")


def _html_checks(env: Env, focus: Collection) -> Collection:
    """Whether a narrative holds only what FHIR allows (http://hl7.org/fhir/R4/narrative.html#rules)."""
    if not focus:
        return NONE
    item = focus[0]
    value = plain(item)
    if len(focus) > 1 or not isinstance(value, str):
        return NONE
    name = item.type.name if isinstance(item, Element) else "string"
    if name not in ("xhtml", "string", "markdown", ""):
        return NONE
    env.spend(len(value) // TEXT_STEP + _MARK_WORK * sum(map(value.count, "<=&")))
    return [is_fhir_html_inside(value) if name in ("string", "markdown") else is_fhir_html(value)]


def _conforms_to(env: Env, focus: Collection, profile: Collection) -> Collection:
    """Against the definition of a type; any other profile would need a validator."""
    if not focus or not profile:
        return NONE
    url = text(only(profile, "an argument"))
    name = url.removeprefix(_DEFINITIONS)
    if name == url or name not in env.types.model.types or len(focus) > 1:
        raise EvaluationError("conformsTo() knows the definitions of the types only")
    item = focus[0]
    return [isinstance(item, Element) and env.types.model.is_a(item.type.name, name)]


FHIR: Final[dict[str, Signature]] = {
    "extension": Signature(1, 1, _extension),
    "hasValue": Signature(0, 0, _has_value),
    "getValue": Signature(0, 0, _get_value),
    "resolve": Signature(0, 0, _resolve),
    "memberOf": Signature(1, 1, _member_of),
    "htmlChecks": Signature(0, 0, _html_checks),
    "htmlChecks2": Signature(0, 0, _html_checks),
    "conformsTo": Signature(1, 1, _conforms_to),
    "type": Signature(0, 0, type_info),
}
