"""Executes a compensation: look, send the guarded undo, look again. What it means is judged in `compensation.py`."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.errors import GatewayError
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.saga.capability import Capability
from gateway.saga.compensation import Blocked, Deferred, Proven, Send, UndoAction, judge, plan, prepare, purge
from gateway.saga.intent import Intent
from gateway.saga.journal_port import NotOwner
from gateway.saga.lookup_port import Absent, Lookups, Seen, Trouble, Unclear
from gateway.saga.ports import AnswerLost, NotSent, TooLate, Upstream, UpstreamAnswer, UpstreamRequest

_UNDO_SECONDS = 30.0
_PURGE_SECONDS = 5.0  # a client may be waiting, for something that is undone already
Outcome = Proven | Deferred | Blocked


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoer:
    """Undoes one write, once. Trying again is the caller's: every request here is guarded by version.

    `holds` says whether this process still surely holds the entry; raises NotOwner when it does not.
    """

    upstream: Upstream
    lookups: Lookups
    limits: BodyLimits
    holds: Callable[[], bool]

    async def undo(self, intent: Intent, capability: Capability) -> tuple[UndoAction | None, Outcome]:
        """What was tried, and what became of it."""
        proven = await self._proven(intent)
        if isinstance(proven, Deferred):
            return None, proven
        action = plan(proven)
        if isinstance(action, Blocked):
            return None, action
        intent = proven
        return action, Proven() if action is UndoAction.NOTHING else await self._try(intent, action, capability)

    async def _proven(self, intent: Intent) -> Intent | Deferred:
        """A creation that its version does not prove: versions are opaque (http://hl7.org/fhir/R4/resource.html#Meta).

        A server that draws the id itself has replaced nothing, if the history of that id holds this one version.
        """
        id_ = intent.stored_id
        if intent.created is not None or intent.interaction is not InteractionCode.CREATE or not id_ or intent.id:
            return intent
        sent = self._parsed(intent.body)
        if sent is None or sent.get("id") == id_:
            return intent
        hits = await self.lookups.history(intent.type, id_, 0.0)
        if isinstance(hits, Unclear):
            outage = hits.trouble is Trouble.OUTAGE
            return Deferred(reason="the server cannot be read just now") if outage else intent
        alone = [hit.version for hit in hits] == [intent.stored_version]
        return replace(intent, created=True) if alone else intent

    async def purge(self, intent: Intent) -> bool:
        """After a proven undo: take the version that was written out of history. Whether it is gone, by a look."""
        await self._send(purge(intent), seconds=_PURGE_SECONDS)
        look = await self.lookups.version(intent.type, intent.stored_id or "", intent.stored_version or "")
        return isinstance(look, Absent)

    async def _try(self, intent: Intent, action: UndoAction, capability: Capability) -> Outcome:
        prior = self._prior(intent)
        if action is UndoAction.RESTORE and prior is None:
            return Blocked(reason="the version before cannot be read")
        current = await self._current(intent)
        if isinstance(current, Deferred | Blocked):
            return current
        next_ = prepare(intent, action, current, prior, capability)
        if not isinstance(next_, Send):
            return next_
        answer = await self._send(next_.request)
        after = await self._current(intent)
        return after if isinstance(after, Deferred | Blocked) else judge(intent, action, answer, after, prior)

    async def _current(self, intent: Intent) -> Seen | Absent | Deferred | Blocked:
        look = await self.lookups.current(intent.type, intent.stored_id or "")
        if not isinstance(look, Unclear):
            return look
        if look.trouble is Trouble.OUTAGE:
            return Deferred(reason="the server cannot be read just now")
        return Blocked(reason="the current version cannot be read, so it is not touched")

    async def _send(self, request: UpstreamRequest, *, seconds: float = _UNDO_SECONDS) -> UpstreamAnswer | None:
        # The look before it may have taken longer than the lease.
        if not self.holds():
            raise NotOwner
        try:
            return await self.upstream.send(replace(request, may_leave=self.holds), seconds=seconds)
        except TooLate:
            raise NotOwner from None
        except (NotSent, AnswerLost):
            return None

    def _prior(self, intent: Intent) -> JsonObject | None:
        return None if intent.prior_body is None else self._parsed(intent.prior_body)

    def _parsed(self, body: bytes) -> JsonObject | None:
        try:
            return parse(body, self.limits)
        except GatewayError:
            return None
