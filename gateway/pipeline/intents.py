"""Makes the intent of a write, and reads the facts back out of one: what recovery judges by.

The facts travel as JSON inside the journal, so that a write can be judged again after a crash, when its request
is long gone. The token itself is never kept: recovery does not need it.
"""

import json
from dataclasses import dataclass

from pydantic_core import to_json

from gateway.fhir.interaction import Create, InteractionCode, Update, Write
from gateway.fhir.resource import BodyLimits, parse
from gateway.identity.principal import Principal
from gateway.pipeline.claim import Claim
from gateway.pipeline.gather import Prior
from gateway.policy.facts import ClientFacts, Facts, RequestFacts
from gateway.saga.intent import Intent, beginning


@dataclass(frozen=True, slots=True)
class Began:
    """When a write was about to be sent: by our steady clock, and by the FHIR server's own where it told the time."""

    at: float
    by_server: float | None


def intent_of(
    *,
    write: Write,
    body: bytes,
    prior: Prior,
    decision_id: str,
    write_id: str,
    revision: str,
    applied: tuple[str, ...],
    facts: str,
    principal: Principal,
    began: Began,
    assigned_id: str | None = None,
    read_back: bool = True,
    claim: Claim | None = None,
) -> Intent:
    """The intent of a write that is about to be sent, or was, as it is sent. The journal names its owner."""
    return beginning(
        decision_id=decision_id,
        write_id=write_id,
        interaction=InteractionCode.CREATE if isinstance(write, Create) else InteractionCode.UPDATE,
        type=write.type,
        id=write.id if isinstance(write, Update) else assigned_id,
        if_none_exist=write.if_none_exist if isinstance(write, Create) else None,
        body=body,
        prior_version=prior.version,
        prior_body=prior.body,
        prior_tombstone=prior.tombstone,
        policy_revision=revision,
        applied=applied,
        facts=facts,
        client_id=principal.client_id,
        issuer=principal.issuer,
        started_at=began.at,
        server_time=began.by_server,
        read_back=read_back,
        idempotency_key=None if claim is None else claim.keys[0],
        request_hash=None if claim is None else claim.requests[0],
    )


def facts_json(facts: Facts) -> str:
    """What a rule of phase `after` may look at and the journal does not hold elsewhere."""
    kept = {
        "claims": dict(facts.claims),
        "client": {"id": facts.client.id, "issuer": facts.client.issuer, "scopes": facts.client.scopes},
        "request": {
            "interaction": facts.request.interaction.value,
            "type": facts.request.type,
            "id": facts.request.id,
            "time": facts.request.time,
        },
    }
    try:
        return to_json(kept).decode()
    except ValueError:  # half a surrogate pair in a claim, which is no UTF-8
        return json.dumps(kept)


def facts_of(intent: Intent, limits: BodyLimits) -> Facts:
    """The facts of a journalled write, without Patients: those are read anew."""
    kept = json.loads(intent.facts)
    request, client = kept["request"], kept["client"]
    return Facts(
        request=RequestFacts(
            interaction=InteractionCode(request["interaction"]),
            type=request["type"],
            id=request["id"],
            time=request["time"],
        ),
        client=ClientFacts(id=client["id"], issuer=client["issuer"], scopes=tuple(client["scopes"])),
        claims=kept["claims"],
        resource=parse(intent.body, limits),
        prior=parse(intent.prior_body, limits) if intent.prior_body is not None else None,
    )
