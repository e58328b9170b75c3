"""Counting in plain numbers: what happens on the way of a request is an addition, the metrics follow at the fold.

prometheus-client takes a lock, checks labels and looks for exemplars at every count; done in the middle of other
work that costs several times what it costs in one loop. Every scrape folds first, and so does a clock once a second.
"""

from collections.abc import Hashable

from prometheus_client import Counter, Histogram

# Observations that wait for a fold; past it they are folded at once, so that nothing grows.
_MOST_WAITING = 20_000


class Tally:
    """One counter child and one or two histogram children, and what they have not been told yet."""

    __slots__ = ("count", "counter", "histograms", "seconds")

    def __init__(self, counter: Counter | None, *histograms: Histogram) -> None:
        self.counter = counter
        self.histograms = histograms
        self.count = 0
        self.seconds: tuple[list[float], ...] = tuple([] for _ in histograms)

    def add(self, *seconds: float) -> None:
        """Count one, with one time in seconds for each histogram."""
        self.count += 1
        for waiting, value in zip(self.seconds, seconds, strict=True):
            waiting.append(value)
        if self.count > _MOST_WAITING:
            self.fold()

    def fold(self) -> None:
        """Tell the children."""
        count, self.count = self.count, 0
        if count and self.counter is not None:
            self.counter.inc(count)
        for histogram, waiting in zip(self.histograms, self.seconds, strict=True):
            values = waiting[:]
            del waiting[: len(values)]
            for value in values:
                histogram.observe(value)


class Tallies:
    """The tallies of one process by their label values: closed sets, so what is kept is bounded."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Tally] = {}

    def find(self, key: Hashable) -> Tally | None:
        """The tally bound to these label values, if it was."""
        return self._kept.get(key)

    def bind(self, key: Hashable, counter: Counter | None, *histograms: Histogram) -> Tally:
        """Bind one, once."""
        made = self._kept[key] = Tally(counter, *histograms)
        return made

    def fold(self) -> None:
        """Bring every child up to date."""
        for tally in tuple(self._kept.values()):
            tally.fold()
