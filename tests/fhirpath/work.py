"""What one unit of work takes: CPU time of an evaluation by the units that it spent, beside a loop of plain Python.

The machine may be slow or busy, so that no time says anything by itself: the loop is measured just before and after,
and so is an evaluation that does nothing, because what every evaluation takes is not the work of its steps. Measuring
of lines (coverage) would slow the evaluation and not the loop: these tests run without it (marker `timed`).
"""

import contextlib
import time
from typing import Final, NamedTuple

from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from gateway.fhirpath.env import Given, begun
from gateway.fhirpath.items import BudgetExceeded, EvaluationError, lift
from tests.fhirpath.resources import NOW

# Rounds of the loop that one unit may take. A round is some 40 ns on a machine of 2024 that has nothing else to do, so
# that the 50,000 units of a rule are 60 ms there at the worst; a path takes 5 to 10 rounds for each unit.
LIMIT: Final = 30
_ROUNDS: Final = 20_000
_LEAST_SECONDS: Final = 0.004
_LEAST_UNITS: Final = 100  # an evaluation that spent fewer is over before it could take long
_TRIES: Final = 9
_NOTHING: Final = "{}"


class Work(NamedTuple):
    """`rounds` of the loop that one unit takes; units and seconds of one evaluation."""

    rounds: float
    units: float
    seconds: float


def measured(expression: str, resource: object, *, budget: int, least_units: int = _LEAST_UNITS) -> Work:
    """The first of some measurements that is within the limit, or the least: another process may stand in the way."""
    program = engine.compile(expression)
    assert isinstance(program, Program), program
    found = []
    for _ in range(_TRIES):
        found.append(_once(program, resource, budget, least_units))
        if found[-1].rounds <= LIMIT:
            break
    return min(found)


def _once(program: Program, resource: object, budget: int, least_units: int) -> Work:
    """The evaluation, without what one that does nothing takes, beside the loop."""
    before, fixed = _loop(), _nothing(resource)
    seconds, units = _evaluation(program, resource, budget)
    plain = (before + _loop()) / 2
    return Work(max(0.0, seconds - fixed) / max(units, least_units) / plain, units, seconds)


def _nothing(resource: object) -> float:
    """Seconds of an evaluation of the empty collection."""
    program = engine.compile(_NOTHING)
    assert isinstance(program, Program), program
    return _evaluation(program, resource, budget=1)[0]


def _evaluation(program: Program, resource: object, budget: int) -> tuple[float, float]:
    """Seconds and units of one evaluation, repeated until its time can be read off."""
    root = lift(resource, program.types)
    given = Given(root, root, {}, {}, NOW, program.types, program.strict)
    times = units = 0
    start = time.process_time()
    while time.process_time() - start < _LEAST_SECONDS:
        for _ in range(16 if times else 1):
            env = begun(*given, budget)
            with contextlib.suppress(BudgetExceeded, EvaluationError, RecursionError, ArithmeticError):
                program.run(env)
            units += budget - env.left
            times += 1
    return (time.process_time() - start) / times, units / times


def _loop() -> float:
    """Seconds of one round of a loop that calls, adds and makes a list."""
    total, values = 0, [1, 2, 3]
    start = time.process_time()
    for at in range(_ROUNDS):
        total += len(values)
        values = [at]
    return (time.process_time() - start) / _ROUNDS
