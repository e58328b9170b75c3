"""Decision ids: 128 random bits that are a FHIR id, so that no client can guess another's."""

from gateway.randomness import randomness

_BYTES = 16


def new_decision_id() -> str:
    """32 hexadecimal digits: also the id of OperationOutcomes, which allows neither underscore nor more than 64."""
    return randomness.take(_BYTES).hex()
