"""The policies that authors copy, the one in the language's own description included."""

from pathlib import Path

import pytest

from gateway.cli.schema import schema_text
from gateway.fhir.interaction import InteractionCode
from gateway.policy.cases import run_cases
from gateway.policy.decision import AfterNeed, Verdict
from gateway.policy.engines import standard_engines
from gateway.policy.loader import compile_paths, read_fixture
from tests.policy.policies import EXAMPLES, example, facts_of, failures, judged

COMPILED = compile_paths([EXAMPLES], release="R4", engines=standard_engines())
FILES = sorted(EXAMPLES.glob("*.yaml"))


def test_the_examples_are_right() -> None:
    assert [problem.render() for problem in COMPILED.problems] == []
    assert COMPILED.policy_set is not None
    assert len(COMPILED.policy_set.policies) == len(FILES) == 6


@pytest.mark.parametrize("with_set", [False, True])
def test_the_tests_of_the_examples_pass(with_set: bool) -> None:
    assert COMPILED.policy_set is not None
    results = run_cases(COMPILED.policy_set, COMPILED.documents, read_fixture, with_set=with_set)
    assert [(result.policy, result.name, result.problem) for result in results if not result.passed] == []
    assert len(results) > 30


def test_every_rule_of_the_examples_is_seen_to_fail() -> None:
    assert COMPILED.policy_set is not None
    for read in COMPILED.documents:
        text = " ".join(str(case.expect) for case in read.document.tests)
        untested = [rule.id for rule in read.document.rules if rule.mode != "audit" and f"'{rule.id}'" not in text]
        assert untested == [], read.document.policy


def test_every_fixture_is_used() -> None:
    texts = "".join(path.read_text("utf-8") for path in FILES)
    assert [path.name for path in (EXAMPLES / "fixtures").iterdir() if f"fixtures/{path.name}" not in texts] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_names_its_schema_title_and_owner(path: Path) -> None:
    lines = path.read_text("utf-8").split("\n")
    assert lines[0] == "# yaml-language-server: $schema=./policy.schema.json"
    assert any(line.startswith("title: ") for line in lines)
    assert any(line.startswith("owner: ") for line in lines)
    assert f"policy: {path.stem}" in lines


def test_the_whole_set_lets_a_laboratory_push_a_members_result() -> None:
    assert COMPILED.policy_set is not None
    facts = facts_of(patients=[example("member")], claims={"org_type": "lab"}, scopes=("system/Observation.cu",))
    decision = judged(COMPILED.policy_set, facts)
    assert failures(decision) == {}
    assert decision.verdict is Verdict.ALLOW
    assert decision.permitted_by == ("lab-results",)
    assert decision.after is AfterNeed.UNDO


def test_the_whole_set_refuses_a_strangers_result_with_every_reason() -> None:
    assert COMPILED.policy_set is not None
    facts = facts_of(
        example("hba1c-restricted"),
        patients=[example("stranger")],
        claims={"org_type": "lab"},
        scopes=("system/Observation.cu",),
    )
    assert set(failures(judged(COMPILED.policy_set, facts))) == {
        "lab-results/is-member",
        "members-only/is-member",
        "no-restricted-data/no-refused-label",
    }


def test_a_type_that_no_policy_opens_stays_shut() -> None:
    assert COMPILED.policy_set is not None
    assert COMPILED.policy_set.permitted_types() == {
        type_: {InteractionCode.CREATE, InteractionCode.UPDATE} for type_ in ("Observation", "DiagnosticReport")
    }


def test_the_schema_is_the_one_that_editors_read() -> None:
    assert (EXAMPLES / "policy.schema.json").read_text("utf-8") == schema_text()
