"""What the decision log says about one request: an allow-list of fields, never a masked copy of the request.

`decision-log.schema.json` is the published form. Identifiers of people and resources go out only as keyed hashes;
payloads, tokens, paths, queries, header values and texts of the FHIR server never do.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from gateway.policy.decision import Mode, Result, RuleOutcome

SCHEMA = "fhir-gateway/decision/1"
_HASH_CHARACTERS = 32  # 128 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One request, as the pipeline saw it end. `time` is Unix seconds, durations are seconds.

    `replay_of` is the decision id of the write whose recorded outcome was the answer.
    `subject`, `resource_id`, `patients` and `idempotency_key` are hashed on their way out; `body` is only measured and
    hashed.
    `decision`: allow, warn, deny, undo, error, or none for what needed no decision. `reason` is a fixed text of
    the gateway's own. The texts of `checks` (messages, reasons) stay behind.
    """

    decision_id: str
    time: float
    decision: str
    status: int
    method: str = ""
    interaction: str | None = None
    resource_type: str | None = None
    resource_id: str | None = None
    issuer: str | None = None
    client_id: str | None = None
    subject: str | None = None
    scopes: tuple[str, ...] = ()
    revision: str = ""
    policies: tuple[str, ...] = ()
    body: bytes = b""
    patients: tuple[str, ...] = ()
    patients_read: int = 0
    patients_cached: int = 0
    reason: str | None = None
    issue_codes: tuple[str, ...] = ()
    checks: tuple[RuleOutcome, ...] = ()
    idempotency_key: str | None = None
    replay_of: str | None = None
    write_id: str | None = None
    upstream_status: int | None = None
    stored_version: str | None = None
    undo_action: str | None = None
    undo_result: str | None = None
    total_seconds: float = 0.0
    auth_seconds: float = 0.0
    patient_seconds: float = 0.0
    checks_seconds: float = 0.0
    upstream_seconds: float = 0.0
    post_seconds: float = 0.0


def published(record: DecisionRecord, *, key: bytes, instance: str, version: str) -> dict[str, object]:
    """The JSON object of a record. Absent values are left out."""
    opening: dict[str, object] = {"schema": SCHEMA, "instance": instance, "gateway_version": version}
    shadow = "deny" if is_shadow_denied(record) else None
    checks = {"checks": [check(outcome) for outcome in record.checks]} if record.checks else {}
    return {**opening, **caller(record, key=key), **particulars(record, key=key, shadow=shadow), **checks}


def caller(record: DecisionRecord, *, key: bytes) -> dict[str, object]:
    """What repeats from one request of a client to its next."""
    return _present(
        {
            "policy_set": {"revision": record.revision} if record.revision else None,
            "policies": [{"id": name} for name in record.policies] or None,
            "issuer": record.issuer,
            "client_id": record.client_id,
            "subject_hash": _hashed(key, "subject", record.subject),
            "scopes": list(record.scopes) or None,
        }
    )


def particulars(record: DecisionRecord, *, key: bytes, shadow: str | None) -> dict[str, object]:
    """What is this request's own, but for the checks."""
    return _present(
        {
            "decision_id": record.decision_id,
            "time": _instant(record.time),
            "method": record.method or None,
            "interaction": record.interaction,
            "resource_type": record.resource_type,
            "resource_id_hash": _hashed(key, "resource", record.resource_id),
            **_body(key, record.body),
            "patients": _patients(key, record),
            "decision": record.decision,
            "status": record.status,
            "reason": record.reason,
            "issue_codes": list(record.issue_codes) or None,
            "shadow_decision": shadow,
            "idempotency_key_hash": _key(key, record),
            "replay_of": record.replay_of,
            "write_id": record.write_id,
            "upstream_status": record.upstream_status,
            "stored_version": record.stored_version,
            "undo": {"action": record.undo_action, "result": record.undo_result} if record.undo_action else None,
            "total_ms": round(record.total_seconds * 1000, 3),
            "auth_ms": round(record.auth_seconds * 1000, 3),
            "patient_ms": round(record.patient_seconds * 1000, 3),
            "checks_ms": round(record.checks_seconds * 1000, 3),
            "upstream_ms": round(record.upstream_seconds * 1000, 3),
            "post_ms": round(record.post_seconds * 1000, 3),
        }
    )


def _present(fields: dict[str, object | None]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _instant(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


def _hashed(key: bytes, kind: str, value: str | None) -> str | None:
    """A keyed hash: equal values can be told to be equal, but not be found by trying every member number."""
    if value is None:
        return None
    return hmac.digest(key, f"{kind}\0{value}".encode(), "sha256").hex()[:_HASH_CHARACTERS]


def _key(key: bytes, record: DecisionRecord) -> str | None:
    """In its scope: the same key of two clients is two keys."""
    if record.idempotency_key is None:
        return None
    return _hashed(key, "idempotency key", f"{record.issuer}\0{record.client_id}\0{record.idempotency_key}")


def _body(key: bytes, body: bytes) -> Mapping[str, object]:
    if not body:
        return {}
    # Keyed as well: a short body is as guessable as an identifier.
    return {"body_bytes": len(body), "body_hash": hmac.digest(key, body, "sha256").hex()[:_HASH_CHARACTERS]}


def _patients(key: bytes, record: DecisionRecord) -> dict[str, object] | None:
    if not record.patients and not record.patients_read and not record.patients_cached:
        return None
    hashes = [_hashed(key, "patient", patient) for patient in record.patients]
    return {"ref_hashes": hashes, "fetched": record.patients_read, "cached": record.patients_cached}


def check(outcome: RuleOutcome) -> dict[str, object]:
    """One rule's outcome."""
    row: dict[str, object] = {
        "policy": outcome.policy,
        "id": outcome.rule,
        "phase": outcome.phase.value,
        "mode": outcome.mode.value,
        "result": outcome.result.value,
    }
    if outcome.result is not Result.PASS:
        row["error_code"] = outcome.denial.code.value
    return row


def is_shadow_denied(record: DecisionRecord) -> bool:
    """Whether it would have been denied, had every rule in mode `warn` or `audit` been enforced."""
    failing = any(each.result is not Result.PASS and each.mode is not Mode.ENFORCE for each in record.checks)
    return failing and record.decision in {"allow", "warn"}
