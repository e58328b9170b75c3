"""What time it is on the server."""

import pytest

from gateway.saga.ports import UpstreamAnswer
from gateway.upstream.server_clock import ServerClock


def answer(*dates: str) -> UpstreamAnswer:
    return UpstreamAnswer(status=200, headers=tuple((b"date", each.encode()) for each in dates), body=b"")


def test_it_goes_on_by_a_steady_clock_from_what_the_last_answer_said() -> None:
    now = [5.0]
    clock = ServerClock(lambda: now[0])
    assert clock.now() is None
    clock.saw(answer("Sun, 09 Sep 2001 01:46:40 GMT"))
    assert clock.now() == 1_000_000_000.0
    now[0] = 12.5
    assert clock.now() == 1_000_000_007.5
    clock.saw(answer("Sun, 09 Sep 2001 01:46:00 GMT"))
    assert clock.now() == 1_000_000_000.0 - 40


@pytest.mark.parametrize("dates", [(), ("",), ("yesterday",), ("Sun, 99 Sep 2001 01:46:40 GMT",)])
def test_a_server_that_does_not_say_has_no_time(dates: tuple[str, ...]) -> None:
    clock = ServerClock(lambda: 5.0)
    clock.saw(answer("Sun, 09 Sep 2001 01:46:40 GMT"))
    clock.saw(answer(*dates))
    assert clock.now() is None
