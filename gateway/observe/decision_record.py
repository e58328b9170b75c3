"""What the decision log says about one request: an allow-list of fields, never a masked copy of the request.

`decision-log.schema.json` is the published form. Identifiers of people and resources go out only as keyed hashes;
payloads, tokens, paths, queries, header values and texts of the FHIR server never do.
"""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.policy.decision import Mode, Result, RuleOutcome

SCHEMA = "fhir-gateway/decision/1"
_HASH_CHARACTERS = 32  # 128 bits
_MOST_HELD = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One request, as the pipeline saw it end. `time` is Unix seconds, durations are seconds.

    `subject`, `resource_id` and `patients` are hashed on their way out; `body` is only measured and hashed.
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


class LineWriter:
    """Turns records into lines. Not thread safe: the log's own thread is its only user.

    Rules that hold are most of a record, and the compiler makes each such outcome once per rule: their JSON text
    is kept, by identity.
    """

    def __init__(self, *, key: bytes, instance: str, version: str) -> None:
        self._key = key
        self._instance = instance
        self._version = version
        # ASCII only: a line feed, an escape sequence or a bidi control in a client id cannot reach a terminal.
        self._encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
        self._held: dict[int, tuple[RuleOutcome, str]] = {}

    def line(self, record: DecisionRecord) -> bytes:
        """One line, with its line feed; the same JSON as `published`."""
        fields = _fields(record, key=self._key, instance=self._instance, version=self._version)
        text = self._encode(fields)
        if record.checks:
            checks = ",".join([self._check(outcome) for outcome in record.checks])
            text = f'{text[:-1]},"checks":[{checks}]}}'
        return f"{text}\n".encode("ascii")

    def _check(self, outcome: RuleOutcome) -> str:
        kept = self._held.get(id(outcome))
        # The outcome itself is kept beside its text, so that its id cannot come to mean another one.
        if kept is not None and kept[0] is outcome:
            return kept[1]
        text = self._encode(_check(outcome))
        if outcome.result is Result.PASS:
            if len(self._held) >= _MOST_HELD:
                self._held.clear()
            self._held[id(outcome)] = (outcome, text)
        return text


def published(record: DecisionRecord, *, key: bytes, instance: str, version: str) -> dict[str, object]:
    """The JSON object of a record. Absent values are left out."""
    fields = _fields(record, key=key, instance=instance, version=version)
    return {**fields, "checks": [_check(outcome) for outcome in record.checks]} if record.checks else fields


def _fields(record: DecisionRecord, *, key: bytes, instance: str, version: str) -> dict[str, object]:
    """Everything but the checks."""
    fields: dict[str, object | None] = {
        "schema": SCHEMA,
        "decision_id": record.decision_id,
        "time": datetime.fromtimestamp(record.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "instance": instance,
        "gateway_version": version,
        "policy_set": {"revision": record.revision} if record.revision else None,
        "policies": [{"id": name} for name in record.policies] or None,
        "issuer": record.issuer,
        "client_id": record.client_id,
        "subject_hash": _hashed(key, "subject", record.subject),
        "scopes": list(record.scopes) or None,
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
        "shadow_decision": _shadow(record),
        "write_id": record.write_id,
        "upstream_status": record.upstream_status,
        "stored_version": record.stored_version,
        "undo": {"action": record.undo_action, "result": record.undo_result} if record.undo_action else None,
        **_timing(record),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _hashed(key: bytes, kind: str, value: str | None) -> str | None:
    """A keyed hash: equal values can be told to be equal, but not be found by trying every member number."""
    if value is None:
        return None
    return hmac.digest(key, f"{kind}\0{value}".encode(), "sha256").hex()[:_HASH_CHARACTERS]


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


def _check(outcome: RuleOutcome) -> dict[str, object]:
    check: dict[str, object] = {
        "policy": outcome.policy,
        "id": outcome.rule,
        "phase": outcome.phase.value,
        "mode": outcome.mode.value,
        "result": outcome.result.value,
    }
    if outcome.result is not Result.PASS:
        check["error_code"] = outcome.denial.code.value
    return check


def _shadow(record: DecisionRecord) -> str | None:
    """What would have been decided, had every rule in mode `warn` or `audit` been enforced."""
    failing = any(check.result is not Result.PASS and check.mode is not Mode.ENFORCE for check in record.checks)
    return "deny" if failing and record.decision in {"allow", "warn"} else None


def _timing(record: DecisionRecord) -> dict[str, object]:
    seconds = {
        "total_ms": record.total_seconds,
        "auth_ms": record.auth_seconds,
        "patient_ms": record.patient_seconds,
        "checks_ms": record.checks_seconds,
        "upstream_ms": record.upstream_seconds,
        "post_ms": record.post_seconds,
    }
    return {name: round(value * 1000, 3) for name, value in seconds.items()}
