"""Turns decision records into lines, fast: what repeats from one record to the next keeps its JSON text.

The line says what `decision_record.published` says, in another order; a test holds the two together.
"""

import json
from collections.abc import Hashable
from typing import TypeVar

from pydantic_core import to_json

from gateway.observe.decision_record import SCHEMA, DecisionRecord, caller, check, is_shadow_denied, particulars
from gateway.policy.decision import RuleOutcome

K = TypeVar("K")
V = TypeVar("V")
_MOST_KEPT = 4_096


class LineWriter:
    """Makes lines. Not thread safe: the log's own thread is its only user."""

    def __init__(self, *, key: bytes, instance: str, version: str) -> None:
        self._key = key
        self._opening = _ascii({"schema": SCHEMA, "instance": instance, "gateway_version": version})[:-1]
        self._callers: dict[Hashable, bytes] = {}
        # By the identities of the outcomes, which are kept beside: the compiler makes that of a rule that holds once.
        self._checks: dict[tuple[int, ...], tuple[tuple[RuleOutcome, ...], bytes, bool]] = {}

    def line(self, record: DecisionRecord) -> bytes:
        """One line, with its line feed."""
        checks, doubtful = self._checked(record.checks) if record.checks else (b"", False)
        shadow = "deny" if doubtful and is_shadow_denied(record) else None
        own = _ascii(particulars(record, key=self._key, shadow=shadow))
        return b"".join((self._opening, self._called(record), b",", own[1:-1], checks, b"}\n"))

    def _called(self, record: DecisionRecord) -> bytes:
        """`,"issuer":…`: who asked, and under which policies."""
        key = (record.issuer, record.client_id, record.subject, record.scopes, record.revision, record.policies)
        kept = self._callers.get(key)
        if kept is None:
            found = caller(record, key=self._key)
            kept = b"," + _ascii(found)[1:-1] if found else b""
            _keep(self._callers, key, kept)
        return kept

    def _checked(self, outcomes: tuple[RuleOutcome, ...]) -> tuple[bytes, bool]:
        """`,"checks":[…]`, and whether any of them does not hold."""
        key = tuple(map(id, outcomes))
        kept = self._checks.get(key)
        if kept is not None:
            return kept[1], kept[2]
        rows = [check(outcome) for outcome in outcomes]
        text = b',"checks":' + _ascii(rows)
        doubtful = any("error_code" in row for row in rows)
        if not doubtful:
            # Outcomes of rules that do not hold are made anew each time: to keep them would only fill the memory.
            _keep(self._checks, key, (outcomes, text, doubtful))
        return text, doubtful


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[key] = value


def _ascii(value: object) -> bytes:
    """Compact JSON in ASCII: a line feed, an escape sequence or a bidi control in a client id reaches no terminal."""
    text = to_json(value)
    return text if text.isascii() else json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii")
