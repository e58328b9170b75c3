"""The journal as a port: durable intents, each owned by one running process."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import Issue, IssueCode, Unavailable
from gateway.saga.intent import Intent, State
from gateway.saga.table import Event


class JournalUnavailable(Unavailable):
    """The journal cannot be read or written. A move that was to be recorded counts as not made."""

    def __init__(self, reason: str) -> None:
        super().__init__(Issue(code=IssueCode.NO_STORE, text="The gateway's journal is out of order; try again later."))
        self.reason = reason


class NotOwner(Exception):
    """The entry is not in the expected state, or belongs to another process now: stop touching it."""


class StillOwned(Exception):
    """A person may not decide about an entry while a running process is settling it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalCounts:
    """Entries per state (every state has a number), and when the oldest open one began (None: none is open)."""

    states: Mapping[State, int]
    oldest_open_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a person decided about an entry, when and why."""

    decision_id: str
    event: Event
    by: str
    why: str
    at: float


class Journal(Protocol):
    """Every method raises JournalUnavailable when the journal is out of order.

    `owner` names this process; entries of owners that are gone are orphans, and may be claimed.
    """

    @property
    def owner(self) -> str: ...

    async def begin(self, intent: Intent) -> None:
        """Insert, durably, owned by this process. Raises NotOwner when the decision id exists already."""

    async def advance(self, intent: Intent, *, expected: State) -> None:
        """Replace the entry, durably, if this process owns it and it is in `expected`; else raises NotOwner.

        A closed entry forgets its payloads: the journal keeps what an undo needs, no longer than that.
        """

    async def get(self, decision_id: str) -> Intent | None: ...

    async def list(self, states: Collection[State], limit: int) -> tuple[Intent, ...]:
        """Entries in these states, oldest first."""

    async def due(self, now: float, limit: int) -> tuple[Intent, ...]:
        """This process' own open entries whose `next_attempt_at` has come (or is not set), most overdue first."""

    async def claim_orphans(self, now: float, limit: int) -> int:
        """Take over open entries of processes that are gone, due at once. Returns how many."""

    async def stored_ids(self, type_: str, ids: Collection[str]) -> frozenset[str]:
        """Which of these ids other entries say they stored."""

    async def counts(self) -> JournalCounts: ...

    async def prune(self, before: float) -> int:
        """Delete closed entries that have not changed since `before`. Returns how many."""

    async def record_policy_set(self, revision: str, sources: str) -> None:
        """Keep the sources (JSON) of a policy set under its revision; the same revision again changes nothing."""

    async def policy_set(self, revision: str) -> str | None:
        """The sources of a revision, or None."""

    async def decide(self, decision_id: str, event: Event, *, by: str, why: str, now: float) -> Intent:
        """Record a person's decision (a RETRY_… or RESOLVED_… event) and make the move.

        Raises KeyError (no such entry), StillOwned, or IllegalTransition.
        """

    async def resolutions(self, decision_id: str) -> tuple[Resolution, ...]: ...
