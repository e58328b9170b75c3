"""Decision ids: 128 random bits, url-safe, unguessable, so that one client cannot ask for another's outcome."""

import secrets

_BYTES = 16


def new_decision_id() -> str:
    """22 characters of `A-Z a-z 0-9 - _`."""
    return secrets.token_urlsafe(_BYTES)
