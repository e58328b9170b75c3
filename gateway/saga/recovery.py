"""Going on with open entries: those of processes that are gone, and those whose next attempt is due."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Protocol

from gateway.saga.intent import Intent
from gateway.saga.journal_port import Journal, JournalUnavailable
from gateway.saga.settled import SettleSettings

Resume = Callable[[Intent], Coroutine[None, None, None]]
_PAGE = 64


class Defective(Protocol):
    """Told of an error that settling must not raise; gives the entry up when told to."""

    async def __call__(self, intent: Intent, error: BaseException, *, give_up: bool) -> None: ...


class Recovery:
    """A background task that sweeps the journal in pages, with bounded concurrency and memory."""

    def __init__(
        self,
        journal: Journal,
        resume: Resume,
        defective: Defective,
        *,
        in_flight: set[str],
        clock: Callable[[], float],
        settings: SettleSettings,
        claimed: Callable[[], None],
    ) -> None:
        """`claimed` is told of each sweep that took orphans over."""
        self._journal, self._resume, self._defective = journal, resume, defective
        self._in_flight, self._clock, self._settings = in_flight, clock, settings
        self._claimed = claimed
        self._task: asyncio.Task[None] | None = None
        self._defects: dict[str, int] = {}
        self._pruned_at = clock()

    def start(self) -> None:
        """Sweep until stopped. Starting twice changes nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="journal recovery")

    async def stop(self) -> None:
        """Stop between or inside of attempts: what is open stays in the journal as it is."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            try:
                while await self.sweep():
                    pass
                await self._prune()
            except JournalUnavailable:
                pass  # readiness tells; there is nothing to do here until the journal works again
            await asyncio.sleep(self._settings.sweep_every)

    async def sweep(self) -> int:
        """Claim orphans and give one page of due entries one round each. Returns how many got one."""
        now = self._clock()
        if await self._journal.claim_orphans(now, _PAGE):
            self._claimed()
        page = [each for each in await self._journal.due(now, _PAGE + len(self._in_flight)) if self._free(each)]
        page = page[:_PAGE]
        gate = asyncio.Semaphore(self._settings.concurrency)
        await asyncio.gather(*(self._round(each, gate) for each in page))
        return len(page)

    def _free(self, intent: Intent) -> bool:
        return intent.decision_id not in self._in_flight

    async def _round(self, intent: Intent, gate: asyncio.Semaphore) -> None:
        async with gate:
            self._in_flight.add(intent.decision_id)
            task = asyncio.ensure_future(self._resume(intent))
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                task.cancel()
                await asyncio.wait({task})
                raise
            finally:
                self._in_flight.discard(intent.decision_id)
            error = None if task.cancelled() else task.exception()
            if error is None:
                self._defects.pop(intent.decision_id, None)
            elif isinstance(error, Exception):
                await self._count(intent, error)
            else:
                raise error

    async def _count(self, intent: Intent, error: Exception) -> None:
        """A poison entry must neither stop the others nor be tried for ever."""
        count = self._defects.pop(intent.decision_id, 0) + 1
        give_up = count >= self._settings.most_defects
        if not give_up:
            self._defects[intent.decision_id] = count
        await self._defective(intent, error, give_up=give_up)

    async def _prune(self) -> None:
        now = self._clock()
        if now - self._pruned_at >= self._settings.prune_every:
            self._pruned_at = now
            while await self._journal.prune(now - self._settings.keep_closed):
                pass
