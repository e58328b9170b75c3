"""Who sends the request: the values of a verified token, and nothing that was not verified."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.fhir.smart_scope import SmartScope, parse_all


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeSet:
    """The SMART scopes of a token, each once. Scopes that are not SMART's (`openid`) are not in it."""

    scopes: tuple[SmartScope, ...] = ()

    @classmethod
    def parse(cls, texts: tuple[str, ...]) -> "ScopeSet":
        """Reads the scope texts of a token; what is not a SMART scope grants nothing."""
        return cls(scopes=parse_all(texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A verified caller.

    `patient` is the id of the Patient in context (no `Patient/`), or None. `claims` are the token's claims as
    verified: shared between requests, to be read only. `expires_at` is the token's `exp` in seconds since 1970.
    `enforce_scopes` is False for issuers whose scopes are configured to be ignored.
    """

    issuer: str
    client_id: str
    subject: str | None
    patient: str | None
    scope_texts: tuple[str, ...]
    scopes: ScopeSet
    claims: Mapping[str, object] = field(repr=False)
    expires_at: float
    enforce_scopes: bool
