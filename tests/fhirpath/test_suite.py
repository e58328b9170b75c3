"""The official R4 suite against a recorded list of known failures."""

from pathlib import Path

from ruamel.yaml import YAML

from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from gateway.fhirpath.typecheck import check
from gateway.fhirpath.unsupported import UNSUPPORTED
from tests.fhirpath.suite import NOW, Case, cases, fault

KNOWN = Path(__file__).parents[1] / "cases" / "fhirpath-known-failures.yaml"
ALL = {case.name: case for case in cases()}
GROUPS: dict[str, dict[str, object]] = YAML(typ="safe").load(KNOWN.read_text(encoding="utf-8"))


def listed(*, met: str | None = None) -> dict[str, str]:
    found: dict[str, str] = {}
    for group, content in GROUPS.items():
        names = content["cases"]
        assert isinstance(names, list)
        if met in (None, content["met"]):
            found.update(dict.fromkeys(names, group))
    return found


def test_whole_suite_is_read() -> None:
    assert len(ALL) == 935


def test_exactly_the_listed_cases_fail() -> None:
    failing = {name: said for name, case in ALL.items() if (said := fault(case)) is not None}
    known = listed()
    assert {name: said for name, said in failing.items() if name not in known} == {}, "these fail and are not listed"
    assert sorted(known.keys() - failing.keys()) == [], "these pass: take them off the list"


def test_list_has_room_for_no_more() -> None:
    assert len(listed()) <= 101


def test_every_group_has_a_reason() -> None:
    assert [name for name, group in GROUPS.items() if not group["why"]] == []


def test_listed_constructs_are_refused_at_compile_time() -> None:
    assert [name for name in listed(met="compile") if isinstance(engine.compile(ALL[name].expression), Program)] == []
    functions = {group for group, content in GROUPS.items() if content["met"] == "compile" and group.isalpha()}
    assert functions <= UNSUPPORTED.keys()


def test_no_listed_failure_of_the_evaluation_has_a_value() -> None:
    assert [name for name in listed(met="evaluation") if _has_value(ALL[name])] == []


def test_what_differs_in_value_is_named_here_too() -> None:
    assert sorted(listed(met="value")) == ["testFHIRPathAsFunction11", "testFHIRPathAsFunction16", "testPlusDate19"]
    for name in ("testFHIRPathAsFunction11", "testFHIRPathAsFunction16"):
        program = engine.compile(ALL[name].expression)
        assert isinstance(program, Program)
        assert check(program.tree, program.model, {"resource": "Patient"})


def _has_value(case: Case) -> bool:
    program = engine.compile(case.expression)
    assert isinstance(program, Program)
    return program.evaluate(case.resource, now=NOW).failure is None
