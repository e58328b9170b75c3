"""What can be wrong with the tests of a policy file before any of them is run."""

import re
from collections.abc import Iterator

from gateway.policy.document import CasePart, ExpectPart, GivenPart, PolicyDocument
from gateway.policy.document_reader import ReadPolicy
from gateway.policy.problems import Problem
from gateway.yaml_positions import Path

NOT_PERMITTED = "permit"
BUILT_IN = ("when", "patient", NOT_PERMITTED)

# http://hl7.org/fhir/R4/datatypes.html#instant, in UTC.
_INSTANT = re.compile(
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z"
)


def check_cases(read: ReadPolicy) -> Iterator[Problem]:
    """Every problem of every test."""
    places, names = read.places, set[str]()
    for index, case in enumerate(read.document.tests):
        path: Path = ("tests", index)
        if case.name in names:
            yield places.at((*path, "name"), "another test has this name")
        names.add(case.name)
        for key, message in _given(case.given):
            yield places.at((*path, "given", *key), message)
        for key, message in _expect(case, read.document):
            yield places.at((*path, "expect", *key), message)


def _given(given: GivenPart) -> Iterator[tuple[Path, str]]:
    if (given.create is None) is (given.update is None):
        yield (), "give the payload of one write: create or update"
    if given.patient is not None and given.patients:
        yield ("patients",), "give either patient or patients"
    if given.create is not None:
        if given.prior is not None:
            yield ("prior",), "before a create there is no prior version"
        if given.id is not None:
            yield ("id",), "the server chooses the id of a create"
    if not _INSTANT.fullmatch(given.time):
        yield ("time",), "a time is an instant in UTC: 2026-01-01T12:00:00Z"


def _expect(case: CasePart, document: PolicyDocument) -> Iterator[tuple[Path, str]]:
    expect = case.expect
    if not isinstance(expect, ExpectPart):
        return
    given = [(key, rules) for key, rules in _lists(expect) if rules is not None]
    if len(given) != 1:
        yield (), "expect one of deny, warn or undo"
        return
    key, rules = given[0]
    if not rules:
        yield (key,), f"name the rules that {key}"
    if key == "undo" and case.given.stored is None:
        yield (key,), "only what was stored can be undone: give stored"
    known = {rule.id: rule.phase for rule in document.rules}
    for index, rule in enumerate(rules):
        own = rule.removeprefix(f"{document.policy}/")
        if "/" in own:
            continue  # of another policy of the set
        if own not in known and (own not in BUILT_IN or key == "warn"):
            yield (key, index), f"there is no rule {own} in this policy"
        elif key == "undo" and known.get(own, "after") != "after":
            yield (key, index), f"{own} is judged before the write, so that it refuses instead of undoing"
        elif key == "deny" and known.get(own) == "after":
            yield (key, index), f"{own} is judged after the write, so that it undoes instead of refusing"


def _lists(expect: ExpectPart) -> tuple[tuple[str, list[str] | None], ...]:
    return ("deny", expect.deny), ("warn", expect.warn), ("undo", expect.undo)
