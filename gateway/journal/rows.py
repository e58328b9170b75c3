"""An intent as a row of the table `intent`, and back. Payloads are sealed in the row."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from gateway.fhir.interaction import InteractionCode
from gateway.journal.sealing import Sealer, Unreadable
from gateway.saga.intent import CLOSED, NO_FACTS, Intent, State

Value = str | bytes | float | int | None
Values = Mapping[str, Value | list[str]]
Row = Mapping[str, Value]
Made = dict[str, Value | list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An intent that was read. When `unreadable` says why, its payloads are empty."""

    intent: Intent
    unreadable: str | None = None


def values_of(intent: Intent, sealer: Sealer) -> Made:
    """Every column of an intent."""
    row: Made = dict(vars(intent))
    row["state"], row["interaction"] = intent.state.value, intent.interaction.value
    row["applied"], row["failed"] = _listed(intent.applied), _listed(intent.failed)
    row["body"] = sealer.seal(intent.body, intent.decision_id, "body")
    row["facts"] = b"" if intent.facts == NO_FACTS else sealer.seal(intent.facts.encode(), intent.decision_id, "facts")
    row["prior_body"] = _sealed(sealer, intent.prior_body, intent.decision_id, "prior_body")
    # A search may name a patient by number: what a payload is, though it stood in a header.
    search = None if intent.if_none_exist is None else intent.if_none_exist.encode()
    row["if_none_exist"] = _sealed(sealer, search, intent.decision_id, "if_none_exist")
    row["steering"] = _steering(intent, sealer)
    return row


def forgotten(row: Values) -> Made:
    """Every column of an entry that is closed: without its payloads."""
    return {**row, "body": b"", "prior_body": None, "facts": b"", "if_none_exist": None}


def changes_of(intent: Intent, sealer: Sealer) -> Made:
    """The columns that a move may change, and the entry they belong to."""
    return {
        "decision_id": intent.decision_id,
        "steering": _steering(intent, sealer),
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
        "idempotency_key": intent.idempotency_key,
        "answer": intent.answer,
    }


def opened(row: Row, sealer: Sealer) -> Opened:
    """The intent of a whole row, with its payloads as far as a key is at hand; of a damaged one, its name alone."""
    decision_id, tag = str(row["decision_id"]), row["steering"]
    try:
        intent = _intent(row, dict.fromkeys(_SEALED))
    except ValueError:
        return Opened(intent=_damaged(row), unreadable=_CHANGED)
    try:
        if isinstance(tag, bytes) and not sealer.tagged(tag, _steered(intent)):
            return Opened(intent=_damaged(row), unreadable=_CHANGED)
        payloads = {name: _open(sealer, row[name], decision_id, name) for name in _SEALED}
    except Unreadable as why:
        return Opened(intent=intent, unreadable=str(why))
    return Opened(intent=_intent(row, payloads))


def listed(row: Row) -> Intent:
    """The intent of a row without its payloads."""
    try:
        return _intent(row, dict.fromkeys(_SEALED))
    except ValueError:
        return _damaged(row)


_CHANGED = "its row was changed in the journal"
_SEALED = ("body", "prior_body", "facts", "if_none_exist")


def _damaged(row: Row) -> Intent:
    """What can be said of a row that cannot be believed: enough to give it up, and to show it to a person."""
    state = str(row["state"])
    return Intent(
        decision_id=str(row["decision_id"]),
        write_id=str(row["write_id"]),
        interaction=InteractionCode.CREATE,
        type="",
        body=b"",
        client_id="",
        issuer="",
        started_at=0.0,
        owner=str(row["owner"]),
        epoch=_integer(row["epoch"]) or 0,
        state=State(state) if state in set(State) else State.STUCK,
        reason=_CHANGED,
    )


def _steering(intent: Intent, sealer: Sealer) -> bytes | None:
    """Nothing is steered by an entry that is closed."""
    return None if intent.state in CLOSED else sealer.tag(_steered(intent))


def _steered(intent: Intent) -> tuple[object, ...]:
    """All that says what is looked for, judged by, removed or restored; and who may ask for the outcome."""
    return (
        intent.decision_id,
        intent.write_id,
        intent.interaction.value,
        intent.type,
        intent.id,
        intent.prior_version,
        intent.prior_tombstone,
        intent.policy_revision,
        intent.applied,
        intent.client_id,
        intent.issuer,
        intent.started_at,
        intent.server_time,
        intent.send_deadline,
        intent.stored_id,
        intent.stored_version,
        intent.created,
        intent.read_back,
    )


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
        facts=NO_FACTS if payloads["facts"] is None else payloads["facts"].decode(),
        client_id=str(found["client_id"]),
        issuer=str(found["issuer"]),
        started_at=_number(found["started_at"]) or 0.0,
        server_time=_number(found.get("server_time")),
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
        read_back=bool(found["read_back"]),
        idempotency_key=_text(found["idempotency_key"]),
        request_hash=_text(found["request_hash"]),
        answer=_text(found["answer"]),
    )


@lru_cache(maxsize=256)  # the policies that apply are nearly always the same few
def _listed(names: tuple[str, ...]) -> str:
    return json.dumps(names)


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
