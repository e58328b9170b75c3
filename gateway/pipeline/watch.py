"""Background rhythm of a running gateway: reload changed policies, keep gauges true, probe the server late."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.identity.keys import JwksKeys
from gateway.observe.metrics import Metrics
from gateway.pipeline.policies import Policies
from gateway.saga.journal_port import Journal, JournalCounts, JournalUnavailable
from gateway.upstream.capability import CapabilityProbe

_FOLDS = 10  # in one round


@dataclass(slots=True, kw_only=True)
class Watch:
    """One task. `reload_changed` is the configuration's `reload: watch`; `seconds` the rhythm."""

    policies: Policies
    journal: Journal
    keys: JwksKeys
    issuers: Sequence[str]
    probe: CapabilityProbe
    metrics: Metrics
    backend: str
    reload_changed: bool
    seconds: float = 1.0
    counts: JournalCounts | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin, a rhythm after the last look."""
        self._task = asyncio.create_task(self._run(), name="watch")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> None:
        """One round."""
        self.metrics.fold()
        for issuer in self.issuers:
            if (read_at := self.keys.last_success(issuer)) is not None:
                self.metrics.jwks_fetched(issuer, read_at)
        try:
            self.counts = await self.journal.counts()
        except JournalUnavailable:
            self.metrics.journal_error(self.backend)
        else:
            oldest = self.counts.oldest_open_at
            states = {state.value: count for state, count in self.counts.states.items()}
            self.metrics.journal_entries(states, 0.0 if oldest is None else max(0.0, time.time() - oldest))

    async def _run(self) -> None:
        while True:
            for _ in range(_FOLDS):
                # Where several workers share a folder of metrics, nobody folds at the scrape.
                await asyncio.sleep(self.seconds / _FOLDS)
                self.metrics.fold()
            await self.look()
            if not self.probe.probed:
                await self.probe.refresh()
            if self.reload_changed and self.policies.changed():
                with contextlib.suppress(JournalUnavailable):
                    await self.policies.reload()
