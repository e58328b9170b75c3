"""The steps of settling: send or look, read back and judge, undo. Each ends in one recorded move of the table."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from gateway.errors import GatewayError, Unavailable, UpstreamTimedOut
from gateway.fhir.json import JsonObject
from gateway.saga.capability import Capability
from gateway.saga.compensation import Blocked, Deferred, Proven, Refusal, UndoAction, plan
from gateway.saga.duplicates import created_before, delivered_before, is_marked, left_behind
from gateway.saga.find import Finder, NotThere, Stamps, Untellable
from gateway.saga.first_looks import FirstLooks
from gateway.saga.intent import CLOSED, OPEN, Intent, State, replace
from gateway.saga.journal_port import Journal, NotOwner
from gateway.saga.lookup_port import Absent, Lookups, Seen, Trouble, Unclear
from gateway.saga.passage import Passage, answered
from gateway.saga.ports import AnswerLost, NotSent, TooLate, Upstream, as_recorded
from gateway.saga.proof import Doubt, Matched, Refused, Stored, prove
from gateway.saga.settled import CrashPoint, Observer, SettleSettings, Verified
from gateway.saga.table import Durable, Event, Outward, Transition, step
from gateway.saga.undo import Undoer

_log = logging.getLogger(__name__)
_MOST_DOUBLINGS = 30
NOT_JUDGED = "gateway/not-judged"  # stands among the failed rules when it was no rule that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The moves, with their ports."""

    upstream: Upstream
    journal: Journal
    verify: Callable[[Intent, JsonObject], Awaitable[Verified]]
    clock: Callable[[], float]
    settings: SettleSettings
    lookups: Lookups
    capability: Callable[[], Capability]
    observer: Observer
    crash: Callable[[], None]
    jitter: Callable[[], float]
    first_looks: FirstLooks
    stamps: Stamps = field(default_factory=Stamps)

    def crash_point(self, point: CrashPoint) -> None:
        """Die here, if a test or the demo asked for it."""
        if self.settings.crash_at is point:
            _log.critical("crash point %s reached: this process kills itself, as configured", point.value)
            self.crash()

    async def take(self, passage: Passage) -> bool:
        """One step. True: go on with the next at once."""
        if passage.intent.state is State.INTENDED:
            move = await (self._look(passage) if passage.request is None else self._send(passage))
        elif passage.intent.state is State.STORED:
            move = await self._judge(passage)
        else:
            move = await self._undo(passage)
        if move.outward is not Outward.WAIT:
            return passage.intent.state in OPEN
        return await self._wait(passage)

    async def insist(self, passage: Passage) -> None:
        """Others took the write over, or closed it, while this process stood still: what it learned counts still.

        Raises NotOwner when others know as much, or when there is nothing that they do not know.
        """
        if passage.knows is None:
            raise NotOwner
        event, intent = passage.knows
        moved, made = await self.journal.reclaim(replace(intent, updated_at=self.clock()), event)
        passage.knows = passage.behind = None
        self._arrived(passage, moved, made)
        self.crash_point(CrashPoint.recorded(moved.state))

    async def follow(self, passage: Passage) -> None:
        """Another process settles the write: what became of it, as far as the client that waits here can wait."""
        while (found := await self.journal.get(passage.intent.decision_id)) is not None:
            passage.intent = found
            if found.state not in OPEN or passage.until is None or self.clock() >= passage.until:
                break
            await asyncio.sleep(min(self.settings.follow_every, max(0.0, passage.until - self.clock())))
        intent = passage.intent
        if intent.state is State.COMMITTED and passage.answer is None and intent.stored_version is not None:
            look = await self._stored_version(intent)
            passage.seen = look if isinstance(look, Seen) and look.readable else None

    async def give_up(self, passage: Passage) -> None:
        """Settling keeps failing by a defect of the gateway: a person has to look."""
        await self._move(passage, Event.DEFECT, replace(passage.intent, reason="settling failed by a defect"))

    async def _wait(self, passage: Passage) -> bool:
        """Until the next attempt, if somebody is waiting for it that long."""
        next_at = passage.intent.next_attempt_at or 0.0
        if passage.until is None or next_at > passage.until:
            return False
        await asyncio.sleep(max(0.0, next_at - self.clock()))
        return True

    async def _send(self, passage: Passage) -> Transition:
        request, passage.request = passage.request, None  # never a second time
        intent = passage.intent
        may_leave = partial(self._may_leave, intent)
        try:
            if request is None or not may_leave():
                raise TooLate
            answer = await self.upstream.send(as_recorded(request, intent.write_id, may_leave))
        except NotSent as held:
            reason = "too late to send" if isinstance(held, TooLate) else "the server was not reached"
            return await self._learned(passage, Event.NOT_SENT, replace(intent, reason=reason))
        except AnswerLost as lost:
            reason = "the answer timed out" if lost.timed_out else "the connection broke before the answer"
            return await self._in_doubt(passage, intent, reason)
        self.crash_point(CrashPoint.AFTER_SEND)
        intent = replace(intent, upstream_status=answer.status)
        proof = prove(intent, answer, self.capability())
        if isinstance(proof, Doubt):
            return await self._in_doubt(passage, replace(intent, stored_id=proof.id), proof.reason)
        if isinstance(proof, Matched | Refused):
            earlier = await delivered_before(self._finder(), intent, answer, proof, self.capability())
            if earlier is not None:
                passage.knows = Event.ANSWERED_STORED, _stored(intent, earlier)
                return await self._is_stored(passage, intent, earlier)
        passage.answer = answer
        if isinstance(proof, Stored):
            passage.knows = Event.ANSWERED_STORED, _stored(intent, proof)
            return await self._is_stored(passage, intent, proof)
        event = Event.ANSWERED_NOTHING if isinstance(proof, Matched) else Event.REFUSED
        assert isinstance(proof, Matched | Refused)  # noqa: S101 (tells mypy that no kind of proof is left)
        return await self._learned(passage, event, replace(intent, created=False))

    def _may_leave(self, intent: Intent) -> bool:
        """Whether nobody can have given the write up: asked last of all before its first byte leaves."""
        return self.clock() <= (intent.send_deadline or 0.0) and self._holds(intent)

    def _holds(self, intent: Intent) -> bool:
        try:
            self.journal.still_owner(intent)
        except NotOwner:
            return False
        return True

    async def _learned(self, passage: Passage, event: Event, intent: Intent) -> Transition:
        """A move by what only the sender can know."""
        passage.knows = event, intent
        return await self._move(passage, event, intent)

    async def _in_doubt(self, passage: Passage, intent: Intent, reason: str) -> Transition:
        """The last byte left by now: from here on it is counted how long the server may still apply the write."""
        doubted = replace(intent, send_deadline=self.clock(), reason=reason)
        return await self._learned(passage, Event.ANSWER_LOST, doubted)

    async def _is_stored(self, passage: Passage, intent: Intent, proof: Stored) -> Transition:
        stored = _stored(intent, proof)
        if not stored.read_back:
            if passage.answer is None and passage.until is not None:
                await self._seen_by_the_client(passage, stored)
            return await self._move(passage, Event.STORED_FOR_GOOD, stored)
        move = await self._move(passage, Event.ANSWERED_STORED, stored)
        if self.settings.crash_at is CrashPoint.AFTER_STORED and passage.behind is not None:
            await passage.behind
        self.crash_point(CrashPoint.AFTER_STORED)
        return move

    async def _seen_by_the_client(self, passage: Passage, stored: Intent) -> None:
        """The body of an answer that was lost, for whoever waits for it. Nothing is judged by it."""
        look = await self._stored_version(stored)
        passage.seen = look if isinstance(look, Seen) and look.readable else None

    async def _look(self, passage: Passage) -> Transition:
        intent, capability = passage.intent, self.capability()
        if not capability.known:
            return await self._move(passage, Event.NOT_FOUND_YET, self._later(intent))
        # Taken before the look: what is applied while it runs must not count as found too late.
        over = self._too_late(intent)
        found = await self._finder().find(intent, capability, last=over)
        if isinstance(found, Stored):
            return await self._is_stored(passage, intent, found)
        if isinstance(found, NotThere) and (found.final or over):
            return await self._move(passage, Event.NOT_FOUND, replace(intent, reason="looked for and not found"))
        if isinstance(found, Untellable):
            return await self._move(passage, Event.UNDECIDABLE, replace(intent, reason=found.reason))
        return await self._move(passage, Event.NOT_FOUND_YET, self._later(intent))

    def _finder(self) -> Finder:
        return Finder(
            lookups=self.lookups, stored=self.journal.stored_versions, limits=self.settings.limits, stamps=self.stamps
        )

    def _too_late(self, intent: Intent) -> bool:
        """Whether the server can no longer apply it.

        Counted from this process' own first look, for what another one noted may be of a clock that was wrong. By then
        the write had left, or whoever could send it was gone; if that one only stood still, its word counts (`late`).
        """
        now = self.clock()
        first = self.first_looks.of(intent.decision_id, now)
        if first is None:
            return False
        return now > first + self.settings.late_apply

    async def _judge(self, passage: Passage) -> Transition:
        seen = await self._read_back(passage)
        if isinstance(seen, Transition):
            return seen
        passage.seen = seen
        intent = created_before(passage.intent, seen, self.capability())
        overtaken = await self._overtaken(intent)
        if isinstance(overtaken, Seen) and is_marked(intent, overtaken.resource):
            intent = created_before(intent, overtaken, self.capability())
            overtaken = await self._overtaken(intent, by=overtaken.version)
        if isinstance(overtaken, Seen):
            over = replace(intent, prior_version=overtaken.version, prior_body=overtaken.body)
            return await self._fails(passage, over, "it replaced a version that was not the one judged")
        if isinstance(overtaken, Absent):
            over = replace(intent, created=True)
            return await self._fails(passage, over, "it brought back what another writer had removed")
        verified = None if isinstance(overtaken, Unclear) else await self._verified(intent, seen.resource)
        if verified is None:
            return await self._move(passage, Event.UNREADABLE, self._later(intent))
        passage.verified = verified
        if verified.holds:
            return await self._move(passage, Event.HOLDS, replace(intent, reason=None))
        failed = replace(intent, failed=verified.failed)
        return await self._fails(passage, failed, "a rule does not hold on what is stored")

    async def _read_back(self, passage: Passage) -> Seen | Transition:
        """What is stored, or the move that follows from its not being there to be judged."""
        intent = passage.intent
        look = await self._stored_version(intent)
        if isinstance(look, Unclear) and look.trouble is Trouble.OUTAGE:
            return await self._move(passage, Event.UNREADABLE, self._later(intent))
        if isinstance(look, Absent):
            return await self._fails(passage, intent, "what was stored is gone")
        if isinstance(look, Unclear) or not look.readable:
            return await self._fails(passage, intent, "what was stored cannot be read")
        if look.resource.get("resourceType") != intent.type or look.resource.get("id") != intent.stored_id:
            unknown = replace(intent, created=None, stored_version=None)
            return await self._fails(passage, unknown, "the server shows another resource")
        if intent.stored_version != intent.prior_version:  # an unchanged PUT makes no version and records nothing
            self.stamps.note(intent.write_id, look.resource)
        return look

    async def _verified(self, intent: Intent, stored: JsonObject) -> Verified | None:
        """The judgement, or None while it cannot be made. What cannot be judged at all does not hold."""
        try:
            return await self.verify(intent, stored)
        except (Unavailable, UpstreamTimedOut):
            return None
        except GatewayError:
            return Verified(holds=False)

    async def _stored_version(self, intent: Intent) -> Seen | Absent | Unclear:
        """By version; servers that keep no history have only the current one, which must be the same version."""
        id_, version = intent.stored_id or "", intent.stored_version or ""
        look = await self.lookups.version(intent.type, id_, version)
        if isinstance(look, Seen) or (isinstance(look, Unclear) and look.trouble is Trouble.OUTAGE):
            return look if not isinstance(look, Seen) or look.version == version else Absent()
        current = await self.lookups.current(intent.type, id_)
        if isinstance(current, Seen):
            return current if current.version == version else Absent()
        return current

    async def _overtaken(self, intent: Intent, *, by: str | None = None) -> Seen | Absent | Unclear | None:
        """The version (or deletion) that this write replaced, if not the one that was judged: no guard held it back.

        `by`: the version of the write's first delivery, where the network delivered it twice.
        """
        capability, version = self.capability(), by or intent.stored_version or ""
        replaced = intent.created is False or (intent.created is None and intent.prior_version is not None)
        if not replaced or version == intent.prior_version:
            return None
        if intent.prior_version is not None and capability.guarded_update:
            return None
        before = capability.before(version)
        if before is None or before == intent.prior_version:
            return None
        look = await self.lookups.version(intent.type, intent.stored_id or "", before)
        if isinstance(look, Unclear):
            return look if look.trouble is Trouble.OUTAGE else None
        return look if (look.deleted if isinstance(look, Absent) else look.readable) else None

    async def _fails(self, passage: Passage, intent: Intent, reason: str) -> Transition:
        action = plan(intent)
        passage.undo = None if isinstance(action, Blocked) else action
        failed = intent.failed or (NOT_JUDGED,)
        fresh = replace(intent, failed=failed, reason=reason, attempts=0, refusals=0, next_attempt_at=self.clock())
        return await self._move(passage, Event.FAILS, fresh)

    async def _undo(self, passage: Passage) -> Transition:
        intent, capability = passage.intent, self.capability()
        if not capability.known:
            return await self._move(passage, Event.UNDO_DEFERRED, self._later(intent))
        undoer = Undoer(
            upstream=self.upstream,
            lookups=self.lookups,
            limits=self.settings.limits,
            holds=partial(self._holds, intent),
        )
        action, outcome = await undoer.undo(intent, capability)
        passage.undo = action
        self.crash_point(CrashPoint.AFTER_UNDO)
        result = "ok" if isinstance(outcome, Proven) else "error"
        if isinstance(outcome, Blocked) or (isinstance(outcome, Deferred) and outcome.refused is not None):
            result = "conflict"
        self.observer.undo(action or UndoAction.NOTHING, result, max(0.0, self.clock() - intent.started_at))
        if isinstance(outcome, Proven):
            return await self._undone(passage, await self._purged(undoer, action, intent, capability))
        if isinstance(outcome, Deferred):
            refusals = intent.refusals + (outcome.refused is not None)
            final = outcome.refused is Refusal.FINAL
            if refusals < (self.settings.most_final_refusals if final else self.settings.most_refusals):
                later = replace(self._later(intent), refusals=refusals)
                return await self._move(passage, Event.UNDO_DEFERRED, later)
        return await self._move(passage, Event.UNDO_BLOCKED, replace(intent, reason=outcome.reason))

    async def _undone(self, passage: Passage, intent: Intent) -> Transition:
        """What it stored is gone. A network that delivered it twice left another one, which goes by the same rows."""
        other = await left_behind(self._finder(), intent, self.capability())
        if isinstance(other, Unclear):
            return await self._move(passage, Event.UNDO_DEFERRED, self._later(intent))
        if other is not None:
            reason = f"delivered twice: {intent.type}/{intent.stored_id} is undone, {other.id} is to be"
            left = replace(_stored(intent, other), refusals=0, next_attempt_at=self.clock(), reason=reason)
            return await self._move(passage, Event.UNDO_DEFERRED, left)
        return await self._move(passage, Event.UNDO_PROVEN, intent)

    async def _purged(
        self, undoer: Undoer, action: UndoAction | None, intent: Intent, capability: Capability
    ) -> Intent:
        """The undone write, taken out of history too where that is wanted. If that fails, it is undone all the same."""
        removed = action in (UndoAction.DELETE, UndoAction.RESTORE)
        if not (removed and self.settings.purge and capability.purges):
            return intent
        gone = await undoer.purge(intent)
        self.observer.undo(UndoAction.PURGE, "ok" if gone else "error", max(0.0, self.clock() - intent.started_at))
        what = "purged from history, too" if gone else "undone, but its version is still in history"
        return replace(intent, reason=f"{intent.reason}: {what}" if intent.reason else what)

    async def _move(self, passage: Passage, event: Event, intent: Intent) -> Transition:
        """Record a move, then let it be the truth."""
        row = step(passage.intent.state, event)
        moved = replace(intent, state=row.next, updated_at=self.clock())
        if moved.idempotency_key is not None and moved.state in CLOSED:
            moved = answered(moved, event, passage)
        if row.durable is Durable.BEHIND:
            # Never recorded after a move that follows; awaited with the next one.
            passage.behind = self.journal.advance_soon(moved, expected=row.state)
        else:
            await self._recorded(passage, moved, row.state)
        self._arrived(passage, moved, event)
        if row.durable is Durable.BEFORE:
            passage.knows = None
            self.crash_point(CrashPoint.recorded(moved.state))
        return row

    def _arrived(self, passage: Passage, moved: Intent, event: Event) -> None:
        passage.intent = moved
        if moved.state is not State.INTENDED:
            self.first_looks.forget(moved.decision_id)
        self.observer.transition(moved, event)
        if moved.state is State.STUCK:
            self.observer.stuck(moved, moved.reason or "")

    async def _recorded(self, passage: Passage, moved: Intent, expected: State) -> None:
        """Durable, with what was recorded behind. Of two failures the first is told: the other came of it."""
        behind, passage.behind = passage.behind, None
        try:
            await self.journal.advance(moved, expected=expected)
        finally:
            if behind is not None:
                await behind

    def _later(self, intent: Intent) -> Intent:
        """The same with its next attempt put off: doubling, with jitter so that a herd spreads out."""
        pause = self.settings.backoff_first * 2 ** min(intent.attempts, _MOST_DOUBLINGS)
        pause = min(pause, self.settings.backoff_most) * (0.5 + self.jitter() / 2)
        return replace(intent, attempts=intent.attempts + 1, next_attempt_at=self.clock() + pause)


def _stored(intent: Intent, proof: Stored) -> Intent:
    return replace(
        intent, stored_id=proof.id, stored_version=proof.version, created=proof.created, attempts=0, reason=None
    )
