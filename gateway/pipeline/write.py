"""One write, as a straight line: read, gather, decide, journal, forward, verify, commit or compensate.

Steps 4 to 10 of the line. Every `raise` before `_forward` means that no byte left for the FHIR server.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from gateway import steady_clock
from gateway.errors import Issue, IssueCode, Malformed, PreconditionFailed, Unavailable, Unprocessable
from gateway.fhir import media_type, shape
from gateway.fhir.compartment import patient_links
from gateway.fhir.idempotency_key import idempotency_key
from gateway.fhir.interaction import Create, InteractionCode, Update, Write
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.identity.principal import Principal
from gateway.identity.scopes import Grant
from gateway.pipeline import scope
from gateway.pipeline.claim import Claim
from gateway.pipeline.ending import ended, in_doubt, judged, nothing_written
from gateway.pipeline.gather import Gathered, Gatherer
from gateway.pipeline.idempotency import KeyedWrites
from gateway.pipeline.intents import Began, facts_json, intent_of
from gateway.pipeline.outgoing import body_of, prefer_of, upstream_write, with_location
from gateway.pipeline.patients import Patients
from gateway.pipeline.refusal import NOT_PERMITTED, refusals, warnings
from gateway.pipeline.request import Answer, Forwarded, Refusal, Request, Trace
from gateway.pipeline.stored import Reader
from gateway.policy.decision import AfterNeed, Decision, Phase, Verdict
from gateway.policy.engine import decide, select
from gateway.policy.facts import ClientFacts, Facts, RequestFacts
from gateway.policy.policy_set import PolicySet
from gateway.policy.selection import Selection
from gateway.saga.intent import NO_FACTS, Intent
from gateway.saga.journal_port import JournalUnavailable, NotOwner
from gateway.saga.ports import AnswerLost, NotSent, Upstream, UpstreamAnswer, UpstreamRequest
from gateway.saga.settle import Settled, Settler

_LARGE = 200_000  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """The write line with its ports. `decision_seconds` bounds the judging of one phase.

    `journals_all`: every write is recorded before it leaves, not only one that may have to be undone.
    """

    upstream: Upstream
    gatherer: Gatherer
    patients: Patients
    settler: Settler
    reader: Reader
    policies: Callable[[], PolicySet]
    limits: BodyLimits
    decision_seconds: float
    recording: Callable[[], bool]
    guarded_update: Callable[[], bool]
    new_write_id: Callable[[], str]
    keyed: KeyedWrites
    assigns_ids: Callable[[], bool] = lambda: False
    server_time: Callable[[], float | None] = lambda: None
    journals_all: bool = False
    tags_writes: Callable[[], bool] = lambda: False

    async def write(self, request: Request, write: Write, principal: Principal, trace: Trace) -> Answer:
        """Judge one create or update and, if allowed, see it through to its end."""
        if not self.recording():
            raise Unavailable(Issue(code=IssueCode.NO_STORE, text="Decisions cannot be recorded at the moment."))
        code = InteractionCode.CREATE if isinstance(write, Create) else InteractionCode.UPDATE
        conditional = isinstance(write, Create) and write.if_none_exist is not None
        granted = scope.granted(principal, code, write.type, conditional=conditional)
        media_type.content_type(request.values("content-type"))
        media_type.accept(request.values("accept"))
        key = trace.idempotency_key = idempotency_key(request.values("idempotency-key"))
        trace.body = body = await request.body()
        if len(body) > _LARGE:
            # Reading megabytes takes long: on a thread, so that the others' requests go on (PROMISES 10).
            resource = await asyncio.to_thread(read_resource, body, write, self.limits)
        else:
            resource = read_resource(body, write, self.limits)

        policies = self.policies()
        trace.revision = policies.revision
        client = ClientFacts(id=principal.client_id, issuer=principal.issuer, scopes=principal.scope_texts)
        asked = _Asked(
            request=request,
            write=write,
            principal=principal,
            client=client,
            resource=resource,
            granted=granted,
            policies=policies,
            selection=select(policies, code, write.type, client, principal.claims),
        )
        if key is None:
            return await self._judged(asked, trace)
        claim = self.keyed.claim(key, write, body, principal)
        if (known := await self.keyed.known(claim, trace)) is not None:
            return await self._again(known, asked, trace)
        try:
            return await self._judged(asked, trace, claim)
        except NotOwner:
            # Another one under the same key was faster at the journal's index. Nothing was sent for this one.
            trace.write_id = None
            if (known := await self.keyed.known(claim, trace)) is None:
                raise nothing_written() from None
            return await self._again(known, asked, trace)

    async def _again(self, known: Intent, asked: "_Asked", trace: Trace) -> Answer:
        """The client asks again: who asks is judged anew, what was asked was judged when it was first sent.

        Rules are not judged a second time. They would look at what the first write itself has changed, and a refusal
        would tell the client that nothing is stored.
        """
        write, principal = asked.write, asked.principal
        if not any(asked.selection.code in policy.permit for policy in asked.selection.policies):
            return Refusal(issues=(NOT_PERMITTED,))
        links = patient_links(asked.resource, self.gatherer.bases, creating=isinstance(write, Create))
        concerned = scope.Concerned.of(links)
        scope.bound(asked.granted, principal, asked.resource, None, concerned)
        may_read = scope.may_read(principal, write.type, asked.resource, concerned)
        return await self.keyed.replay(known, trace, prefer=prefer_of(asked.request), may_read=may_read)

    async def _judged(self, asked: "_Asked", trace: Trace, claim: Claim | None = None) -> Answer:
        """Steps 5 to 10: gather, decide, and if it is allowed, send."""
        write, principal, resource = asked.write, asked.principal, asked.resource
        gathered = await self._gather(write, resource, asked.selection.needs_patient, trace)
        _same_version(write, gathered)
        scope.bound(asked.granted, principal, resource, gathered.prior.resource, gathered.concerned)

        id_ = write.id if isinstance(write, Update) else None
        facts = Facts(
            request=RequestFacts(interaction=asked.selection.code, type=write.type, id=id_, time=now_text()),
            client=asked.client,
            claims=principal.claims,
            resource=resource,
            prior=gathered.prior.resource,
            patients=gathered.patients,
        )
        started = time.perf_counter()
        late = started + self.decision_seconds
        judge = partial(decide, asked.selection, facts, Phase.BEFORE, deadline=lambda: time.perf_counter() > late)
        decision = await asyncio.to_thread(judge) if len(trace.body) > _LARGE else judge()
        trace.decide_seconds = time.perf_counter() - started
        trace.decision = decision
        if decision.verdict is not Verdict.ALLOW:
            return Refusal(issues=refusals(decision, write.type))
        allowed = _Allowed(
            asked=asked,
            facts=facts,
            decision=decision,
            gathered=gathered,
            claim=claim,
            # Before the first byte, whenever the intent is made: what is stored is looked for by it.
            began=Began(steady_clock.now(), self.server_time()),
        )
        return await self._forward(allowed, trace)

    async def _gather(self, write: Write, resource: JsonObject, patients: bool, trace: Trace) -> Gathered:
        started = time.perf_counter()
        gathered = await self.gatherer.gather(write, resource, patients=patients)
        trace.gather_seconds = time.perf_counter() - started
        trace.patients = gathered.concerned.ids
        trace.patients_read, trace.patients_cached = gathered.fetched, gathered.cached
        return gathered

    async def _forward(self, allowed: "_Allowed", trace: Trace) -> Answer:
        asked, decision, prior = allowed.asked, allowed.decision, allowed.gathered.prior
        write = asked.write
        may_read = scope.may_read(asked.principal, write.type, asked.resource, allowed.gathered.concerned)
        trace.write_id = write_id = self.new_write_id()
        guard = prior.version or prior.tombstone
        assigned = f"g-{write_id}" if self.assigns_ids() and _is_plain_create(write) else None
        tagged = isinstance(write, Create) and self.tags_writes()
        most = self.limits.bytes
        sent = await body_of(trace.body, write_id, assigned_id=assigned, tagged=tagged, most=most)
        allowed.sent, allowed.assigned = sent, assigned
        upstream_request = upstream_write(
            write, sent, guard, write_id, asked.request, may_read=may_read, assigned_id=assigned, tagged=tagged
        )
        touched = write.id if isinstance(write, Update) and write.type == "Patient" else None
        if touched is not None:
            self.patients.write_begins(touched)
        started = time.perf_counter()
        try:
            answer = await self._through(upstream_request, allowed, trace)
        finally:
            trace.upstream_seconds = time.perf_counter() - started
            if touched is not None:
                self.patients.write_ends(touched)
        if isinstance(answer, Refusal):
            return answer
        trace.upstream_status = answer.status
        warned = warnings(decision, write.type) + (warnings(trace.after, write.type) if trace.after else ())
        # A success's body is the resource: not for a client that may not read it.
        body = answer.body if may_read or answer.status >= 300 else b""  # noqa: PLR2004
        headers = answer.headers if assigned is None else with_location(answer)
        return Forwarded(status=answer.status, headers=headers, body=body, warnings=warned)

    async def _through(
        self, upstream_request: UpstreamRequest, allowed: "_Allowed", trace: Trace
    ) -> UpstreamAnswer | Refusal:
        """Send it: journalled and settled if something may have to be undone, plainly otherwise."""
        judges = allowed.decision.after is AfterNeed.UNDO or self._can_be_overtaken(allowed)
        if judges or self.journals_all or allowed.claim is not None:
            settled = await self._settled(_intent(allowed, trace, read_back=judges), upstream_request, allowed, trace)
            answer = ended(settled, allowed.asked.write.type, trace)
            if not judges and isinstance(answer, UpstreamAnswer):
                await self._observe(answer, allowed, trace)
            return answer
        try:
            answer = await self.upstream.send(upstream_request)
        except NotSent:
            raise nothing_written() from None
        except AnswerLost as lost:
            # No write stays in doubt (PROMISES 6): from here on it is recorded, and looked for.
            trace.reason = "the answer timed out" if lost.timed_out else "the connection broke before the answer"
            try:
                settled = await self.settler.start(_intent(allowed, trace), None)
            except JournalUnavailable:
                raise in_doubt(timed_out=lost.timed_out) from None
            return ended(settled, allowed.asked.write.type, trace)
        await self._observe(answer, allowed, trace)
        return answer

    async def _settled(
        self, intent: Intent, upstream_request: UpstreamRequest, allowed: "_Allowed", trace: Trace
    ) -> Settled:
        """Settle it with the facts at hand, unless what is sent is not what they were read from."""
        if allowed.sent is not trace.body:
            return await self.settler.start(intent, upstream_request)
        self.reader.at_hand[intent.decision_id] = allowed.facts
        try:
            return await self.settler.start(intent, upstream_request)
        finally:
            del self.reader.at_hand[intent.decision_id]

    async def _observe(self, answer: UpstreamAnswer, allowed: "_Allowed", trace: Trace) -> None:
        if allowed.decision.after is not AfterNeed.OBSERVE:
            return
        facts = allowed.facts
        if allowed.sent is not trace.body and allowed.assigned is None:
            facts = replace(facts, resource=parse(allowed.sent, self.limits))  # what is stored has the tag, too
        judged(await self.reader.observe(answer, facts, allowed.asked.policies, allowed.decision.applied), trace)

    def _can_be_overtaken(self, allowed: "_Allowed") -> bool:
        """Whether another writer could slip in between the version that was judged and this write, unseen.

        No guard holds for what was not there (servers ignore `If-None-Match: *` on PUT, and `If-Match` on nothing), and
        some servers ignore `If-Match` altogether: settling looks at what the write replaced, and puts it back.
        """
        return isinstance(allowed.asked.write, Update) and (
            allowed.gathered.prior.version is None or not self.guarded_update()
        )


def _intent(allowed: "_Allowed", trace: Trace, *, read_back: bool = True) -> Intent:
    return intent_of(
        write=allowed.asked.write,
        body=allowed.sent,
        prior=allowed.gathered.prior,
        decision_id=trace.decision_id,
        write_id=trace.write_id or "",
        revision=allowed.asked.policies.revision,
        applied=allowed.decision.applied,
        facts=facts_json(allowed.facts) if read_back else NO_FACTS,
        principal=allowed.asked.principal,
        began=allowed.began,
        assigned_id=allowed.assigned,
        read_back=read_back,
        claim=allowed.claim,
    )


def _is_plain_create(write: Write) -> bool:
    return isinstance(write, Create) and write.if_none_exist is None


@dataclass(slots=True, kw_only=True)
class _Asked:
    """A write that was read, within the token's scopes, and the policies that are about it."""

    request: Request
    write: Write
    principal: Principal
    client: ClientFacts
    resource: JsonObject
    granted: Grant
    policies: PolicySet
    selection: Selection


