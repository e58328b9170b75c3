"""The journal as a port: durable intents, each owned by one running process."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import Issue, IssueCode, Unavailable
from gateway.saga.intent import Intent, State
from gateway.saga.table import Event

COUNTED_AT_MOST = 10_000  # nobody has to wait until millions of closed entries are counted


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
    """Entries per state, and when the oldest open one began (None: none is open).

    Every state has a number; that of a closed state stops at COUNTED_AT_MOST.
    """

    states: Mapping[State, int]
    oldest_open_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a person decided about an entry, or what reopened it: when, by whom and why."""

    decision_id: str
    event: Event
    by: str
    why: str
    at: float


class Journal(Protocol):
    """Every method raises JournalUnavailable when the journal is out of order.

    `owner` names this process; entries of owners that are gone are orphans, and may be claimed. An entry is held by
    its owner under an epoch: a process that was taken for gone goes on under another one, so that nothing it began
    before can still change an entry that others hold by now.
    """

    @property
    def owner(self) -> str: ...

    @property
    def broken(self) -> str | None:
        """Why the journal is out of order, or None."""

    async def open(self) -> None:
        """Make it usable; to be called once, before anything else."""

    async def close(self) -> None:
        """Commit what is queued. Entries that are open become orphans."""

    async def begin(self, intent: Intent) -> Intent:
        """Insert, durably, held by this process; returns it so.

        Raises NotOwner when it exists already, or another entry under the same `idempotency_key`.
        """

    def still_owner(self, intent: Intent) -> None:
        """Raises NotOwner unless this process surely still holds the entry. Cheap: asks nobody.

        To be called before each outward effect: a process that was paused may have been taken for gone.
        """

    async def advance(self, intent: Intent, *, expected: State) -> None:
        """Replace the entry, durably, if this process holds it and it is in `expected`; else raises NotOwner.

        A closed entry forgets its payloads: the journal keeps what an undo needs, no longer than that.
        """

    async def reclaim(self, intent: Intent, event: Event) -> tuple[Intent, Event]:
        """What the sender of a write learned too late: others took the entry over, closed or even pruned it.

        In one transaction the entry makes the move that `table.late` says and is this process' again, with the payloads
        of `intent`. A closed one that is reopened so gets a resolution. Returns the entry as it is held, and the event
        of the move; raises NotOwner when others know as much.
        """

    def advance_soon(self, intent: Intent, *, expected: State) -> "asyncio.Future[None]":
        """`advance` that nobody waits for: durable a moment later, before or together with the entry's next move.

        The next `advance` may take it over, and is then recorded as one move from `expected`. The future ends when
        nothing more is to be done for this move.
        """

    async def get(self, decision_id: str) -> Intent | None: ...

    async def keyed(self, keys: Collection[str]) -> Intent | None:
        """The entry under one of these hashes of a client's key, without its payloads."""

    async def list(self, states: Collection[State], limit: int) -> tuple[Intent, ...]:
        """Entries in these states, oldest first, without their payloads."""

    async def due(self, now: float, limit: int) -> tuple[Intent, ...]:
        """This process' own open entries whose `next_attempt_at` has come (or is not set), most overdue first.

        No more than fit into memory at once, but always the first. One whose payloads cannot be opened becomes stuck.
        """

    async def claim_orphans(self, now: float, limit: int) -> int:
        """Take over open entries of processes that are gone, due at once. Returns how many."""

    async def stored_versions(self, type_: str, ids: Collection[str]) -> frozenset[tuple[str, str]]:
        """Which versions (id, version) of these resources entries say they stored."""

    async def counts(self) -> JournalCounts: ...

    async def prune(self, before: float) -> int:
        """Delete some closed entries that have not changed since `before`. Returns how many; 0: none is left."""

    async def open_revisions(self) -> frozenset[str]:
        """The policy revisions under which open and stuck entries were let in."""

    async def record_policy_set(self, revision: str, sources: str) -> None:
        """Keep the sources (JSON) of a policy set under its revision; the same revision again changes nothing."""

    async def policy_set(self, revision: str) -> str | None:
        """The sources of a revision, or None."""

    async def decide(self, decision_id: str, event: Event, *, by: str, why: str, now: float) -> Intent:
        """Record a person's decision (a RETRY_… or RESOLVED_… event) and make the move.

        Raises KeyError (no such entry), StillOwned, or IllegalTransition.
        """

    async def resolutions(self, decision_id: str) -> tuple[Resolution, ...]: ...
