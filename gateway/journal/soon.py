"""A move that nobody waits for, on its way to be recorded together with the next one of its entry."""

import asyncio
from dataclasses import dataclass

from gateway.saga.intent import Intent, State


@dataclass(slots=True)
class Soon:
    """A move that waits for the next one of its entry, and is recorded by itself when none comes."""

    intent: Intent
    expected: State
    done: "asyncio.Future[None]"
    timer: asyncio.TimerHandle

    def taken(self) -> State:
        """The next move takes it over; it starts from the state that this gives."""
        self.timer.cancel()
        if not self.done.done():
            self.done.set_result(None)
        return self.expected

    def fail(self, error: BaseException) -> None:
        """Tell whoever waits that it is not recorded."""
        if not self.done.done():
            self.done.set_exception(error)

    def recorded(self, written: "asyncio.Future[None]") -> None:
        """Tell whoever waits how it ended."""
        error = None if written.cancelled() else written.exception()
        if error is not None:
            self.fail(error)
        elif not self.done.done():
            self.done.set_result(None)
