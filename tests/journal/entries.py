"""Intents for the journal's tests."""

from gateway.fhir.interaction import InteractionCode
from gateway.saga.intent import Intent, new_write_id


def entry(number: int = 1, *, started_at: float = 1000.0, body: bytes = b"{}") -> Intent:
    return Intent(
        decision_id=f"d{number}",
        write_id=new_write_id(),
        interaction=InteractionCode.UPDATE,
        type="Observation",
        epoch=1,  # what every journal begins with
        id="o1",
        body=body,
        prior_version="1",
        prior_body=b'{"secret":"prior"}',
        policy_revision="r1",
        applied=("lab",),
        facts='{"claims":{"secret":"fact"}}',
        client_id="c",
        issuer="i",
        started_at=started_at,
        server_time=started_at - 7.5,
        next_attempt_at=started_at,
    )
