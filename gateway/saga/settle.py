"""Settling: one loop that takes a write from its intent to its end, live, on retry and after a crash alike.

Every move is a row of `table.py`, recorded before anything outward follows. Nothing here sends a write twice:
an intent whose request is not at hand is looked for.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from functools import partial

from gateway.fhir.json import JsonObject
from gateway.saga.capability import Capability
from gateway.saga.first_looks import FirstLooks
from gateway.saga.intent import OPEN, Intent, State, replace
from gateway.saga.journal_port import Journal, JournalUnavailable, NotOwner
from gateway.saga.lookup_port import Lookups
from gateway.saga.moves import Steps
from gateway.saga.passage import Passage
from gateway.saga.ports import Upstream, UpstreamRequest
from gateway.saga.recovery import Recovery
from gateway.saga.settled import (
    CrashPoint,
    Observer,
    Settled,
    SettleSettings,
    Unobserved,
    Verified,
    crash_point_of,
    kill_self,
)

Verify = Callable[[Intent, JsonObject], Awaitable[Verified]]

__all__ = ["CrashPoint", "Observer", "SettleSettings", "Settled", "Settler", "Verified", "crash_point_of"]


class Settler:
    """Owns every write that is being settled in this process.

    `verify` judges what the server stored; a GatewayError out of it that is no outage counts as "does not hold".
    `clock` is seconds since the epoch. `capability` is asked anew for each step, so that it may be probed late.
    """

    def __init__(
        self,
        upstream: Upstream,
        journal: Journal,
        verify: Verify,
        clock: Callable[[], float],
        settings: SettleSettings,
        *,
        lookups: Lookups,
        capability: Callable[[], Capability] = Capability,
        observer: Observer | None = None,
        crash: Callable[[], None] = kill_self,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._journal, self._clock, self._settings = journal, clock, settings
        self._observer = observer or Unobserved()
        self._steps = Steps(
            upstream=upstream,
            journal=journal,
            verify=verify,
            clock=clock,
            settings=settings,
            lookups=lookups,
            capability=capability,
            observer=self._observer,
            crash=crash,
            jitter=jitter,
            first_looks=FirstLooks(max(settings.late_apply, settings.backoff_most)),
        )
        self._live: set[asyncio.Task[Settled]] = set()
        self._insisting: set[asyncio.Task[None]] = set()
        self._in_flight: set[str] = set()
        self._recovery = Recovery(
            journal,
            self._resume,
            self._defective,
            in_flight=self._in_flight,
            clock=clock,
            settings=settings,
            claimed=partial(self._steps.crash_point, CrashPoint.AFTER_CLAIM),
        )

    def start(self, intent: Intent, request: UpstreamRequest | None) -> "asyncio.Future[Settled]":
        """`run` as a task that this settler owns: cancelling the returned future does not stop the write."""
        task = asyncio.create_task(self.run(intent, request), name=f"settle {intent.decision_id}")
        self._live.add(task)
        task.add_done_callback(self._live.discard)
        return asyncio.shield(task)

    async def run(self, intent: Intent, request: UpstreamRequest | None) -> Settled:
        """The live path. Raises JournalUnavailable only when the intent could not be made durable: nothing was sent.

        Without a request: the write left unrecorded and its answer was lost; it is recorded now, and looked for.

        To be called in a task that is not cancelled with the client's request; `start` makes one.
        """
        now, settings = self._clock(), self._settings
        deadline = now if request is None else now + settings.send_window
        intent = replace(
            intent,
            owner=self._journal.owner,
            state=State.INTENDED,
            send_deadline=deadline,
            next_attempt_at=deadline,
            updated_at=now,
        )
        self._in_flight.add(intent.decision_id)
        try:
            self._steps.crash_point(CrashPoint.BEFORE_INTENT)
            intent = await self._journal.begin(intent)
            self._steps.crash_point(CrashPoint.AFTER_INTENT)
            return await self._settle(Passage(intent=intent, request=request, until=now + settings.live_wait))
        finally:
            self._in_flight.discard(intent.decision_id)

    async def recover(self) -> None:
        """Start settling what earlier processes left open, and whatever becomes due; returns at once."""
        self._recovery.start()

    async def recovered(self) -> bool:
        """Settle what is due now, once, and say whether nothing that could go on is left (for tests and doctor)."""
        return await self._recovery.sweep() == 0

    async def close(self, grace: float) -> None:
        """Wait up to `grace` seconds for writes in flight. What is still open then is in the journal."""
        await self._recovery.stop()
        if self._live:
            await asyncio.wait(self._live, timeout=grace)
        for task in self._insisting:
            task.cancel()

    async def _resume(self, intent: Intent) -> None:
        """One round for an open entry that has no client waiting."""
        await self._settle(Passage(intent=intent))

    async def _defective(self, intent: Intent, error: BaseException, *, give_up: bool) -> None:
        self._observer.defect(intent.decision_id, error)
        if give_up:
            await self._steps.give_up(Passage(intent=intent))

    async def _settle(self, passage: Passage) -> Settled:
        try:
            try:
                while await self._steps.take(passage):
                    pass
            except NotOwner:
                return await self._overruled(passage)
        except JournalUnavailable:
            # The last recorded state is the truth; whoever opens the journal next goes on from there. But what this
            # process alone learned by sending must not be lost while it lives.
            if passage.knows is not None:
                task = asyncio.create_task(self._keep_insisting(passage), name=f"insist {passage.intent.decision_id}")
                self._insisting.add(task)
                task.add_done_callback(self._insisting.discard)
            return passage.settled(reason="the journal is out of order")
        return passage.settled()

    async def _overruled(self, passage: Passage) -> Settled:
        """This process was taken for gone. What it knows by sending counts; else the others settle the write."""
        try:
            await self._steps.insist(passage)
        except NotOwner:
            self._steps.first_looks.forget(passage.intent.decision_id)
            await self._steps.follow(passage)
            others = passage.intent.state in OPEN
            return passage.settled(reason="another process settles this write" if others else None)
        return await self._settle(passage) if passage.intent.state in OPEN else passage.settled()

    async def _keep_insisting(self, passage: Passage) -> None:
        """Until the journal can be had again. Nobody waits for this any more."""
        passage.until, id_ = None, passage.intent.decision_id
        self._in_flight.add(id_)  # two of one process must not settle it at once
        try:
            while passage.knows is not None:
                await asyncio.sleep(self._settings.sweep_every)
                with contextlib.suppress(JournalUnavailable):
                    await self._overruled(passage)
                    return
        finally:
            self._in_flight.discard(id_)
