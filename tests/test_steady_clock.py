"""The clock that nobody sets."""

import time

import pytest

from gateway import steady_clock


def test_it_says_what_the_wall_clock_says_and_goes_on() -> None:
    first = steady_clock.now()
    assert abs(first - time.time()) < 5
    assert steady_clock.now() >= first


@pytest.mark.parametrize("step", [-86_400.0, -300.0, 300.0, 86_400.0])
def test_whoever_sets_the_time_of_day_does_not_move_it(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    before, wall = steady_clock.now(), time.time
    monkeypatch.setattr(time, "time", lambda: wall() + step)
    assert abs(time.time() - wall() - step) < 5
    assert 0 <= steady_clock.now() - before < 5
