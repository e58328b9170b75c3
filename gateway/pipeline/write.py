"""One write, as a straight line: read, gather, decide, journal, forward, verify, commit or compensate.

Steps 4 to 10 of the line. Every `raise` before `_forward` means that no byte left for the FHIR server.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from gateway.errors import (
    Issue,
    IssueCode,
    Malformed,
    PreconditionFailed,
    Severity,
    Unavailable,
    Unprocessable,
    UpstreamFault,
    UpstreamTimedOut,
)
from gateway.fhir import media_type, shape
from gateway.fhir.assigned_id import with_id
from gateway.fhir.interaction import Create, InteractionCode, Update, Write
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.identity.principal import Principal
from gateway.pipeline import scope
from gateway.pipeline.gather import Gathered, Gatherer, Prior
from gateway.pipeline.intents import facts_json, intent_of
from gateway.pipeline.patients import Patients
from gateway.pipeline.refusal import after_refusals, refusals, warnings
from gateway.pipeline.request import Answer, Forwarded, Refusal, Request, Trace
from gateway.pipeline.stored import Judgement, Reader
from gateway.policy.decision import AfterNeed, Decision, Phase, Verdict
from gateway.policy.engine import decide, select
from gateway.policy.facts import ClientFacts, Facts, RequestFacts
from gateway.policy.policy_set import PolicySet
from gateway.saga.compensation import UndoAction
from gateway.saga.intent import Intent, State
from gateway.saga.journal_port import JournalUnavailable
from gateway.saga.ports import AnswerLost, Headers, NotSent, Upstream, UpstreamAnswer, UpstreamRequest
from gateway.saga.settle import Settled, Settler

_LARGE = 200_000  # bytes
_CONTENT_TYPE = (b"content-type", b"application/fhir+json; charset=utf-8")
_ACCEPT = (b"accept", b"application/fhir+json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """The write line with its ports. `decision_seconds` bounds the judging of one phase."""

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
    assigns_ids: Callable[[], bool] = lambda: False

    async def write(self, request: Request, write: Write, principal: Principal, trace: Trace) -> Answer:
        """Judge one create or update and, if allowed, see it through to its end."""
        if not self.recording():
            raise Unavailable(Issue(code=IssueCode.NO_STORE, text="Decisions cannot be recorded at the moment."))
        code = InteractionCode.CREATE if isinstance(write, Create) else InteractionCode.UPDATE
        conditional = isinstance(write, Create) and write.if_none_exist is not None
        granted = scope.granted(principal, code, write.type, conditional=conditional)
        media_type.content_type(request.values("content-type"))
        media_type.accept(request.values("accept"))
        trace.body = body = await request.body()
        if len(body) > _LARGE:
            # Reading megabytes takes long: on a thread, so that the others' requests go on (PROMISES 10).
            resource = await asyncio.to_thread(read_resource, body, write, self.limits)
        else:
            resource = read_resource(body, write, self.limits)

        policies = self.policies()
        trace.revision = policies.revision
        client = ClientFacts(id=principal.client_id, issuer=principal.issuer, scopes=principal.scope_texts)
        selection = select(policies, code, write.type, client, principal.claims)
        gathered = await self._gather(write, resource, selection.needs_patient, trace)
        _same_version(write, gathered)
        scope.bound(granted, principal, resource, gathered.prior.resource, gathered.concerned)

        id_ = write.id if isinstance(write, Update) else None
        facts = Facts(
            request=RequestFacts(interaction=code, type=write.type, id=id_, time=now_text()),
            client=client,
            claims=principal.claims,
            resource=resource,
            prior=gathered.prior.resource,
            patients=gathered.patients,
        )
        started = time.perf_counter()
        late = started + self.decision_seconds
        judge = partial(decide, selection, facts, Phase.BEFORE, deadline=lambda: time.perf_counter() > late)
        decision = await asyncio.to_thread(judge) if len(body) > _LARGE else judge()
        trace.decide_seconds = time.perf_counter() - started
        trace.decision = decision
        if decision.verdict is not Verdict.ALLOW:
            return Refusal(issues=refusals(decision, write.type))
        allowed = _Allowed(
            write=write,
            principal=principal,
            facts=facts,
            decision=decision,
            prior=gathered.prior,
            concerned=gathered.concerned,
            policies=policies,
        )
        return await self._forward(request, allowed, trace)

    async def _gather(self, write: Write, resource: JsonObject, patients: bool, trace: Trace) -> Gathered:
        started = time.perf_counter()
        gathered = await self.gatherer.gather(write, resource, patients=patients)
        trace.gather_seconds = time.perf_counter() - started
        trace.patients = gathered.concerned.ids
        trace.patients_read, trace.patients_cached = gathered.fetched, gathered.cached
        return gathered

    async def _forward(self, request: Request, allowed: "_Allowed", trace: Trace) -> Answer:
        write, decision = allowed.write, allowed.decision
        may_read = scope.may_read(allowed.principal, write.type, allowed.facts.resource, allowed.concerned)
        trace.write_id = write_id = self.new_write_id()
        guard = allowed.prior.version or allowed.prior.tombstone
        assigned = f"g-{write_id}" if self.assigns_ids() and _is_plain_create(write) else None
        sent = trace.body if assigned is None else await _with_id(trace.body, assigned)
        allowed = replace(allowed, sent=sent, assigned=assigned)
        upstream_request = upstream_write(
            write, sent, guard, write_id, request, may_read=may_read, assigned_id=assigned
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
        headers = answer.headers if assigned is None else _with_location(answer)
        return Forwarded(status=answer.status, headers=headers, body=body, warnings=warned)

    async def _through(
        self, upstream_request: UpstreamRequest, allowed: "_Allowed", trace: Trace
    ) -> UpstreamAnswer | Refusal:
        """Send it: journalled and settled if something may have to be undone, plainly otherwise."""
        if allowed.decision.after is AfterNeed.UNDO or self._can_be_overtaken(allowed):
            settled = await self.settler.start(_intent(allowed, trace), upstream_request)
            return _settled(settled, allowed.write.type, trace)
        try:
            answer = await self.upstream.send(upstream_request)
        except NotSent:
            raise _nothing_written() from None
        except AnswerLost as lost:
            # No write stays in doubt (PROMISES 6): from here on it is recorded, and looked for.
            trace.reason = "the answer timed out" if lost.timed_out else "the connection broke before the answer"
            try:
                settled = await self.settler.start(_intent(allowed, trace), None)
            except JournalUnavailable:
                raise _in_doubt(timed_out=lost.timed_out) from None
            return _settled(settled, allowed.write.type, trace)
        if allowed.decision.after is AfterNeed.OBSERVE:
            _judged(await self.reader.observe(answer, allowed.facts, allowed.policies, allowed.decision.applied), trace)
        return answer

    def _can_be_overtaken(self, allowed: "_Allowed") -> bool:
        """Whether another writer could slip in between the version that was judged and this write, unseen.

        No guard holds for what was not there (servers ignore `If-None-Match: *` on PUT, and `If-Match` on nothing), and
        some servers ignore `If-Match` altogether: settling looks at what the write replaced, and puts it back.
        """
        return isinstance(allowed.write, Update) and (allowed.prior.version is None or not self.guarded_update())


def _intent(allowed: "_Allowed", trace: Trace) -> Intent:
    return intent_of(
        write=allowed.write,
        body=allowed.sent,
        prior=allowed.prior,
        decision_id=trace.decision_id,
        write_id=trace.write_id or "",
        revision=allowed.policies.revision,
        applied=allowed.decision.applied,
        facts=facts_json(allowed.facts),
        principal=allowed.principal,
        assigned_id=allowed.assigned,
    )


async def _with_id(body: bytes, id_: str) -> bytes:
    return await asyncio.to_thread(with_id, body, id_) if len(body) > _LARGE else with_id(body, id_)


def _is_plain_create(write: Write) -> bool:
    return isinstance(write, Create) and write.if_none_exist is None


def _with_location(answer: UpstreamAnswer) -> Headers:
    """A client that POSTed is told where (http://hl7.org/fhir/R4/http.html#create); HAPI says so only to a POST."""
    where = answer.header(b"content-location")
    if answer.status != 201 or where is None or answer.header(b"location") is not None:  # noqa: PLR2004
        return answer.headers
    return (*answer.headers, (b"location", where.encode("latin-1")))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Allowed:
    """A write that the engine let through, with everything it was judged by.

    `sent` is the body as it leaves: the judged bytes, but for an id that the gateway `assigned`.
    """

    write: Write
    principal: Principal
    facts: Facts
    decision: Decision
    prior: Prior
    concerned: scope.Concerned
    policies: PolicySet
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


def upstream_write(
    write: Write,
    body: bytes,
    guard: str | None,
    write_id: str,
    request: Request,
    *,
    may_read: bool,
    assigned_id: str | None = None,
) -> UpstreamRequest:
    """The write as it leaves: the judged bytes, the gateway's own guard, and nothing else that a client chose."""
    headers: list[tuple[bytes, bytes]] = [_CONTENT_TYPE, _ACCEPT, (b"x-request-id", write_id.encode())]
    prefer = next((value for name, value in request.end_to_end if name == b"prefer"), None)
    if not may_read:
        headers.append((b"prefer", b"return=minimal"))
    elif prefer is not None:
        headers.append((b"prefer", prefer))
    if assigned_id is not None:
        # The body was changed on the way (http://hl7.org/fhir/R4/http.html#custom).
        headers.append((b"x-intermediary", b"fhir-policy-gateway"))
        return UpstreamRequest(method="PUT", path=f"{write.type}/{assigned_id}", headers=tuple(headers), body=body)
    if isinstance(write, Create):
        if write.if_none_exist is not None:
            headers.append((b"if-none-exist", write.if_none_exist.encode()))
        return UpstreamRequest(method="POST", path=write.type, headers=tuple(headers), body=body)
    if guard is not None:
        # The version that was judged is the version that may be replaced (RFC 9110 section 13.1.1).
        headers.append((b"if-match", f'W/"{guard}"'.encode()))
    return UpstreamRequest(method="PUT", path=f"{write.type}/{write.id}", headers=tuple(headers), body=body)


def now_text() -> str:
    """The frozen time of a decision, RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _same_version(write: Write, gathered: Gathered) -> None:
    """The client's own If-Match, judged here: servers differ (HAPI ignores it where nothing exists)."""
    if isinstance(write, Update) and write.if_match is not None and write.if_match != gathered.prior.version:
        raise PreconditionFailed(
            Issue(code=IssueCode.CONFLICT, text="If-Match does not name the current version; read it again first.")
        )


def _settled(settled: Settled, type_: str, trace: Trace) -> UpstreamAnswer | Refusal:
    """What became of a journalled write. Only `committed` may become a 2xx."""
    trace.settled = settled.state.value
    trace.undo = settled.undo.value if settled.undo else None
    trace.reason = settled.reason
    trace.stored_version = settled.intent.stored_version if settled.intent else None
    verified = _judged(settled.detail, trace)
    if settled.answer is not None:
        trace.upstream_status = settled.answer.status
        if settled.state is State.COMMITTED or (settled.state is State.REJECTED and settled.answer.status >= 400):  # noqa: PLR2004
            return settled.answer
    if settled.state is State.REJECTED:
        raise _nothing_written()
    issues = after_refusals(verified, type_) if verified is not None else ()
    if settled.state is State.UNDONE and not issues:
        issues = (Issue(code=IssueCode.CONFLICT, text=f"The write could not stand: {settled.reason}."),)
    return Refusal(issues=(*issues, became(settled)), pending=settled.state is not State.UNDONE)


def _judged(detail: object, trace: Trace) -> Decision | None:
    """Notes the judgement on what is stored, if there is one."""
    if not isinstance(detail, Judgement):
        return None
    trace.after, trace.after_seconds = detail.decision, detail.seconds
    return detail.decision


def _in_doubt(*, timed_out: bool) -> UpstreamFault | UpstreamTimedOut:
    issue = Issue(
        code=IssueCode.TIMEOUT if timed_out else IssueCode.TRANSIENT,
        text="The FHIR server's answer was lost; the write may or may not be stored. Look before you repeat it.",
    )
    return UpstreamTimedOut(issue) if timed_out else UpstreamFault(issue)


def _nothing_written() -> Unavailable:
    return Unavailable(Issue(code=IssueCode.TRANSIENT, text="The FHIR server cannot be reached; nothing was written."))


def became(settled: Settled) -> Issue:
    """The issue that says what became of a write that is not simply there (SURFACE.md, Clients' port)."""
    if settled.state is State.UNDONE:
        what = "restored to the version before" if settled.undo is UndoAction.RESTORE else "removed"
        return Issue(
            severity=Severity.INFORMATION,
            code=IssueCode.INFORMATIONAL,
            text=f"The server had stored the write; it was {what}.",
        )
    if settled.state is State.STUCK:
        return Issue(
            code=IssueCode.EXCEPTION,
            text="The write could not be settled safely; the server's operator was alarmed. Ask with the decision id.",
        )
    if settled.state is State.COMPENSATING:
        return Issue(
            code=IssueCode.INCOMPLETE,
            text="The server stored the write; it is still being removed. Ask for the outcome with the decision id.",
        )
    return Issue(
        code=IssueCode.INCOMPLETE,
        text="The server's answer was lost; what became of the write is being found out. Ask with the decision id.",
    )
