"""Records and rule outcomes for tests."""

from gateway.errors import IssueCode
from gateway.observe.decision_record import DecisionRecord
from gateway.policy.decision import Denial, Mode, Phase, Result, RuleOutcome


def outcome(
    rule: str = "r", *, result: Result = Result.PASS, mode: Mode = Mode.ENFORCE, phase: Phase = Phase.BEFORE
) -> RuleOutcome:
    return RuleOutcome(
        policy="lab",
        rule=rule,
        phase=phase,
        mode=mode,
        result=result,
        denial=Denial(code=IssueCode.BUSINESS_RULE, message="canary-message"),
        reason="canary-reason",
    )


def full_record(**changes: object) -> DecisionRecord:
    """Every field set, each text that must not come out marked as a canary."""
    fields: dict[str, object] = {
        "decision_id": "id-1",
        "time": 1_800_000_000.125,
        "decision": "deny",
        "status": 422,
        "method": "POST",
        "interaction": "create",
        "resource_type": "Observation",
        "resource_id": "canary-resource",
        "issuer": "https://id.example",
        "client_id": "lab-1",
        "subject": "canary-subject",
        "scopes": ("system/Observation.c",),
        "revision": "abc123",
        "policies": ("lab",),
        "body": b'{"name": "canary-body"}',
        "patients": ("Patient/canary-patient",),
        "patients_read": 1,
        "reason": "UpstreamFault",
        "issue_codes": ("business-rule",),
        "checks": (outcome("a"), outcome("b", result=Result.FAIL)),
        "idempotency_key": "canary-key",
        "replay_of": "id-0",
        "write_id": "w1",
        "upstream_status": 201,
        "stored_version": "1",
        "undo_action": "delete",
        "undo_result": "undone",
        "total_seconds": 0.25,
    }
    return DecisionRecord(**(fields | changes))  # type: ignore[arg-type]
