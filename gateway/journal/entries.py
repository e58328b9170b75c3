"""The journal over named statements: all that SQLite and PostgreSQL have in common."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

import structlog

from gateway.journal import rows
from gateway.journal.sealing import Sealer
from gateway.journal.soon import Soon
from gateway.saga.intent import CLOSED, OPEN, Intent, State, replace
from gateway.saga.journal_port import (
    COUNTED_AT_MOST,
    JournalCounts,
    JournalUnavailable,
    NotOwner,
    Resolution,
    StillOwned,
)
from gateway.saga.table import Event, late, step

T = TypeVar("T")
_UNSETTLED = OPEN | {State.STUCK}
_PRUNED_AT_ONCE = 1000
_PATIENCE = 0.01  # seconds: about what a commit takes on a disk
_PAGE_BYTES = 32 * 1024 * 1024
_log = structlog.get_logger("journal")


class Result(Protocol):
    """What a statement gave; asking may wait for it."""

    def rows(self) -> Sequence[rows.Row]: ...

    def changed(self) -> int:
        """How many rows it inserted, updated or deleted."""


class Session(Protocol):
    """A transaction under way. `epoch` is the one under which this process holds its entries."""

    @property
    def epoch(self) -> int: ...

    def execute(self, statement: str, values: rows.Values) -> Result: ...


class Entries(ABC):
    """`Journal` but for opening, closing and telling who is alive."""

    def __init__(self) -> None:
        self._opened: Sealer | None = None
        self._soon: dict[str, Soon] = {}

    @property
    @abstractmethod
    def owner(self) -> str: ...

    @abstractmethod
    def _queue(self, begin: Callable[[Session], Callable[[], T]]) -> "asyncio.Future[T]":
        """One job of a transaction, in two halves; its place in the order is taken. Raises JournalUnavailable."""

    @abstractmethod
    def _alive(self, session: Session, intent: Intent) -> bool:
        """Whether the owner of an entry is a process that still runs."""

    @property
    def _sealer(self) -> Sealer:
        assert self._opened is not None, "open() comes first"  # noqa: S101 (a defect of the caller)
        return self._opened

    async def begin(self, intent: Intent) -> Intent:
        """Insert, durably. Returns the entry as this process holds it."""
        values = rows.values_of(intent, self._sealer) if self._opened else {}

        def run(session: Session) -> "Callable[[], Intent]":  # quoted here and below: it would be made anew each time
            held = replace(intent, owner=self.owner, epoch=session.epoch)
            values["owner"], values["epoch"] = held.owner, held.epoch
            result = session.execute("begin", values)
            return lambda: _one(result, held)

        return await self._queue(run)

    async def advance(self, intent: Intent, *, expected: State) -> None:
        """Replace, durably, what this process holds."""
        soon = self._soon.pop(intent.decision_id, None)
        if soon is not None:
            expected = soon.taken()  # both moves as one
        await self._queue(self._advancing(intent, expected))

    def advance_soon(self, intent: Intent, *, expected: State) -> "asyncio.Future[None]":
        """The same a moment later, unless the entry's next move takes it over: the journal's thread need not wake."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_PATIENCE, self._now, intent.decision_id)
        soon = self._soon[intent.decision_id] = Soon(intent, expected, loop.create_future(), timer)
        return soon.done

    def _now(self, decision_id: str) -> None:
        """The next move is not there yet: what can wait no longer is queued by itself."""
        soon = self._soon.pop(decision_id)
        try:
            recorded = self._queue(self._advancing(soon.intent, soon.expected))
        except JournalUnavailable as error:
            soon.fail(error)
        else:
            recorded.add_done_callback(soon.recorded)

    def _hurry(self) -> None:
        """Queue whatever still waits for its next move: the journal is about to close."""
        for decision_id, soon in tuple(self._soon.items()):
            soon.timer.cancel()
            self._now(decision_id)

    def _advancing(self, intent: Intent, expected: State) -> "Callable[[Session], Callable[[], None]]":
        values = rows.changes_of(intent, self._sealer) if self._opened else {}
        values["owner"], values["epoch"], values["expected"] = self.owner, intent.epoch, expected.value
        statement = "close" if intent.state in CLOSED else "advance"

        def run(session: Session) -> "Callable[[], None]":
            result = session.execute(statement, values)
            return lambda: _one(result, None)

        return run

    async def reclaim(self, intent: Intent, event: Event) -> tuple[Intent, Event]:
        """Make the move that late knowledge makes, from wherever the entry is by now."""
        soon = self._soon.pop(intent.decision_id, None)
        if soon is not None:
            soon.taken()  # it was of what others have overtaken
        values = rows.values_of(intent, self._sealer) if self._opened else {}

        def run(session: Session) -> Callable[[], tuple[Intent, Event]]:
            held, moved, result = self._reclaimed(session, intent, event, values)
            return lambda: _one(result, (held, moved))

        return await self._queue(run)

    async def get(self, decision_id: str) -> Intent | None:
        """The entry; payloads that cannot be opened are empty."""

        def run(session: Session) -> Callable[[], Intent | None]:
            result = session.execute("get", {"decision_id": decision_id})
            return lambda: next((rows.opened(row, self._sealer).intent for row in result.rows()), None)

        return await self._queue(run)

    async def keyed(self, keys: Collection[str]) -> Intent | None:
        """The entry under one of these hashes of a client's key, without its payloads."""

        def run(session: Session) -> Callable[[], Intent | None]:
            result = session.execute("keyed", {"keys": sorted(keys)})
            return lambda: next((rows.listed(row) for row in result.rows()), None)

        return await self._queue(run)

    async def list(self, states: Collection[State], limit: int) -> tuple[Intent, ...]:
        """Entries in these states, oldest first, without their payloads."""
        statement = "list_unsettled" if _UNSETTLED.issuperset(states) else "list"
        values: rows.Values = {"states": [state.value for state in states], "limit": limit}

        def run(session: Session) -> Callable[[], tuple[Intent, ...]]:
            result = session.execute(statement, values)
            return lambda: tuple(rows.listed(row) for row in result.rows())

        return await self._queue(run)

    async def due(self, now: float, limit: int) -> tuple[Intent, ...]:
        """Own open entries whose time has come. One whose payloads cannot be opened is given up: it is stuck."""

        def run(session: Session) -> Callable[[], tuple[Intent, ...]]:
            held: rows.Values = {"owner": self.owner, "epoch": session.epoch}
            values = {**held, "now": now, "limit": limit, "bytes": _PAGE_BYTES}
            found = [rows.opened(row, self._sealer) for row in session.execute("due", values).rows()]
            for each in found:
                if each.unreadable is not None:
                    _give_up(session, each.intent, each.unreadable, now)
            due = tuple(each.intent for each in found if each.unreadable is None)
            return lambda: due

        return await self._queue(run)

    async def stored_versions(self, type_: str, ids: Collection[str]) -> frozenset[tuple[str, str]]:
        """Which versions (id, version) of these resources entries say they stored."""
        if not ids:
            return frozenset()

        def run(session: Session) -> Callable[[], frozenset[tuple[str, str]]]:
            result = session.execute("stored_versions", {"type": type_, "ids": sorted(set(ids))})
            return lambda: frozenset((str(row["stored_id"]), str(row["stored_version"])) for row in result.rows())

        return await self._queue(run)

    async def counts(self) -> JournalCounts:
        """Entries per state; closed ones are counted no further than COUNTED_AT_MOST."""

        def run(session: Session) -> Callable[[], JournalCounts]:
            unsettled = session.execute("count_unsettled", {})
            closed = session.execute("count_closed", {"most": COUNTED_AT_MOST})
            return lambda: _counts(unsettled.rows(), closed.rows())

        return await self._queue(run)

    async def prune(self, before: float) -> int:
        """Delete some closed entries that have not changed since. Returns how many."""

        def run(session: Session) -> Callable[[], int]:
            return session.execute("prune", {"before": before, "limit": _PRUNED_AT_ONCE}).changed

        return await self._queue(run)

    async def open_revisions(self) -> frozenset[str]:
        """The policy revisions under which open and stuck entries were let in."""

        def run(session: Session) -> Callable[[], frozenset[str]]:
            result = session.execute("open_revisions", {})
            return lambda: frozenset(str(row["revision"]) for row in result.rows())

        return await self._queue(run)

    async def record_policy_set(self, revision: str, sources: str) -> None:
        """Keep the sources of a policy set."""

        def run(session: Session) -> Callable[[], None]:
            session.execute("record_policy_set", {"revision": revision, "sources": sources})
            return lambda: None

        await self._queue(run)

    async def policy_set(self, revision: str) -> str | None:
        """The sources of a revision, or None."""

        def run(session: Session) -> Callable[[], str | None]:
            result = session.execute("policy_set", {"revision": revision})
            return lambda: next((str(row["sources"]) for row in result.rows()), None)

        return await self._queue(run)

    async def decide(self, decision_id: str, event: Event, *, by: str, why: str, now: float) -> Intent:
        """Record a person's decision and make the move."""
        resolution = Resolution(decision_id=decision_id, event=event, by=by, why=why, at=now)

        def run(session: Session) -> Callable[[], Intent]:
            decided = self._decided(session, resolution)
            return lambda: decided

        return await self._queue(run)

    async def resolutions(self, decision_id: str) -> tuple[Resolution, ...]:
        """What persons decided about an entry, oldest first."""

        def run(session: Session) -> Callable[[], tuple[Resolution, ...]]:
            result = session.execute("resolutions", {"decision_id": decision_id})
            return lambda: tuple(_resolution(decision_id, row) for row in result.rows())

        return await self._queue(run)

    def _reclaimed(
        self, session: Session, intent: Intent, event: Event, values: rows.Values
    ) -> tuple[Intent, Event, Result]:
        row = next(iter(session.execute("get_locked", {"decision_id": intent.decision_id}).rows()), None)
        found = None if row is None else rows.listed(row)
        move = late(found, event)
        if move is None:
            raise NotOwner
        # Its key may have been freed, and be another write's by now.
        key = None if found is None or move.next is State.REJECTED else found.idempotency_key
        held = replace(intent, owner=self.owner, epoch=session.epoch, state=move.next, idempotency_key=key)
        values = {**values, "owner": held.owner, "epoch": held.epoch, "state": held.state.value}
        if held.state in CLOSED:
            values = rows.forgotten(values)
        if found is None:
            result = session.execute("begin", {**values, "idempotency_key": None})
        else:
            where: rows.Values = {
                "was_owner": found.owner,
                "was_epoch": found.epoch,
                "expected": found.state.value,
            }
            result = session.execute("reclaim", {**values, **where})
        if move.state is not State.INTENDED:
            why = "the process that had sent it was taken for gone, and woke up"
            at = intent.updated_at
            _record(
                session,
                Resolution(decision_id=intent.decision_id, event=move.event, by=self.owner, why=why, at=at),
            )
        return held, move.event, result

    def _decided(self, session: Session, resolution: Resolution) -> Intent:
        row = next(iter(session.execute("get", {"decision_id": resolution.decision_id}).rows()), None)
        if row is None:
            raise KeyError(resolution.decision_id)
        before = rows.listed(row)
        if before.state in OPEN and self._alive(session, before):
            raise StillOwned
        # Nobody settles an open one any more, and a person says how it ends: as if it had been stuck.
        move = step(State.STUCK if before.state in OPEN else before.state, resolution.event)
        retried = move.next in OPEN
        decided = replace(
            before,
            state=move.next,
            owner="" if retried else self.owner,  # nobody's: any running process may claim it
            epoch=0 if retried else session.epoch,
            updated_at=resolution.at,
            next_attempt_at=resolution.at if retried else before.next_attempt_at,
            attempts=0,
            refusals=0,
        )
        values: rows.Values = {
            "decision_id": before.decision_id,
            "owner": before.owner,
            "epoch": before.epoch,
            "expected": before.state.value,
            "state": decided.state.value,
            "new_owner": decided.owner,
            "new_epoch": decided.epoch,
            "now": resolution.at,
            "next_attempt_at": decided.next_attempt_at,
        }
        if session.execute("decide" if retried else "decide_closed", values).changed() != 1:
            raise StillOwned  # another process was faster
        _record(session, resolution)
        return decided


