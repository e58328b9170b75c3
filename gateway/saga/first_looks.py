"""When this process first looked for each write that it has not found yet. Bounded, however many are missing."""

MOST = 10_000  # some 200 bytes each
_STALE_AFTER = 10  # times the longest wait: whoever was due that long ago is settled elsewhere


class FirstLooks:
    """The instants from which a wait of `seconds` is counted, by this process' own clock.

    In memory and not in the journal: what another process noted may be of a clock that was wrong, and an entry says
    nothing of whose note it carries that could not be changed with it. Where no room is left the wait of a write does
    not begin yet: it is looked for all the same, and its turn comes when one of those that wait has ended.
    """

    def __init__(self, seconds: float, most: int = MOST) -> None:
        self._seconds, self._most = seconds, most
        self._noted: dict[str, float] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._noted)

    def of(self, decision_id: str, now: float) -> float | None:
        """When the wait of this write began: now, if this is its first look. None: it has not begun."""
        first = self._noted.get(decision_id)
        if first is not None:
            return first
        if len(self._noted) >= self._most and not self._dropped_a_stale_one(now):
            return None
        self._noted[decision_id] = now
        return now

    def forget(self, decision_id: str) -> None:
        """Nobody here waits for this write any more; one that is not noted is no mistake."""
        self._noted.pop(decision_id, None)

    def _dropped_a_stale_one(self, now: float) -> bool:
        """Whether there is room now. Dropping is safe: at worst a wait is counted anew."""
        oldest = next(iter(self._noted))
        if now <= self._noted[oldest] + _STALE_AFTER * self._seconds:
            return False
        del self._noted[oldest]
        return True
