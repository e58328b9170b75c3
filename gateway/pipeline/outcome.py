"""`$write-outcome`: what became of a write, told to the client that made it and to nobody else."""

import json
from dataclasses import dataclass

from gateway.errors import Issue, IssueCode, NotFound
from gateway.identity.principal import Principal
from gateway.saga.intent import Intent, State
from gateway.saga.journal_port import Journal

_WORDS = {
    State.INTENDED: "open",
    State.STORED: "open",
    State.COMPENSATING: "open",
    State.COMMITTED: "committed",
    State.UNDONE: "undone",
    State.REJECTED: "undone",
    State.STUCK: "stuck",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeOf:
    """Answers from the journal alone, so also after a crash."""

    journal: Journal

    async def of(self, decision_id: str, principal: Principal) -> bytes:
        """A Parameters resource with `outcome`. Raises NotFound alike for unknown ids and other clients' ids."""
        intent = await self.journal.get(decision_id)
        if intent is None or (intent.client_id, intent.issuer) != (principal.client_id, principal.issuer):
            raise NotFound(
                Issue(
                    code=IssueCode.NOT_FOUND,
                    text="No journalled write of this client has that decision id. "
                    "Writes to which no policy applies an after rule are journalled only under an Idempotency-Key.",
                )
            )
        return json.dumps(_parameters(intent)).encode()


def _parameters(intent: Intent) -> dict[str, object]:
    parameter: list[dict[str, object]] = [
        {"name": "outcome", "valueCode": _WORDS[intent.state]},
        {"name": "interaction", "valueCode": intent.interaction.value},
        {"name": "type", "valueCode": intent.type},
    ]
    if intent.state is State.COMMITTED and intent.stored_id:
        parameter.append({"name": "reference", "valueString": f"{intent.type}/{intent.stored_id}"})
    return {"resourceType": "Parameters", "parameter": parameter}
