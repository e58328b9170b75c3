"""An event loop whose clock jumps to the next timer when nothing is left to do: an hour passes in milliseconds."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(Exception):
    """Every task waits for something that nothing will bring about."""


class _Skipping(selectors.SelectSelector):
    """Never waits: the time that it was asked to wait passes at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # No socket and no thread has a part in a run: the kernel is asked only before it is given up.
        if timeout is not None:
            self.now += max(0.0, timeout)
            return []
        ready = super().select(0)
        if not ready:
            raise Deadlock
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and has no relation to any real clock."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to its end on a loop of its own. What is left then never goes on."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        while left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            # Whoever waits on after being cancelled, for what a dead process never does, is cancelled once more.
            loop.run_until_complete(asyncio.wait(left, timeout=1))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
