"""Simulated time, and the life of one process in it."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

EPOCH = 1_700_000_000.0


def now() -> float:
    """Seconds since the epoch, on the simulated wall clock."""
    return EPOCH + asyncio.get_running_loop().time()


def clock() -> datetime:
    """The same for the sandbox's store."""
    return datetime.fromtimestamp(now(), UTC)


@dataclass(slots=True)
class Life:
    """One process from its start to its death: every call of a port passes here."""

    random: Random
    dies_after: int | None
    pauses_after: int | None
    disk_fails_after: int | None = None
    stops_at_byte: int | None = None  # the how manieth write stops between the last check and its first byte
    step: float = 0.0  # seconds by which this machine's clock is set from `steps_after` calls on
    steps_after: int = 0
    calls: int = 0
    dead: asyncio.Event = field(default_factory=asyncio.Event)
    paused_until: float = 0.0
    died_at: float = float("inf")
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def clock(self) -> float:
        """This machine's wall clock."""
        return now() + (self.step if self.calls >= self.steps_after else 0.0)

    def die(self) -> None:
        """From now on nothing of it goes on."""
        if not self.dead.is_set():
            self.died_at = now()
            self.dead.set()

    async def leaving(self) -> None:
        """A request is about to leave, and nothing will be asked any more."""
        if self.stops_at_byte is not None:
            self.stops_at_byte -= 1
            if self.stops_at_byte == 0:
                self.paused_until = now() + self.random.uniform(30, 200)
        await self.passing()

    async def passing(self) -> None:
        """Die or stand still when it is time; a dead process never comes back from here."""
        self.calls += 1
        if self.calls == self.dies_after:
            self.die()
        if self.calls == self.pauses_after:
            self.paused_until = now() + self.random.uniform(1, 120)
        if now() < self.paused_until:
            await asyncio.sleep(self.paused_until - now())
        if self.dead.is_set():
            await asyncio.Event().wait()
