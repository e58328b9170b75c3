"""Step 9 of the line: what the server stored, judged by the rules of phase `after`.

The same `decide` as before the write. Used by the live path, by retries and by recovery alike, so everything it
needs comes out of the intent or out of the facts of the write, never out of the request.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.errors import GatewayError
from gateway.fhir.compartment import patient_links
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.pipeline.gather import Gatherer
from gateway.pipeline.intents import facts_of
from gateway.policy.decision import Decision, Phase
from gateway.policy.engine import decide
from gateway.policy.facts import Facts, PatientFacts
from gateway.policy.policy_set import PolicySet
from gateway.policy.selection import select_recorded
from gateway.saga.intent import Intent
from gateway.saga.ports import AnswerLost, NotSent, Upstream, UpstreamAnswer, UpstreamRequest
from gateway.saga.settle import Verified

_VERSIONED = re.compile(r"(?:\A|/)([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}/_history/[A-Za-z0-9\-.]{1,64})\Z")
_READ_HEADERS = ((b"accept", b"application/fhir+json"), (b"cache-control", b"no-cache"))


class PoliciesLost(Exception):
    """The policies that let a write in can no longer be compiled; a person has to decide about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The decision on what is stored, and how many seconds its rules took (without the reads before it)."""

    decision: Decision
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Judges what is stored. `recorded` finds the policy set of a revision, also one that is no longer in force.

    `at_hand` holds, by decision id, the facts of writes whose client is waiting: what their intents say, already read.
    """

    upstream: Upstream
    gatherer: Gatherer
    limits: BodyLimits
    recorded: Callable[[str], "PolicySet | None"]
    late: Callable[[], Callable[[], bool]]
    at_hand: dict[str, Facts] = field(default_factory=dict)

    async def verify(self, intent: Intent, stored: JsonObject) -> Verified:
        """Judge a journalled write under the policies it was let in by. Raises PoliciesLost, Unavailable."""
        policies = self.recorded(intent.policy_revision)
        if policies is None:
            # No GatewayError: it must not count as a rule that does not hold. Settling tries again, then alarms.
            raise PoliciesLost(intent.policy_revision)
        facts = self.at_hand.get(intent.decision_id) or facts_of(intent, self.limits)
        judged = await self._judge(facts, stored, policies, intent.applied)
        failed = tuple(f"{outcome.policy}/{outcome.rule}" for outcome in judged.decision.refusals)
        return Verified(holds=not failed, failed=failed, detail=judged)

    async def observe(
        self, answer: UpstreamAnswer, facts: Facts, policies: PolicySet, applied: tuple[str, ...]
    ) -> Judgement | None:
        """Judge rules that only warn or count. Whatever goes wrong here changes nothing: the write was allowed."""
        if answer.status not in (200, 201):
            return None
        place = answer.header(b"location") or answer.header(b"content-location") or ""
        found = _VERSIONED.search(place)
        if found is None or not found[1].startswith(f"{facts.request.type}/"):
            return None
        try:
            read = await self.upstream.send(UpstreamRequest(method="GET", path=found[1], headers=_READ_HEADERS))
            if read.status != 200:  # noqa: PLR2004
                return None
            return await self._judge(facts, parse(read.body, self.limits), policies, applied)
        except (NotSent, AnswerLost, GatewayError):
            return None

    async def _judge(
        self, facts: Facts, stored: JsonObject, policies: PolicySet, applied: tuple[str, ...]
    ) -> Judgement:
        request = facts.request
        selection = select_recorded(policies, request.interaction, request.type, applied)
        patients = PatientFacts()
        if selection.needs_patient_after:
            bases = self.gatherer.bases
            creating = request.interaction is InteractionCode.CREATE
            links = (patient_links(facts.resource, bases, creating=creating), patient_links(stored, bases))
            patients = await self.gatherer.read_patients(links, fresh=True)
        judged = replace(facts, stored=stored, patients=patients)
        started = time.perf_counter()
        decision = decide(selection, judged, Phase.AFTER, deadline=self.late(), applied=applied)
        return Judgement(decision=decision, seconds=time.perf_counter() - started)
