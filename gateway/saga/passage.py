"""One write on its way through the moves, and what its caller is told of it."""

import asyncio
from dataclasses import dataclass

from gateway.saga.compensation import UndoAction
from gateway.saga.intent import Intent, State, replace
from gateway.saga.lookup_port import Seen
from gateway.saga.ports import UpstreamAnswer, UpstreamRequest
from gateway.saga.recorded_answer import is_final, made_answer, text_of
from gateway.saga.settled import Settled, Verified
from gateway.saga.table import Event


@dataclass(slots=True, kw_only=True)
class Passage:
    """One write under way. `request` is at hand only before it is sent; `until` bounds a waiting client's wait.

    `knows` is what this process alone learned by sending, as an event and the entry with it, until it is durable.
    """

    intent: Intent
    request: UpstreamRequest | None = None
    until: float | None = None
    answer: UpstreamAnswer | None = None
    seen: Seen | None = None
    verified: Verified | None = None
    undo: UndoAction | None = None
    behind: "asyncio.Future[None] | None" = None
    knows: tuple[Event, Intent] | None = None

    def settled(self, *, reason: str | None = None) -> Settled:
        """The passage as its caller sees it."""
        return Settled(
            state=self.intent.state,
            answer=self.answer_to(self.intent),
            failed=self.intent.failed,
            undo=self.undo,
            reason=reason or self.intent.reason,
            detail=self.verified.detail if self.verified else None,
            intent=self.intent,
        )

    def answer_to(self, intent: Intent) -> UpstreamAnswer | None:
        """The server's answer; where it was lost, and the write stays, one from what was read back."""
        if self.answer is not None or intent.state is not State.COMMITTED or intent.stored_version is None:
            return self.answer
        return made_answer(intent, b"" if self.seen is None else self.seen.body)


def answered(intent: Intent, event: Event, passage: Passage) -> Intent:
    """A closed entry with what its client is told when it asks again under its key.

    Where surely nothing was written, and no refusal stands, the key is free: the client's next try is a first one.
    """
    answer = passage.answer_to(intent)
    if intent.state is State.REJECTED and (event is not Event.REFUSED or answer is None or not is_final(answer)):
        return replace(intent, idempotency_key=None)
    if answer is None or intent.state is State.UNDONE:
        return intent
    return replace(intent, answer=text_of(answer, made=passage.answer is None))
