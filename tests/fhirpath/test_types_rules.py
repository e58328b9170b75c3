"""Static types of whole rules, which have to be one boolean."""

import pytest

from gateway.fhirpath.model import load
from gateway.fhirpath.parser import parse
from gateway.fhirpath.types_check import check

ROOTS = {"resource": "Observation", "prior": "Observation", "patient": "Patient"}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("status", "this is a code, not true or false"),
        ("{}", "this can only be empty, which is never true"),
        ("category.coding.userSelected", "this may be several values"),
    ],
)
def test_a_rule_has_to_be_one_boolean(source: str, said: str) -> None:
    (found,) = check(parse(source), load("R4"), ROOTS, wants_boolean=True)
    assert said in found.message


def test_a_warning_hides_no_answer_that_is_no_boolean() -> None:
    found = check(parse("'a' & category.text"), load("R4"), ROOTS, wants_boolean=True)
    assert [(one.is_warning, one.offset) for one in found] == [(False, 0), (True, 6)]
    assert "this is a String, not true or false" in found[0].message
    (found_one,) = check(parse("subjct"), load("R4"), ROOTS, wants_boolean=True)
    assert "no element `subjct`" in found_one.message


@pytest.mark.parametrize("source", ["status = 'final'", "%claims.admin", "%patient.active", "extension('x').value"])
def test_a_rule_that_may_hold(source: str) -> None:
    found = check(parse(source), load("R4"), ROOTS, wants_boolean=True)
    assert [one for one in found if not one.is_warning] == []
