"""SMART scopes as an upper bound: which interactions a token may ask for. Policies can only narrow this further.

Permissions follow https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#scopes-for-requesting-fhir-resources
"""

from dataclasses import dataclass
from functools import lru_cache

from gateway.fhir.interaction import InteractionCode
from gateway.fhir.smart_scope import ANY_TYPE, ScopeContext, SmartScope
from gateway.identity.principal import Principal, ScopeSet

__all__ = ["Grant", "ScopeSet", "grant", "permission"]

# `u` covers update-as-create and patch; `r` covers vread and the history of one instance; `s` covers search and the
# history of a type or of the system. Metadata is public. SMART gives operations no scope, and batches and
# transactions none of their own (each entry is judged by its own): as a whole they are granted by no scope.
_PERMISSION: dict[InteractionCode, str] = {
    InteractionCode.CREATE: "c",
    InteractionCode.READ: "r",
    InteractionCode.VREAD: "r",
    InteractionCode.HISTORY_INSTANCE: "r",
    InteractionCode.UPDATE: "u",
    InteractionCode.PATCH: "u",
    InteractionCode.DELETE: "d",
    InteractionCode.SEARCH_TYPE: "s",
    InteractionCode.SEARCH_SYSTEM: "s",
    InteractionCode.HISTORY_TYPE: "s",
    InteractionCode.HISTORY_SYSTEM: "s",
    InteractionCode.CAPABILITIES: "",
}
_WHOLE_SYSTEM = frozenset({InteractionCode.SEARCH_SYSTEM, InteractionCode.HISTORY_SYSTEM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token's scopes say about one interaction on one type.

    `allowed` False: no scope covers it. `filters`: search queries (no `?`) of which at least one must match the
    payload, and the prior version too; empty means no such condition. `patient_only`: every Patient concerned must be
    the principal's `patient`. `otherwise`: a second grant that suffices on its own (set when both a filtered
    system/user scope and a patient scope cover the interaction); to ignore it can only refuse more.
    """

    allowed: bool
    filters: tuple[str, ...] = ()
    patient_only: bool = False
    otherwise: "Grant | None" = None


REFUSED = Grant(allowed=False)
UNCONDITIONAL = Grant(allowed=True)


def permission(code: InteractionCode, conditional: bool = False) -> str | None:
    """The letters of `cruds` that the interaction needs, all of them; None when no scope can grant it.

    `conditional`: the client sends a search with its write (`If-None-Exist`, `PUT [type]?…`). The answer tells whether
    a match exists, so it needs `s` as well; SMART itself says nothing about conditional forms.
    """
    letters = _PERMISSION.get(code)
    if letters and conditional and "s" not in letters:
        return letters + "s"
    return letters


def grant(principal: Principal, code: InteractionCode, type: str, *, conditional: bool = False) -> Grant:  # noqa: A002
    """What the principal's scopes say about `code` on resources of `type`.

    The search of a conditional write looks at more than the payload, so its `s` must come from a system or user scope
    without a query; a filtered or patient scope would let the client probe for records beyond it.
    """
    if not principal.enforce_scopes:
        return UNCONDITIONAL
    letters = permission(code, conditional)
    if letters is None:
        return REFUSED
    if not letters:
        return UNCONDITIONAL
    wanted = ANY_TYPE if code in _WHOLE_SYSTEM else type
    in_context = principal.patient is not None
    if len(letters) > 1 and _granted(principal.scopes, "s", wanted, in_context=in_context) != UNCONDITIONAL:
        return REFUSED
    return _granted(principal.scopes, letters[0], wanted, in_context=in_context)


@lru_cache(maxsize=4096)
def _granted(scopes: ScopeSet, letter: str, type: str, *, in_context: bool) -> Grant:  # noqa: A002
    """The same scopes come again and again: one client, one kind of write. `in_context`: the token names a Patient."""
    covering = [scope for scope in scopes.scopes if scope.covers(letter, type)]
    wide = _joined([s for s in covering if s.context is not ScopeContext.PATIENT], patient_only=False)
    # SMART: patient/ scopes speak of the patient in context; without one in the token they speak of nobody.
    narrow = _joined([s for s in covering if in_context and s.context is ScopeContext.PATIENT], patient_only=True)
    if wide is None:
        return narrow or REFUSED
    if not wide.filters or narrow is None:
        return wide
    return Grant(allowed=True, filters=wide.filters, otherwise=narrow)


def _joined(scopes: list[SmartScope], *, patient_only: bool) -> Grant | None:
    """The union of scopes of one kind: an unfiltered one makes the filters of the others void."""
    if not scopes:
        return None
    filters = tuple(dict.fromkeys(scope.query for scope in scopes))
    return Grant(allowed=True, filters=() if "" in filters else filters, patient_only=patient_only)
