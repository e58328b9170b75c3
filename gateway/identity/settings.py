"""What an operator says about one issuer; a value of it that exists is safe to use."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

# Asymmetric only: with HS* the key that verifies also signs, and a public key could be taken for a secret
# (RFC 8725 section 2.1). `none` can never be configured.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
MAX_LEEWAY = 60.0  # seconds
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class UnsafeIssuer(ValueError):
    """Settings that must not be used. `problems` lists all of them as (field name, text)."""

    def __init__(self, problems: tuple[tuple[str, str], ...]) -> None:
        super().__init__("; ".join(f"{name}: {text}" for name, text in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSettings:
    """One issuer whose tokens are taken.

    `issuer` and `audiences` are compared code point by code point (RFC 9068 section 4). Without `jwks_uri` the keys
    are found by the issuer's discovery document. `token_types`: accepted `typ` headers, case-insensitive, the prefix
    `application/` optional. `leeway`: seconds of clock skew for exp, nbf and iat. `scopes`: `smart` makes SMART scopes
    an upper bound, `ignore` leaves everything to policies. The `*_claim` names say where client id, scopes and the
    patient in context stand. `allow_insecure` permits http:// beyond loopback. Raises UnsafeIssuer.
    """

    issuer: str
    audiences: tuple[str, ...]
    jwks_uri: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "RS384", "ES256", "ES384")
    token_types: tuple[str, ...] = ("at+jwt",)
    leeway: float = 30.0
    scopes: Literal["smart", "ignore"] = "smart"
    client_claim: str = "client_id"
    scope_claim: str = "scope"
    patient_claim: str = "patient"
    allow_insecure: bool = False

    def __post_init__(self) -> None:
        problems = tuple(_problems(self))
        if problems:
            raise UnsafeIssuer(problems)

    def takes_type(self, typ: str) -> bool:
        """Whether a `typ` header is one of `token_types`: media types compare without case (RFC 9110 section 8.3.1)."""
        return _plain_type(typ) in {_plain_type(taken) for taken in self.token_types}


def url_problem(url: str, *, allow_insecure: bool = False) -> str | None:
    """Why keys must not be fetched from `url`, or None: https, or http on loopback, no user info, no fragment."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "is not a URL"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("https", "http") or not host:
        return "has to be an https:// URL"
    if parts.username is not None or parts.password is not None or "#" in url:
        return "must have no user info and no fragment"
    if parts.scheme == "http" and host not in _LOOPBACK and not allow_insecure:
        return "uses http:// for a host that is not loopback"
    return None


def _plain_type(typ: str) -> str:
    return typ.lower().removeprefix("application/")


def _problems(settings: IssuerSettings) -> "list[tuple[str, str]]":
    found: list[tuple[str, str]] = []
    for name, url in (("issuer", settings.issuer), ("jwks_uri", settings.jwks_uri)):
        problem = None if url is None else url_problem(url, allow_insecure=settings.allow_insecure)
        if problem is not None:
            found.append((name, problem))
    if "?" in settings.issuer:
        found.append(("issuer", "must have no query"))  # RFC 8414 section 2
    if not settings.audiences or any(a in ("", "*") for a in settings.audiences):
        found.append(("audiences", "name at least one audience, exactly; there is no wildcard"))
    if not settings.algorithms or not set(settings.algorithms) <= set(ALGORITHMS):
        found.append(("algorithms", f"name one or more of {', '.join(ALGORITHMS)}"))
    if not settings.token_types or not all(settings.token_types):
        found.append(("token_types", "name at least one type, such as at+jwt"))
    if not 0 <= settings.leeway <= MAX_LEEWAY:
        found.append(("leeway", f"has to be from 0 to {MAX_LEEWAY:.0f} seconds"))
    if settings.scopes not in ("smart", "ignore"):
        found.append(("scopes", "has to be smart or ignore"))
    found.extend(
        (f"claims.{name}", "has to name a claim")
        for name, claim in (
            ("client", settings.client_claim),
            ("scope", settings.scope_claim),
            ("patient", settings.patient_claim),
        )
        if not claim
    )
    return found
