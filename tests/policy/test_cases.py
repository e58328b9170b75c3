"""The tests inside policy files: what passes, what fails, and what no gateway would have judged."""

import json

import pytest

from gateway.fhir.json import JsonObject
from gateway.policy.cases import CaseResult, FixtureUnusable, run_cases
from tests.policy.policies import GUARD, compiled, example, rule, with_rules

LAB = """policy: a
permit: [create, update]
resources: [Observation]
clients: {scopes: [system/Observation.cu], claims: {org_type: lab}}
"""
RULES = (
    rule("patient.identifier.exists(i, i.system == 'https://plan.example/member')", "is-member"),
    rule("resource.status == 'final'", "is-final"),
    rule("resource.status != 'final'", "on-trial", mode="warn"),
    rule("stored.?subject == resource.?subject", "kept", phase="after"),
    rule("stored.status != 'final'", "seen", phase="after", mode="warn"),
)
POLICY = with_rules(LAB, *RULES)
MEMBER = "patient: member, claims: {org_type: lab}"

FILES: dict[str, JsonObject | str] = {
    **{name: example(name) for name in ("hba1c", "hba1c-stored", "hba1c-moved", "member", "stranger", "patient-2")},
    "preliminary": example("hba1c-preliminary"),
    "shared": example("hba1c-shared"),
    "water": example("water-sample"),
    "update": {**example("hba1c-stored"), "status": "final"},
    "condition": {"resourceType": "Condition", "subject": {"reference": "Patient/1"}},
    "patient-without-id": {"resourceType": "Patient"},
    "impossible": {**example("hba1c"), "subjct": {}},
    "no-type": {"status": "final"},
    "broken": "{'status': 'final'}",
    "twice": '{"resourceType": "Observation", "status": "final", "status": "final"}',
}


def fixture(file: str, name: str) -> bytes:
    if name not in FILES:
        raise FixtureUnusable(f"{name}: No such file or directory")
    content = FILES[name]
    return (content if isinstance(content, str) else json.dumps(content)).encode()


def results(
    *cases: str, policy: str = POLICY, others: tuple[str, ...] = (), with_set: bool = False
) -> list[CaseResult]:
    tests = "".join(f"  - name: case {index}\n    {case}\n" for index, case in enumerate(cases))
    compilation = compiled(policy + "tests:\n" + tests, *others)
    assert compilation.policy_set is not None, [str(problem) for problem in compilation.problems]
    return list(run_cases(compilation.policy_set, compilation.documents, fixture, with_set=with_set))


def result(given: str, expect: str, policy: str = POLICY) -> CaseResult:
    return results(f"given: {{{given}}}\n    expect: {expect}", policy=policy)[0]


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        (f"create: hba1c, {MEMBER}", "allow"),
        (f"create: hba1c, {MEMBER}", "{warn: [on-trial]}"),
        (f"create: hba1c, {MEMBER}, stored: hba1c-stored", "{warn: [on-trial, seen]}"),
        (f"create: hba1c, {MEMBER}, stored: hba1c-stored", "allow"),
        (f"create: hba1c, {MEMBER}, stored: hba1c-moved", "{undo: [kept]}"),
        (f"create: hba1c, {MEMBER}, stored: hba1c-moved", "{undo: [a/kept]}"),
        ("create: hba1c, patient: stranger, claims: {org_type: lab}", "{deny: [is-member]}"),
        ("create: preliminary, patient: stranger, claims: {org_type: lab}", "{deny: [a/is-final, is-member]}"),
        ("create: hba1c, claims: {org_type: lab}", "{deny: [patient, is-member]}"),
        ("create: hba1c, patient: patient-2, claims: {org_type: lab}", "{deny: [patient, is-member]}"),
        ("create: water, claims: {org_type: lab}", "{deny: [patient, is-member]}"),
        ("create: shared, patients: [member, patient-2], claims: {org_type: lab}", "{deny: [is-member]}"),
        ("create: shared, patient: member, claims: {org_type: lab}", "{deny: [patient]}"),
        ("create: hba1c, patient: member", "{deny: [permit]}"),
        (f"create: hba1c, {MEMBER}, scopes: [system/Observation.u]", "{deny: [permit]}"),
        (f"create: hba1c, {MEMBER}, scopes: ['system/*.cruds']", "allow"),
        (f"update: update, {MEMBER}", "allow"),
        (f"update: update, {MEMBER}, id: hba1c, prior: hba1c-stored", "allow"),
        ("update: update, patient: member, claims: {org_type: lab}, prior: hba1c-moved", "{deny: [patient]}"),
        ("create: condition, patient: member, claims: {org_type: lab}", "{deny: [permit]}"),
    ],
)
def test_what_was_expected_comes_out(given: str, expect: str) -> None:
    found = result(given, expect)
    assert found.problem is None
    assert found.passed


