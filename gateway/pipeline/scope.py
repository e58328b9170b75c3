"""Scopes as an upper bound: what a token may never do, whatever the policies say (SMART App Launch 2.2).

A scope with search parameters is enforced on the payload and on the prior version, or the write is refused when
it cannot be; a `patient/` scope binds every Patient concerned to the token's own.
"""

from gateway.errors import Forbidden, Issue, IssueCode
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.fhir.search_match import matches
from gateway.identity.principal import Principal
from gateway.identity.scopes import Grant, grant


def granted(principal: Principal, code: InteractionCode, type_: str, *, conditional: bool = False) -> Grant:
    """What the token's scopes grant, before the body is read. Raises Forbidden when that is nothing."""
    found = grant(principal, code, type_)
    if not found.allowed:
        raise _forbidden(code, type_)
    # A conditional create tells whether something exists: that is a search (fhir-facts A9).
    if conditional and not grant(principal, InteractionCode.SEARCH_TYPE, type_).allowed:
        raise _forbidden(InteractionCode.SEARCH_TYPE, type_)
    return found


def bound(
    found: Grant,
    principal: Principal,
    resource: JsonObject,
    prior: JsonObject | None,
    patient_ids: tuple[str, ...],
) -> None:
    """Hold the write to the grant. Raises Forbidden."""
    if found.patient_only and (not patient_ids or any(each != principal.patient for each in patient_ids)):
        raise Forbidden(
            Issue(code=IssueCode.FORBIDDEN, text="The token reaches one Patient only, and this is about another.")
        )
    if not found.filters:
        return
    for version in (resource, prior):
        if version is not None and not any(matches(version, query) is True for query in found.filters):
            raise Forbidden(
                Issue(code=IssueCode.FORBIDDEN, text="The token's scopes are narrower than what this write contains.")
            )


def may_read(principal: Principal, type_: str, resource: JsonObject) -> bool:
    """Whether the client may see what it wrote. `patient/` scopes: the write itself was bound to that Patient."""
    found = grant(principal, InteractionCode.READ, type_)
    return found.allowed and (not found.filters or any(matches(resource, query) is True for query in found.filters))


def _forbidden(code: InteractionCode, type_: str) -> Forbidden:
    return Forbidden(
        Issue(code=IssueCode.FORBIDDEN, text=f"The token's scopes do not cover {code.value} on {type_}."),
        missing_scope=f"system/{type_}.{_LETTERS[code]}",
    )


_LETTERS = {
    InteractionCode.CREATE: "c",
    InteractionCode.READ: "r",
    InteractionCode.VREAD: "r",
    InteractionCode.HISTORY_INSTANCE: "r",
    InteractionCode.UPDATE: "u",
    InteractionCode.SEARCH_TYPE: "s",
    InteractionCode.HISTORY_TYPE: "s",
    InteractionCode.SEARCH_SYSTEM: "s",
    InteractionCode.HISTORY_SYSTEM: "s",
}
