"""The strict shape of an access token, checked before any key or crypto is touched.

A JWT library reads more spellings than one (padding, equal keys, `exp` as a string); what passes here has one reading.
Rules: RFC 7515 (JWS), RFC 7519 (JWT), RFC 9068 (access tokens), RFC 8725 (best practice).
"""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import Unauthenticated
from gateway.fhir.json import Json, JsonObject
from gateway.identity.refusal import Fault, invalid_token
from gateway.identity.settings import IssuerSettings
from gateway.identity.strict_json import NotStrict, parse_object

_MAX_HEADER = 2_048  # characters of its base64url form
_MAX_AUDIENCES = 64
_MAX_NAME = 1_024  # characters of iss, sub and the client's id
_KID = re.compile(r"[\x20-\x7e]{1,256}")
_LATEST = 253_402_300_800.0  # the year 10000, in seconds since 1970
# RFC 7515 sections 4.1.11 (crit), RFC 7797 (b64), RFC 7516 (zip, enc); and everything that names or holds a key: no key
# or URL named inside a token is ever used, so a token that brings one is refused instead of half understood.
_REFUSED_HEADERS = ("crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c")
# Claims that only ID tokens and logout tokens have (OpenID Connect Core section 3.3.2.11, Back-Channel Logout section
# 2.4, RFC 8417): another kind of token of the same issuer must not pass for an access token (RFC 8725 section 3.12).
_FOREIGN_CLAIMS = ("at_hash", "c_hash", "s_hash", "events")
_ACCESS_TYPES = frozenset({"bearer", "at+jwt", "application/at+jwt", "access", "access_token"})
# The last characters that leave no stray bits, by the length of the text modulo 4.
_LAST = {0: b"", 2: b"AQgw", 3: b"AEIMQUYcgkosw048"}
# To the alphabet of binascii; what is not of base64url's own becomes a character that its strict mode refuses.
_URL_SAFE = bytes.maketrans(b"-_+/=", b"+/!!!")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenShape:
    """An unverified token that has exactly one reading. Nothing of it may be believed before the signature holds."""

    settings: IssuerSettings
    algorithm: str
    kid: str | None
    claims: JsonObject
    exp: float
    nbf: float | None
    iat: float | None
    signing_input: bytes
    signature: bytes


def read(token: str, issuers: Mapping[str, IssuerSettings]) -> TokenShape:
    """The shape of `token`, for one of `issuers` (by issuer name). Raises Unauthenticated, and nothing else."""
    header_text, payload_text, signature_text = _segments(token)
    if len(header_text) > _MAX_HEADER:
        raise invalid_token("The token's header is too long.")
    header = _object(header_text, "header")
    # Named before anything else: an unsigned or symmetric token needs no further look.
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise invalid_token("The token's header names no algorithm.")
    claims = _object(payload_text, "payload")
    settings = _issuer(claims, issuers)
    try:
        _check_header(header, algorithm, settings)
        exp, nbf, iat = _check_claims(claims, settings)
    except Unauthenticated as refused:
        refused.issuer = settings.issuer
        raise
    kid = header.get("kid")
    return TokenShape(
        settings=settings,
        algorithm=algorithm,
        kid=kid if isinstance(kid, str) else None,
        claims=claims,
        exp=exp,
        nbf=nbf,
        iat=iat,
        signing_input=token[: len(header_text) + 1 + len(payload_text)].encode("ascii"),
        signature=_decoded(signature_text, "signature"),
    )


def _segments(token: str) -> list[str]:
    segments = token.split(".")
    if len(segments) == 5:  # noqa: PLR2004 (RFC 7516 section 3.1)
        raise invalid_token("Encrypted tokens (JWE) are not supported.")
    if len(segments) != 3:  # noqa: PLR2004 (RFC 7515 section 3.1)
        raise invalid_token("The token is not a signed JWT; opaque tokens are not supported.")
    return segments


