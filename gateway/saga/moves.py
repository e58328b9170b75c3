"""The steps of settling: send or look, read back and judge, undo. Each ends in one recorded move of the table."""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gateway.errors import GatewayError, Unavailable, UpstreamTimedOut
from gateway.fhir.json import JsonObject
from gateway.saga.capability import Capability
from gateway.saga.compensation import Blocked, Deferred, Proven, UndoAction, plan
from gateway.saga.find import Finder, NotThere, Stamps, Untellable
from gateway.saga.intent import OPEN, Intent, State, replace
from gateway.saga.journal_port import Journal
from gateway.saga.lookup_port import Absent, Lookups, Seen, Trouble, Unclear
from gateway.saga.ports import AnswerLost, NotSent, Upstream, UpstreamAnswer, UpstreamRequest
from gateway.saga.proof import Doubt, Matched, Refused, Stored, prove
from gateway.saga.settled import CrashPoint, Observer, Settled, SettleSettings, Verified
from gateway.saga.table import Durable, Event, Outward, Transition, step
from gateway.saga.undo import Undoer

_log = logging.getLogger(__name__)
_MOST_DOUBLINGS = 30
NOT_JUDGED = "gateway/not-judged"  # stands among the failed rules when it was no rule that failed


@dataclass(slots=True, kw_only=True)
class Passage:
    """One write under way. `request` is at hand only before it is sent; `until` bounds a waiting client's wait."""

    intent: Intent
    request: UpstreamRequest | None = None
    until: float | None = None
    answer: UpstreamAnswer | None = None
    seen: Seen | None = None
    verified: Verified | None = None
    undo: UndoAction | None = None
    behind: "asyncio.Future[None] | None" = None

    def settled(self, *, reason: str | None = None) -> Settled:
        """The passage as its caller sees it."""
        answer = self.answer
        if answer is None and self.intent.state is State.COMMITTED and self.seen is not None:
            answer = _made_answer(self.intent, self.seen)
        return Settled(
            state=self.intent.state,
            answer=answer,
            failed=self.intent.failed,
            undo=self.undo,
            reason=reason or self.intent.reason,
            detail=self.verified.detail if self.verified else None,
            intent=self.intent,
        )


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
    first_looks: dict[str, float] = field(default_factory=dict)
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
        if request is None or self.clock() > (intent.send_deadline or 0.0):
            return await self._move(passage, Event.NOT_SENT, replace(intent, reason="too late to send"))
        self.journal.still_owner(intent)
        try:
            answer = await self.upstream.send(_with_write_id(request, intent.write_id))
        except NotSent:
            return await self._move(passage, Event.NOT_SENT, replace(intent, reason="the server was not reached"))
        except AnswerLost as lost:
            reason = "the answer timed out" if lost.timed_out else "the connection broke before the answer"
            return await self._in_doubt(passage, intent, reason)
        self.crash_point(CrashPoint.AFTER_SEND)
        intent = replace(intent, upstream_status=answer.status)
        proof = prove(intent, answer, self.capability())
        if isinstance(proof, Doubt):
            return await self._in_doubt(passage, replace(intent, stored_id=proof.id), proof.reason)
        passage.answer = answer
        if isinstance(proof, Stored):
            return await self._is_stored(passage, intent, proof)
        event = Event.ANSWERED_NOTHING if isinstance(proof, Matched) else Event.REFUSED
        assert isinstance(proof, Matched | Refused)  # noqa: S101 (tells mypy that no kind of proof is left)
        return await self._move(passage, event, replace(intent, created=False))

    async def _in_doubt(self, passage: Passage, intent: Intent, reason: str) -> Transition:
        """The last byte left by now: from here on it is counted how long the server may still apply the write."""
        return await self._move(passage, Event.ANSWER_LOST, replace(intent, send_deadline=self.clock(), reason=reason))

    async def _is_stored(self, passage: Passage, intent: Intent, proof: Stored) -> Transition:
        stored = replace(
            intent, stored_id=proof.id, stored_version=proof.version, created=proof.created, attempts=0, reason=None
        )
        move = await self._move(passage, Event.ANSWERED_STORED, stored)
        if self.settings.crash_at is CrashPoint.AFTER_STORED and passage.behind is not None:
            await passage.behind
        self.crash_point(CrashPoint.AFTER_STORED)
        return move

    async def _look(self, passage: Passage) -> Transition:
        intent, capability = passage.intent, self.capability()
        if not capability.known:
            return await self._move(passage, Event.NOT_FOUND_YET, self._later(intent))
        # Taken before the look: what is applied while it runs must not count as found too late.
        over = self._too_late(intent)
        finder = Finder(
            lookups=self.lookups,
            stored=self.journal.stored_versions,
            limits=self.settings.limits,
            stamps=self.stamps,
        )
        found = await finder.find(intent, capability, last=over)
        if not isinstance(found, NotThere | Unclear) or over:
            self.first_looks.pop(intent.decision_id, None)
        if isinstance(found, Stored):
            return await self._is_stored(passage, intent, found)
        if isinstance(found, NotThere) and (found.final or over):
            return await self._move(passage, Event.NOT_FOUND, replace(intent, reason="looked for and not found"))
        if isinstance(found, Untellable):
            return await self._move(passage, Event.UNDECIDABLE, replace(intent, reason=found.reason))
        return await self._move(passage, Event.NOT_FOUND_YET, self._later(intent))

    def _too_late(self, intent: Intent) -> bool:
        """Whether the server can no longer apply it.

        Also counted from this process' own first look: what another process noted may be of a clock that was wrong.
        """
        now = self.clock()
        first = self.first_looks.setdefault(intent.decision_id, now)
        return now > max(intent.send_deadline or intent.started_at, first) + self.settings.late_apply

    async def _judge(self, passage: Passage) -> Transition:
        seen = await self._read_back(passage)
        if isinstance(seen, Transition):
            return seen
        passage.seen = seen
        intent = passage.intent
        overtaken = await self._overtaken(intent)
        if isinstance(overtaken, Seen):
            over = replace(intent, prior_version=overtaken.version, prior_body=overtaken.body)
            return await self._fails(passage, over, "it replaced a version that was not the one judged")
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

    async def _overtaken(self, intent: Intent) -> Seen | Unclear | None:
        """The version that this write replaced, if that is not the one that was judged (no guard held it back)."""
        capability, version = self.capability(), intent.stored_version or ""
        if intent.created is not False or version == intent.prior_version:
            return None
        if intent.prior_version is not None and capability.guarded_update:
            return None
        before = capability.before(version)
        if before is None or before == intent.prior_version:
            return None
        look = await self.lookups.version(intent.type, intent.stored_id or "", before)
        if isinstance(look, Unclear):
            return look if look.trouble is Trouble.OUTAGE else None
        return look if isinstance(look, Seen) and look.readable else None

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
        self.journal.still_owner(intent)
        undoer = Undoer(upstream=self.upstream, lookups=self.lookups, limits=self.settings.limits)
        action, outcome = await undoer.undo(intent, capability)
        passage.undo = action
        self.crash_point(CrashPoint.AFTER_UNDO)
        result = "ok" if isinstance(outcome, Proven) else "error"
        if isinstance(outcome, Blocked) or (isinstance(outcome, Deferred) and outcome.refused):
            result = "conflict"
        self.observer.undo(action or UndoAction.NOTHING, result, max(0.0, self.clock() - intent.started_at))
        if isinstance(outcome, Proven):
            return await self._move(passage, Event.UNDO_PROVEN, await self._purged(undoer, action, intent, capability))
        if isinstance(outcome, Deferred):
            refusals = intent.refusals + outcome.refused
            if refusals < self.settings.most_refusals:
                later = replace(self._later(intent), refusals=refusals)
                return await self._move(passage, Event.UNDO_DEFERRED, later)
        return await self._move(passage, Event.UNDO_BLOCKED, replace(intent, reason=outcome.reason))

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
        if row.durable is Durable.BEHIND:
            # Queued before anything that follows, so that the order holds; awaited with the next move.
            passage.behind = self.journal.advance_soon(moved, expected=row.state)
        else:
            await self._recorded(passage, moved, row.state)
        passage.intent = moved
        self.observer.transition(moved, event)
        if moved.state is State.STUCK:
            self.observer.stuck(moved, moved.reason or "")
        if row.durable is Durable.BEFORE:
            self.crash_point(CrashPoint.recorded(moved.state))
        return row

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


def _with_write_id(request: UpstreamRequest, write_id: str) -> UpstreamRequest:
    """The write under its own request id and no other: that is how it is found again."""
    kept = tuple(header for header in request.headers if header[0] != b"x-request-id")
    return dataclasses.replace(request, headers=(*kept, (b"x-request-id", write_id.encode())))


def _made_answer(intent: Intent, seen: Seen) -> UpstreamAnswer:
    """Stands in for an answer that was lost, from what was read back."""
    place = f"{intent.type}/{seen.id}/_history/{seen.version}".encode()
    return UpstreamAnswer(
        status=201 if intent.created else 200,
        headers=(
            (b"content-type", b"application/fhir+json; charset=utf-8"),
            (b"etag", f'W/"{seen.version}"'.encode()),
            (b"location" if intent.created else b"content-location", place),
        ),
        body=seen.body,
    )
