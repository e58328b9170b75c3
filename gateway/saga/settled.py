"""What settling is given besides ports, and what it hands back."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from gateway.fhir.resource import BodyLimits
from gateway.saga.compensation import UndoAction
from gateway.saga.intent import Intent, State
from gateway.saga.ports import UpstreamAnswer
from gateway.saga.table import Event


class CrashPoint(StrEnum):
    """Where a test or the demo may kill the process: before the first, and after each durable or outward effect."""

    BEFORE_INTENT = "before-intent"
    AFTER_INTENT = "after-intent"
    AFTER_SEND = "after-send"
    AFTER_DOUBT = "after-doubt"
    AFTER_STORED = "after-stored"
    AFTER_COMMITTED = "after-committed"
    AFTER_REJECTED = "after-rejected"
    AFTER_COMPENSATING = "after-compensating"
    AFTER_UNDO = "after-undo"
    AFTER_UNDONE = "after-undone"
    AFTER_STUCK = "after-stuck"
    AFTER_CLAIM = "after-claim"

    @classmethod
    def recorded(cls, state: State) -> "CrashPoint":
        """The point right after a state was made durable."""
        return cls.AFTER_DOUBT if state is State.INTENDED else cls(f"after-{state.value}")


def crash_point_of(environment: Mapping[str, str]) -> CrashPoint | None:
    """`FHIR_GATEWAY_CRASH_AT`, or None. Raises ValueError for a name that is no crash point."""
    name = environment.get("FHIR_GATEWAY_CRASH_AT")
    return CrashPoint(name) if name else None


def kill_self() -> None:
    """`kill -9`: no handler runs, nothing is flushed. `FHIR_GATEWAY_CRASH_SIGNAL` (SIGTERM) is gentler."""
    os.kill(os.getpid(), signal.Signals[os.environ.get("FHIR_GATEWAY_CRASH_SIGNAL", "SIGKILL")])


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleSettings:
    """Times in seconds.

    `live_wait`: how long a client waits for the settling of its write. `send_window`: how long after the intent
    was made the write may still leave (a paused process that wakes up must not send what others gave up).
    `late_apply`: how long after it may have left the server could still apply it; "not found" counts only then, by a
    clock of the looking process' own.
    `most_refusals`: how often the server may refuse an undo before a person has to decide; `most_final_refusals`:
    the same where the refusal cannot pass by itself. `concurrency` bounds the entries that are retried at once.
    `keep_closed`: how long the outcome of a write can be asked for. `purge`: what was undone leaves history as well,
    where the server can do that.
    """

    live_wait: float = 10.0
    send_window: float = 10.0
    late_apply: float = 35.0
    backoff_first: float = 0.2
    backoff_most: float = 60.0
    most_refusals: int = 8
    most_final_refusals: int = 2
    most_defects: int = 3
    concurrency: int = 8
    sweep_every: float = 1.0
    follow_every: float = 0.2
    keep_closed: float = 30 * 24 * 3600.0
    prune_every: float = 600.0
    purge: bool = False
    limits: BodyLimits = field(default_factory=BodyLimits)
    crash_at: CrashPoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The judgement on what the server stored. `failed` names `policy/rule`; `detail` is the judge's own."""

    holds: bool
    failed: tuple[str, ...] = ()
    detail: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Where a write stands when the caller gets it back.

    Only `state` COMMITTED may become a 2xx. `answer` is the server's, or, when that was lost, one made from the
    read-back (status, ETag, Location relative to the base, body). `undo` is what undid, or would undo, the write.
    An open `state` means that settling goes on without the caller.
    """

    state: State
    answer: UpstreamAnswer | None = None
    failed: tuple[str, ...] = ()
    undo: UndoAction | None = None
    reason: str | None = None
    detail: object = None
    intent: Intent | None = None


class Observer(Protocol):
    """Told of every move; must not raise or block."""

    def transition(self, intent: Intent, event: Event) -> None:
        """The intent after the move, and the event that made it."""

    def undo(self, action: UndoAction, result: str, seconds: float) -> None:
        """One try: `result` is ok, conflict or error; `seconds` since the write began (the exposure)."""

    def stuck(self, intent: Intent, reason: str) -> None: ...

    def defect(self, decision_id: str, error: BaseException) -> None:
        """Settling raised what it must not."""


class Unobserved:
    """Watches nothing."""

    def transition(self, intent: Intent, event: Event) -> None:
        """Ignore the move."""

    def undo(self, action: UndoAction, result: str, seconds: float) -> None:
        """Ignore the try."""

    def stuck(self, intent: Intent, reason: str) -> None:
        """Ignore the alarm: the journal and its counts show it still."""

    def defect(self, decision_id: str, error: BaseException) -> None:
        """Ignore the defect: the entry ends stuck when it repeats."""
