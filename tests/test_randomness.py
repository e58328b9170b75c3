"""Random bytes, each handed out once."""

import time
from concurrent.futures import ThreadPoolExecutor

from gateway.ingress.decision_id import new_decision_id
from gateway.randomness import Randomness
from gateway.saga.intent import new_write_id


def test_no_bytes_are_handed_out_twice_not_even_between_threads() -> None:
    source = Randomness()
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: source.take(16), range(20_000)))
    assert {len(each) for each in drawn} == {16}
    assert len(set(drawn)) == len(drawn)


def test_a_forked_child_draws_anew() -> None:
    source = Randomness()
    source.take(16)
    source._forget()
    assert len(source.take(4096)) == 4096


def test_ids_have_their_forms_and_do_not_repeat() -> None:
    writes = {new_write_id() for _ in range(5_000)}
    decisions = {new_decision_id() for _ in range(5_000)}
    assert len(writes) == len(decisions) == 5_000
    assert {len(each) for each in writes} == {16}
    assert set("".join(writes)) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert {len(each) for each in decisions} == {32}


def test_decision_ids_tell_the_time_and_sort_by_it() -> None:
    before = time.time_ns() // 1_000_000
    first = new_decision_id()
    time.sleep(0.002)
    second = new_decision_id()
    assert before <= int(first[:12], 16) < int(second[:12], 16) <= time.time_ns() // 1_000_000
    assert first < second
