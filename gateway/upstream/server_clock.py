"""What time it is on the FHIR server, by the `Date` of its answers and this machine's steady clock since."""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import lru_cache

from gateway import steady_clock
from gateway.saga.ports import UpstreamAnswer


class ServerClock:
    """Never ahead of the server: `Date` has whole seconds, rounded down, and was said before the answer came."""

    def __init__(self, clock: Callable[[], float] = steady_clock.now) -> None:
        self._clock = clock
        self._said, self._at = "", 0.0

    def saw(self, answer: UpstreamAnswer) -> None:
        """An answer has just come."""
        self._said, self._at = answer.header(b"date") or "", self._clock()

    def now(self) -> float | None:
        """Seconds since the epoch on the server's clock; None when its last answer did not say."""
        date = _seconds(self._said)
        return None if date is None else date + self._clock() - self._at


def date_of(answer: UpstreamAnswer) -> float | None:
    """`Date` (RFC 9110 section 6.6.1) in seconds since the epoch, or None."""
    return _seconds(answer.header(b"date") or "")


@lru_cache(maxsize=8)  # it changes once a second
def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
