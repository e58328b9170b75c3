"""The official suites of R4, R4B and R5 against a recorded list of what is not as they say."""

import functools

import pytest

from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from gateway.fhirpath.typecheck import check
from gateway.fhirpath.unsupported import UNSUPPORTED
from tests.fhirpath.known import groups, listed
from tests.fhirpath.suite import NOW, Case, cases, fault

SIZES = {"R4": 935, "R4B": 933, "R5": 1063}


@functools.cache
def all_cases(release: str) -> dict[str, Case]:
    return {case.name: case for case in cases(release)}


@pytest.mark.parametrize("release", SIZES)
def test_whole_suite_is_read(release: str) -> None:
    assert len(all_cases(release)) == SIZES[release]


@pytest.mark.parametrize("release", SIZES)
def test_exactly_the_listed_cases_fail(release: str) -> None:
    failing = {name: said for name, case in all_cases(release).items() if (said := fault(case)) is not None}
    known = listed(release)
    assert {name: said for name, said in failing.items() if name not in known} == {}, "these fail and are not listed"
    assert sorted(known.keys() - failing.keys()) == [], "these pass: take them off the list"


def test_list_has_room_for_no_more() -> None:
    assert {release: len(listed(release)) for release in SIZES} == {"R4": 101, "R4B": 101, "R5": 132}


def test_every_group_has_a_reason() -> None:
    assert [name for name, group in groups().items() if not group["why"]] == []


@pytest.mark.parametrize("release", SIZES)
def test_listed_constructs_are_refused_at_compile_time(release: str) -> None:
    found = all_cases(release)
    accepted = [name for name in listed(release, met="compile") if isinstance(_compiled(found[name]), Program)]
    assert accepted == []
    functions = {group for group, content in groups().items() if content["met"] == "compile" and group.isalpha()}
    assert functions <= UNSUPPORTED.keys() | {"cda", "html"}


@pytest.mark.parametrize("release", SIZES)
def test_no_listed_failure_of_the_evaluation_has_a_value(release: str) -> None:
    found = all_cases(release)
    assert [name for name in listed(release, met="evaluation") if _has_value(found[name])] == []


def test_what_differs_in_value_is_named_here_too() -> None:
    assert sorted(listed("R4", met="value")) == [
        "testFHIRPathAsFunction11",
        "testFHIRPathAsFunction16",
        "testPlusDate19",
    ]
    for name in ("testFHIRPathAsFunction11", "testFHIRPathAsFunction16"):
        program = _compiled(all_cases("R4")[name])
        assert isinstance(program, Program)
        assert check(program.tree, program.model, {"resource": "Patient"})


def _compiled(case: Case) -> object:
    return engine.compile(case.expression, model=case.release)


def _has_value(case: Case) -> bool:
    program = _compiled(case)
    assert isinstance(program, Program)
    return program.evaluate(case.resource, now=NOW).failure is None
