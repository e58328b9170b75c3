"""One program, many threads: what is shared between evaluations changes none of them."""

import sys
from collections.abc import Iterator
from random import Random
from threading import Barrier, Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fhir.json import JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.engine import Outcome, Program
from gateway.fhirpath.items import Element
from gateway.fhirpath.model import load
from tests.fhirpath.generated import Generator
from tests.fhirpath.resources import NOW, OBSERVATION, PATIENT, VARIABLES
from tests.fhirpath.table import TABLE

THREADS = 8
BUNDLE: JsonObject = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [{"fullUrl": "urn:p", "resource": PATIENT}, {"resource": OBSERVATION}],
}
RESOURCES = (PATIENT, OBSERVATION, BUNDLE, None)
INSTANTS = (NOW, "2020-01-01T00:00:00Z", None)
BUDGETS = (engine.BUDGET, 40)


@pytest.fixture
def _eager() -> Iterator[None]:
    """Threads take turns far more often than they would, so that each is met in the middle of the others' work."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def programs(expressions: list[str]) -> list[Program]:
    compiled = [engine.compile(one) for one in expressions]
    return [one for one in compiled if isinstance(one, Program)]


def answers(shared: list[Program], seed: int) -> dict[tuple[int, int, int, int], str]:
    """What every program says of every resource, at each instant and within each budget, in an order of its own."""
    tasks = [
        (program, resource, instant, budget)
        for program in range(len(shared))
        for resource in range(len(RESOURCES))
        for instant in range(len(INSTANTS))
        for budget in range(len(BUDGETS))
    ]
    Random(seed).shuffle(tasks)
    return {
        task: _shape(
            shared[task[0]].evaluate(RESOURCES[task[1]], VARIABLES, now=INSTANTS[task[2]], budget=BUDGETS[task[3]])
        )
        for task in tasks
    }


def threaded(shared: list[Program]) -> list[dict[tuple[int, int, int, int], str]]:
    """The answers of all threads, which begin together."""
    start, found = Barrier(THREADS), [dict[tuple[int, int, int, int], str]() for _ in range(THREADS)]

    def work(at: int) -> None:
        start.wait()
        found[at] = answers(shared, at)

    threads = [Thread(target=work, args=(at,)) for at in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def disagreements(expressions: list[str]) -> list[tuple[int, int, int, int]]:
    """Of threads on programs that nothing has warmed up with one thread on programs of its own."""
    found = threaded(programs(expressions))
    alone = answers(programs(expressions), THREADS)
    return [task for each in found for task in alone if each.get(task) != alone[task]]


@pytest.mark.usefixtures("_eager")
def test_every_row_of_the_table_in_eight_threads() -> None:
    expressions = [str(row["expression"]) for row in TABLE]
    assert len(programs(expressions)) == len(expressions) > 500
    assert disagreements(expressions) == []


@given(st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
@pytest.mark.usefixtures("_eager")
def test_generated_programs_in_eight_threads(seed: int) -> None:
    generators = [Generator(one, load("R4"), seed) for one in (PATIENT, OBSERVATION)]
    assert disagreements([one.expression() for one in generators for _ in range(6)]) == []


def _shape(outcome: Outcome) -> str:
    values = [(one.type.name, one.value, one.extra) if isinstance(one, Element) else one for one in outcome.values]
    return repr((outcome.failure, outcome.reason, values))
