"""Every problem of every file at once, at its place; and what makes a set the same set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.compiler import revision
from gateway.policy.policy_set import Source
from tests.policy.policies import HEAD, compiled, policy_set, rule, table, with_rules

ROWS = table("policies-problems.yaml")
A = with_rules(HEAD, rule("resource.status == 'final'"))
B = A.replace("policy: a", "policy: b")


@pytest.mark.parametrize("row", ROWS, ids=[str(row["name"]) for row in ROWS])
def test_every_problem_is_listed_with_its_place(row: dict[str, object]) -> None:
    files, expected = row["files"], row["problems"]
    assert isinstance(files, list)
    assert isinstance(expected, list)
    compilation = compiled(*(str(text) for text in files))
    found = [str(problem) for problem in compilation.problems]
    assert [text[: len(str(start))] for text, start in zip(found, expected, strict=False)] == expected
    assert len(found) == len(expected)
    assert (compilation.policy_set is None) is any(problem.is_error for problem in compilation.problems)


def test_a_policy_set_keeps_its_warnings_sources_and_policies_in_order() -> None:
    policies = policy_set(B.replace("permit: [create, update]", "permit: [create]\nmode: warn"), A)
    assert [policy.name for policy in policies.policies] == ["a", "b"]
    assert [source.name for source in policies.sources] == ["a.yaml", "b.yaml"]
    assert [warning.line for warning in policies.warnings] == [3]
    assert policies.policy("b") is policies.policies[1]
    assert policies.policy("c") is None


def test_permitted_types_are_what_some_policy_opens() -> None:
    guard = with_rules("policy: g\nresources: [Condition]\npatient: none\n", rule("resource.id != ''"))
    types = policy_set(A, B.replace("[create, update]", "[create]").replace("Observation", "DiagnosticReport"), guard)
    found = {type_: {code.value for code in codes} for type_, codes in types.permitted_types().items()}
    assert found == {"Observation": {"create", "update"}, "DiagnosticReport": {"create"}}


def test_the_revision_is_of_names_and_texts() -> None:
    assert policy_set(A, B).revision == policy_set(A, B).revision
    assert policy_set(A).revision != policy_set(A + "# changed\n").revision
    assert len(policy_set(A).revision) == 64


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=5))
def test_the_order_of_files_does_not_change_the_revision(pairs: list[tuple[str, str]]) -> None:
    files = [Source(name=name, text=text) for name, text in pairs]
    assert revision(files) == revision(list(reversed(files)))


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_other_files_have_another_revision(one: tuple[str, str], other: tuple[str, str]) -> None:
    same = revision([Source(name=one[0], text=one[1])]) == revision([Source(name=other[0], text=other[1])])
    assert same is (one == other)