def _one(result: Result, value: T) -> T:
    """The value, if exactly one row changed."""
    if result.changed() != 1:
        raise NotOwner
    return value


def _record(session: Session, resolution: Resolution) -> None:
    session.execute(
        "record_resolution",
        {
            "decision_id": resolution.decision_id,
            "event": resolution.event.value,
            "by": resolution.by,
            "why": resolution.why,
            "at": resolution.at,
        },
    )


def _give_up(session: Session, intent: Intent, why: str, now: float) -> None:
    """As the table has it for a defect; the payloads stay, for the day on which the key is found."""
    move = step(intent.state, Event.DEFECT)
    assert move.next is State.STUCK  # noqa: S101 (the statement says so, too)
    values: rows.Values = {
        "decision_id": intent.decision_id,
        "owner": intent.owner,
        "epoch": intent.epoch,
        "expected": intent.state.value,
        "reason": why,
        "now": now,
    }
    session.execute("give_up", values)
    _log.critical("journal.unreadable", decision_id=intent.decision_id, reason=why)


def _counts(unsettled: Sequence[rows.Row], closed: Sequence[rows.Row]) -> JournalCounts:
    states = dict.fromkeys(State, 0)
    for row in (*unsettled, *closed):
        states[State(str(row["state"]))] = int(row["entries"] or 0)
    oldest = [float(row["oldest"] or 0.0) for row in unsettled if State(str(row["state"])) in OPEN]
    return JournalCounts(states=states, oldest_open_at=min(oldest, default=None))


def _resolution(decision_id: str, row: rows.Row) -> Resolution:
    return Resolution(
        decision_id=decision_id,
        event=Event(str(row["event"])),
        by=str(row["by"]),
        why=str(row["why"]),
        at=float(row["at"] or 0.0),
    )
