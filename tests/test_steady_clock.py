"""The clock that nobody sets."""

import time

from gateway import steady_clock


def test_it_says_what_the_wall_clock_says_and_goes_on() -> None:
    first = steady_clock.now()
    assert abs(first - time.time()) < 5
    assert steady_clock.now() >= first
