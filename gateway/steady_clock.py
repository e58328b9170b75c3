"""Seconds since the epoch, on a clock that nobody sets: the wall clock is read once, and counted on from there.

How long a write may still be applied, and what was written since, must not change because the time of day was set
right. A suspended machine's time counts, where the system can tell (CLOCK_BOOTTIME).
"""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_EPOCH = time.time() - time.clock_gettime(_CLOCK)


def now() -> float:
    """As `time.time()` would say it, had nobody touched the clock since this process began."""
    return _EPOCH + time.clock_gettime(_CLOCK)
