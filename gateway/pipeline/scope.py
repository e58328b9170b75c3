"""Scopes as an upper bound: what a token may never do, whatever the policies say (SMART App Launch 2.2).

A scope with search parameters is enforced on the payload and on the prior version, or the write is refused when
it cannot be; a `patient/` scope binds every Patient concerned to the token's own.
"""

from dataclasses import dataclass

from gateway.errors import Forbidden, Issue, IssueCode
from gateway.fhir.compartment import PatientLinks
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.fhir.search_match import matches
from gateway.identity.principal import Principal
from gateway.identity.scopes import Grant, grant, permission


@dataclass(frozen=True, slots=True, kw_only=True)
class Concerned:
    """The Patients that something is about. `surely`: every reference that could be to a Patient was followed."""

    ids: tuple[str, ...]
    surely: bool

    @classmethod
    def of(cls, *links: PatientLinks) -> "Concerned":
        """By the references of one or several resources."""
        if len(links) == 1:
            return cls(ids=links[0].ids, surely=not links[0].problems)
        ids = tuple(dict.fromkeys(patient_id for each in links for patient_id in each.ids))
        return cls(ids=ids, surely=not any(each.problems for each in links))


def granted(principal: Principal, code: InteractionCode, type_: str, *, conditional: bool = False) -> Grant:
    """What the token's scopes grant, before the body is read. Raises Forbidden when that is nothing."""
    found = grant(principal, code, type_, conditional=conditional)
    if not found.allowed:
        raise _forbidden(code, type_)
    return found


def unconditionally(principal: Principal, code: InteractionCode, type_: str) -> bool:
    """Whether the scopes cover every resource of a type: nothing has to be held against its content."""
    found = grant(principal, code, type_)
    return found.allowed and not found.filters and not found.patient_only


def bound(
    found: Grant, principal: Principal, resource: JsonObject, prior: JsonObject | None, concerned: Concerned
) -> None:
    """Hold a resource, and the version before it, to the grant. Raises Forbidden."""
    if _covers(found, principal, resource, prior, concerned):
        return
    if found.patient_only:
        raise Forbidden(
            Issue(code=IssueCode.FORBIDDEN, text="The token reaches one Patient only, and this is about another.")
        )
    raise Forbidden(Issue(code=IssueCode.FORBIDDEN, text="The token's scopes are narrower than this content."))


def may_read(principal: Principal, type_: str, resource: JsonObject, concerned: Concerned) -> bool:
    """Whether the client may see what it wrote."""
    found = grant(principal, InteractionCode.READ, type_)
    return _covers(found, principal, resource, None, concerned)


def _covers(
    found: Grant, principal: Principal, resource: JsonObject, prior: JsonObject | None, concerned: Concerned
) -> bool:
    if not found.allowed:
        return False
    if _one_covers(found, principal, resource, prior, concerned):
        return True
    return found.otherwise is not None and _covers(found.otherwise, principal, resource, prior, concerned)


def _one_covers(
    found: Grant, principal: Principal, resource: JsonObject, prior: JsonObject | None, concerned: Concerned
) -> bool:
    if found.patient_only and not (
        concerned.surely and concerned.ids and all(each == principal.patient for each in concerned.ids)
    ):
        return False
    return not found.filters or all(
        any(matches(version, query) is True for query in found.filters)
        for version in (resource, prior)
        if version is not None
    )


def _forbidden(code: InteractionCode, type_: str) -> Forbidden:
    return Forbidden(
        Issue(code=IssueCode.FORBIDDEN, text=f"The token's scopes do not cover {code.value} on {type_}."),
        missing_scope=f"system/{type_}.{permission(code) or ''}",
    )
