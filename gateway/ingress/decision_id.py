"""Decision ids: 128 random bits that are a FHIR id, so that no client can guess another's."""

import base64
import secrets

_BYTES = 16


def new_decision_id() -> str:
    """26 characters of `a-z 2-7`: it is also the id of OperationOutcomes, which allows no underscore."""
    return base64.b32encode(secrets.token_bytes(_BYTES)).decode("ascii").rstrip("=").lower()
