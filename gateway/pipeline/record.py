"""Step 11 of the line: counts and records what a request left behind, once.

The only place where a trace becomes something that leaves the process; what is not on the DecisionRecord's list
stays inside.
"""

import time
from dataclasses import dataclass

from gateway.errors import (
    BadFraming,
    GatewayError,
    HeadersTooLarge,
    RequestTimedOut,
    TooBusy,
    TooLarge,
    Unauthenticated,
)
from gateway.fhir.interaction import InteractionCode
from gateway.observe.decision_log import DecisionLog
from gateway.observe.decision_record import DecisionRecord
from gateway.observe.metrics import Metrics
from gateway.pipeline.request import Trace
from gateway.policy.decision import Decision, Verdict
from gateway.saga.intent import State

_WRITES = (InteractionCode.CREATE, InteractionCode.UPDATE)
_REJECTED: dict[type[GatewayError], str] = {
    BadFraming: "framing",
    HeadersTooLarge: "headers_too_large",
    TooBusy: "queue_full",
    RequestTimedOut: "timeout",
}


def verdict_of(trace: Trace, status: int, problem: GatewayError | None) -> str:
    """The word of metrics and log: allow, warn, deny, undo, error, or none for what needed no decision."""
    if trace.interaction not in _WRITES:
        return "none" if problem is None or trace.principal is not None else "deny"
    if trace.replay_of is not None:
        return "none"  # decided and counted when it was first sent
    if trace.settled is not None and trace.settled not in (State.COMMITTED.value, State.REJECTED.value):
        return "undo"
    if problem is not None:
        return "error" if status >= 500 else "deny"  # noqa: PLR2004
    decision = trace.decision
    if decision is None or decision.verdict is not Verdict.ALLOW:
        return "deny"
    return "warn" if decision.warnings or (trace.after is not None and trace.after.warnings) else "allow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Metrics and decision log of one process."""

    metrics: Metrics
    log: DecisionLog

    def in_flight(self, requests: int) -> None:
        """Told how many requests are being answered, whenever that changes."""
        self.metrics.in_flight(requests)

    def __call__(self, trace: Trace, status: int, problem: GatewayError | None) -> None:
        """Called once per request, after its answer."""
        total = time.perf_counter() - trace.started
        verdict = verdict_of(trace, status, problem)
        name = trace.interaction.value if trace.interaction else None
        self.metrics.request(name, trace.type, status, total, verdict, upstream_seconds=trace.upstream_seconds)
        self._token(trace, problem)
        if trace.keyed is not None:
            self.metrics.idempotency(trace.keyed)
        if trace.interaction in _WRITES:
            if trace.replay_of is None:
                self.metrics.decision(name or "", trace.type, verdict)
            self._rules(trace.decision, trace.decide_seconds)
            self._rules(trace.after, trace.after_seconds)
        elif problem is None:
            return  # a read that needed no decision leaves its metrics only
        if isinstance(problem, TooLarge):
            self.metrics.rejected("body_too_large")
        elif isinstance(problem, BadFraming | HeadersTooLarge | TooBusy | RequestTimedOut):
            self.metrics.rejected(_REJECTED[type(problem)])
        self.log.write(_record(trace, status, problem, verdict, total))

    def _token(self, trace: Trace, problem: GatewayError | None) -> None:
        if trace.principal is not None:
            self.metrics.token(trace.principal.issuer, "ok")
        elif isinstance(problem, Unauthenticated):
            self.metrics.token(problem.issuer or "_other", problem.reason)

    def _rules(self, decision: Decision | None, seconds: float) -> None:
        if decision is not None:
            self.metrics.rules(decision.outcomes)
            self.metrics.evaluation(decision.phase.value, seconds)


def _record(trace: Trace, status: int, problem: GatewayError | None, verdict: str, total: float) -> DecisionRecord:
    principal, decision, after = trace.principal, trace.decision, trace.after
    return DecisionRecord(
        decision_id=trace.decision_id,
        time=time.time(),
        decision=verdict,
        status=status,
        method=trace.method,
        interaction=trace.interaction.value if trace.interaction else None,
        resource_type=trace.type,
        resource_id=trace.id,
        issuer=principal.issuer if principal else None,
        client_id=principal.client_id if principal else None,
        subject=principal.subject if principal else None,
        scopes=principal.scope_texts if principal else (),
        revision=trace.revision,
        policies=decision.applied if decision else (),
        body=trace.body,
        patients=trace.patients,
        patients_read=trace.patients_read,
        patients_cached=trace.patients_cached,
        reason=trace.reason or (type(problem).__name__ if problem else None),
        issue_codes=tuple(issue.code.value for issue in problem.issues) if problem else (),
        checks=(decision.outcomes if decision else ()) + (after.outcomes if after else ()),
        idempotency_key=trace.idempotency_key,
        replay_of=trace.replay_of,
        write_id=trace.write_id,
        upstream_status=trace.upstream_status,
        stored_version=trace.stored_version,
        undo_action=trace.undo,
        undo_result=trace.settled if trace.undo else None,
        total_seconds=total,
        auth_seconds=trace.auth_seconds,
        patient_seconds=trace.gather_seconds,
        checks_seconds=trace.decide_seconds,
        upstream_seconds=trace.upstream_seconds,
        post_seconds=trace.after_seconds,
    )