@pytest.mark.parametrize(
    ("given", "expect", "problem"),
    [
        ("create: preliminary, " + MEMBER, "allow", "expected allow, got deny by is-final"),
        (f"create: hba1c, {MEMBER}, stored: hba1c-moved", "allow", "expected allow, got undo by kept"),
        (f"create: hba1c, {MEMBER}", "{deny: [is-member]}", "expected deny by is-member, got allow"),
        (
            "create: preliminary, patient: stranger, claims: {org_type: lab}",
            "{deny: [is-final]}",
            "expected deny by is-final, got deny by is-final, is-member",
        ),
        (
            "create: preliminary, patient: member, claims: {org_type: lab}",
            "{deny: [is-final, is-member]}",
            "expected deny by is-final, is-member, got deny by is-final",
        ),
        (
            f"create: preliminary, {MEMBER}, stored: hba1c-moved",
            "{undo: [kept]}",
            "expected undo by kept, got deny by is-final",
        ),
        (f"create: hba1c, {MEMBER}, stored: hba1c-stored", "{undo: [kept]}", "expected undo by kept, got allow"),
        (
            f"create: hba1c, {MEMBER}, stored: hba1c-stored",
            "{warn: [on-trial]}",
            "expected warn by on-trial, got warn by on-trial, seen",
        ),
        (f"create: preliminary, {MEMBER}", "{warn: [on-trial]}", "expected warn by on-trial, got deny by is-final"),
        (f"create: nothing, {MEMBER}", "allow", "nothing: No such file or directory"),
        (f"create: broken, {MEMBER}", "allow", "broken: "),
        (f"create: twice, {MEMBER}", "allow", "twice: "),
        (f"create: no-type, {MEMBER}", "allow", "no-type: there is no resourceType"),
        (f"create: impossible, {MEMBER}", "allow", "impossible: "),
        ("create: hba1c, patient: hba1c", "allow", "hba1c: not a Patient with an id"),
        ("create: hba1c, patient: patient-without-id", "allow", "patient-without-id: not a Patient with an id"),
        (f"update: hba1c, {MEMBER}", "allow", "hba1c: the id of an update is the one in the payload"),
        (f"update: update, id: other, {MEMBER}", "allow", "update: the id of an update is the one in the payload"),
    ],
)
def test_what_was_not_expected_is_told(given: str, expect: str, problem: str) -> None:
    found = result(given, expect)
    assert not found.passed
    assert str(found.problem).startswith(problem)
    assert (found.policy, found.name, found.file, found.column) == ("a", "case 0", "a.yaml", 5)


def test_the_rules_that_did_not_hold_are_told_with_their_message() -> None:
    broken = with_rules(LAB, rule("has(resource.bodySite) || resource.bodySite.text == 'x'"))
    details = result(f"create: hba1c, {MEMBER}", "allow", broken).details
    assert len(details) == 1
    assert details[0].startswith("r: error (")
    assert details[0].endswith(": The rule r does not hold.")
    assert result("create: hba1c, patient: stranger, claims: {org_type: lab}", "allow").details[0] == (
        "is-member: fail: The rule is-member does not hold."
    )


def test_a_guard_is_tested_as_if_another_policy_permitted() -> None:
    guard = with_rules(GUARD, rule("resource.status == 'final'"))
    assert result("create: hba1c", "allow", guard).passed
    assert result("create: condition", "allow", guard).passed
    assert result("create: preliminary", "{deny: [r]}", guard).passed


def test_a_guard_over_all_types_is_only_about_types_that_the_set_lists() -> None:
    guard = with_rules("policy: g\npatient: none\n", rule("!has(resource.meta.security)"))
    found = results("given: {create: condition}\n    expect: allow", policy=guard, others=(POLICY,))[0]
    assert found.problem == "condition: no policy of the set lists Condition, so that nothing of it is judged"


def test_with_the_set_the_rules_of_others_refuse_too() -> None:
    guard = with_rules(GUARD, rule("resource.status != 'final'", "never-final"))
    cases = (
        f"given: {{create: hba1c, {MEMBER}}}\n    expect: allow",
        "given: {create: hba1c, patient: stranger, claims: {org_type: lab}}\n    expect: {deny: [is-member]}",
        f"given: {{create: hba1c, {MEMBER}}}\n    expect: {{deny: [g/never-final]}}",
    )
    assert [found.passed for found in results(*cases, others=(guard,))] == [True, True, False]
    found = results(*cases, others=(guard,), with_set=True)
    assert [each.problem for each in found] == ["expected allow, got deny by g/never-final", None, None]


def test_after_the_write_the_patients_are_those_of_what_is_stored_too() -> None:
    policy = with_rules(LAB, rule("patient.active && stored != null", "active", phase="after"))
    both = "patients: [member, patient-2], claims: {org_type: lab}"
    assert result(f"create: hba1c, {both}, stored: hba1c-moved", "allow", policy).passed
    assert result(f"create: hba1c, {MEMBER}, stored: hba1c-moved", "{undo: [patient]}", policy).passed


def test_results_come_in_order_of_files_and_places() -> None:
    guard = with_rules(GUARD, rule("resource.status == 'final'")) + (
        "tests:\n  - name: of the guard\n    given: {create: hba1c}\n    expect: allow\n"
    )
    cases = [f"given: {{create: hba1c, {MEMBER}}}\n    expect: allow"] * 2
    found = results(*cases, others=(guard,))
    assert [(each.file, each.name) for each in found] == [
        ("a.yaml", "case 0"),
        ("a.yaml", "case 1"),
        ("b.yaml", "of the guard"),
    ]
    compilation = compiled(guard)
    assert compilation.policy_set is not None
    assert run_cases(compilation.policy_set, (), fixture) == ()


def test_tests_of_a_policy_that_the_set_does_not_have_are_not_run() -> None:
    one, other = compiled(POLICY), compiled(GUARD + "rules:\n" + rule("resource.status == 'final'") + "tests: []\n")
    assert one.policy_set is not None
    assert run_cases(one.policy_set, other.documents, fixture) == ()
