"""Token + keys + now -> Principal: a pure function. The signature first, then time, then who it is.

The decision time is the moment of the check: a token that expires while its request is worked on stays good for that
request, and recovery after a crash never needs it.
"""

import re
from collections.abc import Mapping

from gateway.identity.key_set import KeySet
from gateway.identity.principal import Principal, ScopeSet
from gateway.identity.refusal import Fault, invalid_token
from gateway.identity.settings import IssuerSettings
from gateway.identity.shape import TokenShape, read

_MAX_CLIENT = 256  # characters
_MAX_SCOPES = 512
_PATIENT_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")  # http://hl7.org/fhir/R4/datatypes.html#id


def verify(token: str, issuers: Mapping[str, IssuerSettings], keys: Mapping[str, KeySet], now: float) -> Principal:
    """The principal of `token` at `now` (seconds since 1970), or Unauthenticated. Both maps go by issuer name."""
    shape = read(token, issuers)
    return accept(shape, keys.get(shape.settings.issuer, KeySet(keys={})), now)


def accept(shape: TokenShape, keys: KeySet, now: float) -> Principal:
    """The same for a token whose shape is known; `keys` are those of its own issuer, never of another."""
    settings = shape.settings
    key = keys.find(shape.kid, shape.algorithm)
    if key is None or not key.verifies(shape.signing_input, shape.signature):
        # One text for both: which keys exist is not told.
        fault = Fault.UNKNOWN_KEY if key is None else Fault.BAD_SIGNATURE
        raise invalid_token("The token's signature cannot be verified.", fault, issuer=settings.issuer)
    _check_time(shape, now)
    claims = shape.claims
    texts = _scope_texts(claims, settings)
    subject = claims.get("sub")
    return Principal(
        issuer=settings.issuer,
        client_id=_client(claims, settings),
        subject=subject if isinstance(subject, str) else None,
        patient=_patient(claims, settings),
        scope_texts=texts,
        scopes=ScopeSet.parse(texts),
        claims=claims,
        expires_at=shape.exp,
        enforce_scopes=settings.scopes != "ignore",
    )


def _check_time(shape: TokenShape, now: float) -> None:
    leeway, issuer = shape.settings.leeway, shape.settings.issuer
    # RFC 7519 section 4.1.4: "on or after" exp the token must not be accepted.
    if now >= shape.exp + leeway:
        raise invalid_token("The token has expired.", Fault.EXPIRED, issuer=issuer)
    if (shape.nbf is not None and now < shape.nbf - leeway) or (shape.iat is not None and now < shape.iat - leeway):
        raise invalid_token("The token is not valid yet.", Fault.NOT_YET_VALID, issuer=issuer)


def _client(claims: Mapping[str, object], settings: IssuerSettings) -> str:
    client = claims.get(settings.client_claim)
    if not isinstance(client, str) or not 0 < len(client) <= _MAX_CLIENT or not client.isprintable():
        raise invalid_token("The token does not name its client.", issuer=settings.issuer)
    return client


def _patient(claims: Mapping[str, object], settings: IssuerSettings) -> str | None:
    patient = claims.get(settings.patient_claim)
    if patient is None:
        return None
    if not isinstance(patient, str) or _PATIENT_ID.fullmatch(patient) is None:
        raise invalid_token("The token's patient in context is not a resource id.", issuer=settings.issuer)
    return patient


def _scope_texts(claims: Mapping[str, object], settings: IssuerSettings) -> tuple[str, ...]:
    """Only the configured claim is read: a token with both `scope` and `scp` does not get the sum of them."""
    value = claims.get(settings.scope_claim)
    if value is None:
        return ()
    if isinstance(value, str):
        # RFC 6749 section 3.3: separated by spaces, and by nothing else.
        texts = tuple(text for text in value.split(" ") if text)
    elif isinstance(value, list) and all(isinstance(text, str) for text in value):
        texts = tuple(value)
    else:
        raise invalid_token("The token's scopes cannot be read.", issuer=settings.issuer)
    if len(texts) > _MAX_SCOPES:
        raise invalid_token("The token has too many scopes.", issuer=settings.issuer)
    return texts
