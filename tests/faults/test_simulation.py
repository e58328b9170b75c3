"""A thousand seeded runs. One alone: `SEED=123 pytest tests/faults/test_simulation.py`; others: `SEEDS=5000-6000`."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from gateway.saga.intent import State
from tests.faults.checker import Checker
from tests.faults.simulation import TAGGING, Habit, Simulation
from tests.faults.virtual_time import run
from tests.saga.conftest import MEMORY

TOGETHER = 25
RELUCTANT = ("never deletes", "skipping")  # servers on which a forbidden write cannot always be undone


def seeds() -> list[int]:
    if one := os.environ.get("SEED"):
        return [int(one)]
    first, _, last = os.environ.get("SEEDS", "0-1000").partition("-")
    return list(range(int(first), int(last)))


def simulated(seed: int, habit: Habit | None = None) -> Simulation:
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place, prefix="simulation-") as folder:
        return run(Simulation(seed, Path(folder), habit).run())


@pytest.mark.parametrize("batch", [seeds()[at : at + TOGETHER] for at in range(0, len(seeds()), TOGETHER)], ids=str)
def test_every_promise_holds(batch: list[int]) -> None:
    ends: Counter[State] = Counter()
    for seed in batch:
        made = simulated(seed)
        assert Checker(made).broken() == [], f"SEED={seed} ({made.habit.name})"
        if made.habit.name not in RELUCTANT:
            ends.update(entry.state for entry in made.ended.values())
    # Each stuck entry was explained above; where the server can undo, they have to be rare, too.
    assert ends[State.STUCK] <= max(1, 0.1 * ends.total())


@pytest.mark.parametrize("seed", range(40))
def test_every_promise_holds_where_only_tags_tell_writes_apart(seed: int) -> None:
    made = simulated(seed, TAGGING)
    assert Checker(made).broken() == [], f"seed {seed}"


def test_a_run_is_what_its_number_says() -> None:
    one, other = simulated(23), simulated(23)
    assert one.network.server.store.events == other.network.server.store.events
    assert one.ended.keys() == other.ended.keys()
    assert one.network.server.store.events


def test_the_runs_are_worth_something() -> None:
    """Faults happen, all kinds of ends are reached, and processes die."""
    made = [simulated(seed) for seed in range(60)]
    assert sum(each.deaths for each in made) >= 30
    ends = Counter(entry.state for each in made for entry in each.ended.values())
    assert min(ends[state] for state in (State.COMMITTED, State.UNDONE, State.REJECTED)) >= 60
    assert ends[State.STUCK] >= 5
    assert sum(operation.accepted for each in made for operation in each.operations) >= 60
    assert sum(operation.settled is None for each in made for operation in each.operations) >= 10
    leased = [each for each in made if each.database is not None]
    assert len(leased) >= 20
    assert sum(len(each.network.late) for each in leased) >= 3, "senders that were taken for gone woke up"
    insistences = [insistence for each in made for insistence in each.insistences]
    assert len(insistences) >= 40
    assert sum(each.tries > 1 for each in insistences) >= 20
    assert sum(each.replays > 0 for each in insistences) >= 10