def _decoded(text: str, part: str) -> bytes:
    """Canonical base64url without padding (RFC 7515 section 2): each value has one spelling only."""
    content = text.encode("utf-8", "replace")
    rest = len(content) % 4
    last = _LAST.get(rest)
    if not content or last is None or (last and content[-1] not in last):
        raise invalid_token(f"The token's {part} is not canonical base64url.")
    try:
        return binascii.a2b_base64(content.translate(_URL_SAFE) + b"=" * (-rest % 4), strict_mode=True)
    except binascii.Error:
        raise invalid_token(f"The token's {part} is not canonical base64url.") from None


def _object(text: str, part: str) -> JsonObject:
    try:
        return parse_object(_decoded(text, part))
    except NotStrict as fault:
        raise invalid_token(f"The token's {part} {fault}.") from None


def _issuer(claims: JsonObject, issuers: Mapping[str, IssuerSettings]) -> IssuerSettings:
    # Exact, code point by code point (RFC 9068 section 4): no prefix, no trailing slash, no list.
    name = claims.get("iss")
    settings = issuers.get(name) if isinstance(name, str) else None
    if settings is None:
        raise invalid_token("The token's issuer is not one that this server takes.", Fault.UNKNOWN_ISSUER)
    return settings


def _check_header(header: JsonObject, algorithm: str, settings: IssuerSettings) -> None:
    if algorithm not in settings.algorithms:
        raise invalid_token("The token's algorithm is not accepted.")
    for name in _REFUSED_HEADERS:
        if name in header:
            raise invalid_token(f"A token header with {name} is not accepted.")
    typ = header.get("typ")
    if not isinstance(typ, str) or not settings.takes_type(typ):
        raise invalid_token("The token is not of an accepted type (typ).")
    if "cty" in header:
        raise invalid_token("Nested tokens are not supported.")
    if "kid" in header:
        kid = header["kid"]
        if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
            raise invalid_token("The token's key id (kid) is not accepted.")


def _check_claims(claims: JsonObject, settings: IssuerSettings) -> tuple[float, float | None, float | None]:
    if not _names_us(claims.get("aud"), settings):
        raise invalid_token("The token is not meant for this server (aud).", Fault.BAD_AUDIENCE)
    if "cnf" in claims:
        # RFC 8705 and RFC 9449: bound to a key of the sender. To take it as a bearer token would undo the binding.
        raise invalid_token("Sender-constrained tokens (cnf) are not supported.")
    for name in _FOREIGN_CLAIMS:
        if name in claims:
            raise invalid_token("The token is not an access token.")
    _check_kind(claims)
    if "sub" in claims:
        _check_name(claims["sub"], "sub")
    exp = _instant(claims, "exp")
    if exp is None:
        raise invalid_token("The token has no expiry (exp).")
    return exp, _instant(claims, "nbf"), _instant(claims, "iat")


def _check_kind(claims: JsonObject) -> None:
    """Keycloak says the kind in the claim `typ` (Bearer, ID, Refresh, Logout…), Cognito in `token_use`."""
    for name in ("typ", "token_use"):
        if name in claims:
            kind = claims[name]
            if not isinstance(kind, str) or kind.lower() not in _ACCESS_TYPES:
                raise invalid_token("The token is not an access token.")


def _check_name(value: Json, claim: str) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME:
        raise invalid_token(f"The token's claim {claim} is not accepted.")


def _names_us(aud: Json, settings: IssuerSettings) -> bool:
    if isinstance(aud, str):
        return aud in settings.audiences
    if not isinstance(aud, list) or len(aud) > _MAX_AUDIENCES:
        return False
    return all(isinstance(one, str) for one in aud) and any(one in settings.audiences for one in aud)


def _instant(claims: JsonObject, name: str) -> float | None:
    """A NumericDate (RFC 7519 section 2), or None when the claim is absent."""
    if name not in claims:
        return None
    value = claims[name]
    # bool is an int in Python, and a date as a string would pass in lenient libraries.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _LATEST:
        raise invalid_token(f"The token's claim {name} is not a sane date.")
    return float(value)
