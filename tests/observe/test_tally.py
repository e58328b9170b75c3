"""Plain numbers that become metrics at the fold."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.observe.tally import Tallies


def made() -> tuple[CollectorRegistry, Counter, Histogram]:
    registry = CollectorRegistry()
    return registry, Counter("n", "-", registry=registry), Histogram("t", "-", buckets=(0.1, 1.0), registry=registry)


def test_nothing_shows_before_the_fold_and_everything_once_after_it() -> None:
    registry, counter, histogram = made()
    tallies = Tallies()
    tally = tallies.bind("key", counter, histogram)
    assert tallies.find("key") is tally
    assert tallies.find("other") is None
    for seconds in (0.05, 0.5, 5.0):
        tally.add(seconds)
    assert registry.get_sample_value("n_total") == 0
    for _ in range(2):
        tallies.fold()
        assert registry.get_sample_value("n_total") == 3
        assert registry.get_sample_value("t_bucket", {"le": "0.1"}) == 1
        assert registry.get_sample_value("t_bucket", {"le": "1.0"}) == 2
        assert registry.get_sample_value("t_count") == 3


def test_a_time_without_a_counter() -> None:
    registry, _, histogram = made()
    tallies = Tallies()
    tallies.bind("key", None, histogram).add(0.5)
    tallies.fold()
    assert registry.get_sample_value("t_sum") == 0.5


def test_what_waits_is_bounded() -> None:
    registry, counter, histogram = made()
    tally = Tallies().bind("key", counter, histogram)
    for _ in range(20_001):
        tally.add(0.01)
    assert registry.get_sample_value("n_total") == 20_001
    assert tally.seconds == ([],)
