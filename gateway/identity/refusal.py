"""The refusals of this room: what the client is told, and the word that metrics count.

Texts speak of the token's form only. Whether a key is unknown or a signature wrong is never told apart to the client.
"""

from enum import StrEnum

from gateway.errors import Issue, IssueCode, Unauthenticated


class Fault(StrEnum):
    """Why a token was not taken: a fixed set, fit for a metric label."""

    NO_CREDENTIALS = "no_credentials"
    MALFORMED = "malformed"
    UNKNOWN_ISSUER = "unknown_issuer"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    BAD_AUDIENCE = "bad_audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"


def no_credentials(text: str = "This request needs an access token: Authorization: Bearer.") -> Unauthenticated:
    """No usable credentials at all: RFC 6750 section 3.1 wants no error code then."""
    return Unauthenticated(Issue(code=IssueCode.LOGIN, text=text), error=None, reason=Fault.NO_CREDENTIALS)


def invalid_request(text: str) -> Unauthenticated:
    """Credentials that cannot be read in exactly one way."""
    return Unauthenticated(Issue(code=IssueCode.UNKNOWN, text=text), error="invalid_request", reason=Fault.MALFORMED)


def invalid_token(text: str, fault: Fault = Fault.MALFORMED, *, issuer: str | None = None) -> Unauthenticated:
    """A token that is not accepted (RFC 6750 section 3.1)."""
    code = IssueCode.EXPIRED if fault is Fault.EXPIRED else IssueCode.UNKNOWN
    return Unauthenticated(Issue(code=code, text=text), error="invalid_token", reason=fault, issuer=issuer)
