"""Takes the bearer token out of the Authorization header, or refuses (RFC 6750 section 2.1, RFC 9110 chapter 11)."""

import re
from collections.abc import Sequence

from gateway.identity.refusal import invalid_request, invalid_token, no_credentials

MAX_TOKEN = 16_384  # bytes; real access tokens have 1-4 kB
_SCHEME = b"bearer"
_B64TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")


def extract(authorization: Sequence[bytes]) -> str:
    """The token of the one Authorization header; `authorization` holds the raw value of each such header.

    Raises Unauthenticated: without an error code when there are no bearer credentials at all.
    """
    if not authorization:
        raise no_credentials()
    if len(authorization) > 1:
        # Two servers on the way could each believe another one of them.
        raise invalid_request("Send exactly one Authorization header.")
    # The scheme compares without case (RFC 9110 section 11.1).
    scheme, space, token = authorization[0].partition(b" ")
    if scheme.lower() != _SCHEME:
        raise no_credentials("Only the authentication scheme Bearer is supported here.")
    if not space or not token:
        raise invalid_request("The Authorization header holds no token.")
    if len(token) > MAX_TOKEN:
        raise invalid_token("The token is too long.")
    if _B64TOKEN.fullmatch(token) is None:
        raise invalid_request("The Authorization header is not of the form Bearer, one space, token.")
    return token.decode("ascii")
