"""An intent as a row of the table `intent`, and back. Payloads are sealed in the row."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.fhir.interaction import InteractionCode
from gateway.journal.sealing import Sealer, Unreadable
from gateway.saga.intent import Intent, State

Value = str | bytes | float | int | None
Values = Mapping[str, Value | list[str]]
Row = Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An intent that was read. When `unreadable` says why, its payloads are empty."""

    intent: Intent
    unreadable: str | None = None


def values_of(intent: Intent, sealer: Sealer) -> dict[str, Value]:
    """Every column of an intent."""
    row: dict[str, Value] = dict(vars(intent))
    row["state"], row["interaction"] = intent.state.value, intent.interaction.value
    row["applied"], row["failed"] = _listed(intent.applied), _listed(intent.failed)
    row["body"] = sealer.seal(intent.body, intent.decision_id, "body")
    row["facts"] = sealer.seal(intent.facts.encode(), intent.decision_id, "facts")
    row["prior_body"] = _sealed(sealer, intent.prior_body, intent.decision_id, "prior_body")
    # A search may name a patient by number: what a payload is, though it stood in a header.
    search = None if intent.if_none_exist is None else intent.if_none_exist.encode()
    row["if_none_exist"] = _sealed(sealer, search, intent.decision_id, "if_none_exist")
    return row


def changes_of(intent: Intent, sealer: Sealer) -> dict[str, Value]:
    """The columns that a move may change, and the entry they belong to."""
    return {
        "decision_id": intent.decision_id,
        "state": intent.state.value,
        "prior_version": intent.prior_version,
        "prior_body": _sealed(sealer, intent.prior_body, intent.decision_id, "prior_body"),
        "send_deadline": intent.send_deadline,
        "stored_id": intent.stored_id,
        "stored_version": intent.stored_version,
        "upstream_status": intent.upstream_status,
        "created": intent.created,
        "attempts": intent.attempts,
        "refusals": intent.refusals,
        "next_attempt_at": intent.next_attempt_at,
        "failed": _listed(intent.failed),
        "reason": intent.reason,
        "updated_at": intent.updated_at,
    }


def opened(row: Row, sealer: Sealer) -> Opened:
    """The intent of a whole row, with its payloads as far as a key is at hand."""
    decision_id = str(row["decision_id"])
    try:
        payloads = {name: _open(sealer, row[name], decision_id, name) for name in _SEALED}
    except Unreadable as why:
        return Opened(intent=_intent(row, dict.fromkeys(_SEALED)), unreadable=str(why))
    return Opened(intent=_intent(row, payloads))


def listed(row: Row) -> Intent:
    """The intent of a row without its payloads."""
    return _intent(row, dict.fromkeys(_SEALED))


_SEALED = ("body", "prior_body", "facts", "if_none_exist")


def _intent(found: Row, payloads: Mapping[str, bytes | None]) -> Intent:
    created, search = found["created"], payloads["if_none_exist"]
    return Intent(
        decision_id=str(found["decision_id"]),
        write_id=str(found["write_id"]),
        owner=str(found["owner"]),
        epoch=_integer(found["epoch"]) or 0,
        state=State(str(found["state"])),
        interaction=InteractionCode(str(found["interaction"])),
        type=str(found["type"]),
        id=_text(found["id"]),
        if_none_exist=None if search is None else search.decode(),
        body=payloads["body"] or b"",
        prior_version=_text(found["prior_version"]),
        prior_body=payloads["prior_body"],
        prior_tombstone=_text(found["prior_tombstone"]),
        policy_revision=str(found["policy_revision"]),
        applied=_names(found["applied"]),
        facts=(payloads["facts"] or b"{}").decode(),
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


def _listed(names: tuple[str, ...]) -> str:
    return json.dumps(names) if names else "[]"


def _sealed(sealer: Sealer, plain: bytes | None, decision_id: str, column: str) -> bytes | None:
    return None if plain is None else sealer.seal(plain, decision_id, column)


def _open(sealer: Sealer, value: Value, decision_id: str, column: str) -> bytes | None:
    # What a closed entry has forgotten is empty; a sealed value never is.
    return sealer.open(value, decision_id, column) if isinstance(value, bytes) and value else None


def _text(value: Value) -> str | None:
    return None if value is None else str(value)


def _number(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _integer(value: Value) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _names(value: Value) -> tuple[str, ...]:
    return tuple(str(each) for each in json.loads(str(value)))