@dataclass(slots=True, kw_only=True)
class _Allowed:
    """A write that the engine let through, with everything it was judged by.

    `sent` is the body as it leaves: the judged bytes, but for an id that the gateway `assigned`, or a tag.
    """

    asked: _Asked
    facts: Facts
    decision: Decision
    gathered: Gathered
    claim: Claim | None
    began: Began
    sent: bytes = b""
    assigned: str | None = None


def read_resource(body: bytes, write: Write, limits: BodyLimits) -> JsonObject:
    """Step 4: one reading, and the type and id that the URL names. Raises Malformed, TooLarge, Unprocessable."""
    resource = parse(body, limits)
    named = resource.get("resourceType")
    if named != write.type:
        raise Malformed(
            Issue(
                code=IssueCode.INVALID,
                text=f"The body's resourceType is not {write.type}, the type that the URL names.",
                expression=("resourceType",),
            )
        )
    if isinstance(write, Update) and resource.get("id") != write.id:
        # http://hl7.org/fhir/R4/http.html#update: the resource SHALL contain an id that is identical to the URL's.
        raise Malformed(
            Issue(
                code=IssueCode.INVALID,
                text="The body's id has to be the id that the URL names.",
                expression=(f"{write.type}.id",),
            )
        )
    if problems := shape.check(resource):
        raise Unprocessable(*problems)
    return resource


def now_text() -> str:
    """The frozen time of a decision, RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _same_version(write: Write, gathered: Gathered) -> None:
    """The client's own If-Match, judged here: servers differ (HAPI ignores it where nothing exists)."""
    if isinstance(write, Update) and write.if_match is not None and write.if_match != gathered.prior.version:
        raise PreconditionFailed(
            Issue(code=IssueCode.CONFLICT, text="If-Match does not name the current version; read it again first.")
        )
