"""The official suites of R4, R4B and R5 against the short list of what is not as they say."""

import functools

import pytest

from tests.fhirpath.known import groups, listed
from tests.fhirpath.suite import Case, cases, fault

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
    assert [len(listed(release)) for release in SIZES] == [1, 1, 10]


def test_every_group_has_a_reason() -> None:
    assert [name for name, group in groups().items() if not group["why"]] == []
