"""An intent as a row of the table `intent`, and back."""

import json
from dataclasses import fields

from gateway.fhir.interaction import InteractionCode
from gateway.saga.intent import CLOSED, Intent, State

Value = str | bytes | float | int | None
COLUMNS = tuple(each.name for each in fields(Intent))
INSERT = f"INSERT INTO intent ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 (our names)
# Identity and request never change; what changes is written whole, by the owner, from the expected state.
_CHANGING = (
    "state", "prior_version", "prior_body", "send_deadline", "stored_id", "stored_version", "upstream_status",
    "created", "attempts", "refusals", "next_attempt_at", "failed", "reason", "updated_at",
)  # fmt: skip
_SET = ", ".join(f"{name} = ?" for name in _CHANGING)
UPDATE = f"UPDATE intent SET {_SET} WHERE decision_id = ? AND owner = ? AND state = ?"  # noqa: S608
CLOSE = (
    f"UPDATE intent SET {_SET}, body = x'', facts = '{{}}' "  # noqa: S608
    "WHERE decision_id = ? AND owner = ? AND state = ?"
)
SELECT = f"SELECT {', '.join(COLUMNS)} FROM intent"  # noqa: S608


def insert(intent: Intent) -> tuple[str, tuple[Value, ...]]:
    """The statement that inserts an intent."""
    row = _values(intent)
    return INSERT, tuple(row[name] for name in COLUMNS)


def update(intent: Intent, *, owner: str, expected: State) -> tuple[str, tuple[Value, ...]]:
    """The conditional statement that replaces an intent; a closed one loses its payloads."""
    row = _values(intent)
    closed = intent.state in CLOSED
    if closed:
        row["prior_body"] = None
    values = tuple(row[name] for name in _CHANGING)
    return (CLOSE if closed else UPDATE), (*values, intent.decision_id, owner, expected.value)


def intent_of(row: tuple[Value, ...]) -> Intent:
    """The intent of a row that `SELECT` read."""
    found = dict(zip(COLUMNS, row, strict=True))
    created = found["created"]
    return Intent(
        decision_id=str(found["decision_id"]),
        write_id=str(found["write_id"]),
        owner=str(found["owner"]),
        state=State(str(found["state"])),
        interaction=InteractionCode(str(found["interaction"])),
        type=str(found["type"]),
        id=_text(found["id"]),
        if_none_exist=_text(found["if_none_exist"]),
        body=_bytes(found["body"]) or b"",
        prior_version=_text(found["prior_version"]),
        prior_body=_bytes(found["prior_body"]),
        prior_tombstone=_text(found["prior_tombstone"]),
        policy_revision=str(found["policy_revision"]),
        applied=_names(found["applied"]),
        facts=str(found["facts"]),
        client_id=str(found["client_id"]),
        issuer=str(found["issuer"]),
        started_at=_number(found["started_at"]) or 0.0,
        send_deadline=_number(found["send_deadline"]),
        stored_id=_text(found["stored_id"]),
        stored_version=_text(found["stored_version"]),
        upstream_status=_integer(found["upstream_status"]),
        created=None if created is None else bool(created),
        attempts=_integer(found["attempts"]) or 0,
        refusals=_integer(found["refusals"]) or 0,
        next_attempt_at=_number(found["next_attempt_at"]),
        failed=_names(found["failed"]),
        reason=_text(found["reason"]),
        updated_at=_number(found["updated_at"]) or 0.0,
    )


def _values(intent: Intent) -> dict[str, Value]:
    row: dict[str, Value] = {name: getattr(intent, name) for name in COLUMNS}
    row["state"], row["interaction"] = intent.state.value, intent.interaction.value
    row["applied"], row["failed"] = json.dumps(intent.applied), json.dumps(intent.failed)
    row["created"] = None if intent.created is None else int(intent.created)
    return row


def _text(value: Value) -> str | None:
    return None if value is None else str(value)


def _bytes(value: Value) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _number(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _integer(value: Value) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _names(value: Value) -> tuple[str, ...]:
    return tuple(str(each) for each in json.loads(str(value)))
