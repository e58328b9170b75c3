"""The one rule of combination, as a table and as properties."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import IssueCode
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.policy.decision import AfterNeed, Decision, Phase, Result, Verdict
from gateway.policy.engine import decide, select, select_recorded
from gateway.policy.facts import Facts, LinkProblem
from tests.policy.policies import (
    GUARD,
    HEAD,
    example,
    facts_of,
    failures,
    judged,
    judged_after,
    policy_set,
    rule,
    table,
    with_rules,
)

ROWS = table("decisions.yaml")
ORGANIZATION: JsonObject = {"resourceType": "Organization", "name": "Example"}
TRUE, FALSE = "resource.status == 'final'", "resource.status == 'amended'"
ERROR = "has(resource.bodySite) || resource.bodySite.text == 'x'"


def payload(name: object) -> JsonObject:
    return ORGANIZATION if name == "organization" else example(str(name))


def texts(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(item) for item in value]


def facts_in(row: dict[str, object]) -> Facts:
    claims = row.get("claims", {})
    assert isinstance(claims, dict)
    return facts_of(
        payload(row.get("update", row.get("create", "hba1c"))),
        code=InteractionCode.UPDATE if "update" in row else InteractionCode.CREATE,
        prior=example(str(row["prior"])) if "prior" in row else None,
        patients=[example(name) for name in texts(row.get("patients", []))],
        problems=[
            LinkProblem(at="Observation.subject", form=form, text="No Patient.") for form in texts(row.get("links", []))
        ],
        claims=claims,
        scopes=tuple(texts(row.get("scopes", ["system/*.cruds"]))),
    )


def check_failures(decision: Decision, expected: object) -> None:
    assert isinstance(expected, dict)
    found = failures(decision)
    assert set(found) == set(expected)
    assert {key: "*" if expected[key] == "*" else result for key, result in found.items()} == expected


@pytest.mark.parametrize("row", ROWS, ids=[str(row["name"]) for row in ROWS])
def test_decisions(row: dict[str, object]) -> None:
    policies, facts = policy_set(*texts(row["policies"])), facts_in(row)
    decision = judged(policies, facts)
    assert decision.verdict.value == row["verdict"]
    check_failures(decision, row.get("failed", {}))
    assert [f"{o.policy}/{o.rule}" for o in decision.warnings] == row.get("warned", [])
    assert list(decision.permitted_by) == row.get("permitted_by", [])
    assert list(decision.applied) == row.get("applied", row.get("permitted_by", []))
    if "stored" in row:
        assert decision.after.value == row["after"]
        after = judged_after(policies, facts, example(str(row["stored"])))
        assert after.verdict is (Verdict.DENY if "undone" in row else Verdict.ALLOW)
        check_failures(after, row.get("undone", row.get("seen", {})))


@pytest.mark.parametrize("row", ROWS, ids=[str(row["name"]) for row in ROWS])
def test_the_order_of_files_and_rules_never_matters(row: dict[str, object]) -> None:
    facts = facts_in(row)
    decisions = [judged(policy_set(*order), facts) for order in itertools.permutations(texts(row["policies"]))]
    assert len({decision.verdict for decision in decisions}) == 1
    assert len({frozenset(decision.outcomes) for decision in decisions}) == 1


# Expressions that hold, do not hold, and cannot be judged, in both languages.
HOLD = [TRUE, "fhirpath: status = 'final'", "patient.active"]
FAIL = [FALSE, "fhirpath: status = 'amended'", "fhirpath: bodySite.text = 'x'", ERROR, "let.broken == 'x'"]
RULES = st.tuples(st.sampled_from(HOLD + FAIL), st.sampled_from(["enforce", "warn", "audit"]))
LISTS = st.lists(RULES, max_size=4)
PERMIT = HEAD.replace("patient: none\n", "") + "let: {broken: {cel: resource.bodySite.text}}\n"


def written(rules: list[tuple[str, str]], head: str = PERMIT) -> str:
    body = [rule(text, f"r{index}", mode=mode) for index, (text, mode) in enumerate(rules)]
    return with_rules(head, *body) if rules else head


def member_facts() -> Facts:
    return facts_of(patients=[example("member")])


@given(rules=LISTS)
def test_a_rule_that_does_not_hold_refuses_and_nothing_else_does(rules: list[tuple[str, str]]) -> None:
    decision = judged(policy_set(written(rules)), member_facts())
    refused = any(text in FAIL and mode == "enforce" for text, mode in rules)
    assert decision.verdict is (Verdict.DENY if refused else Verdict.ALLOW)
    assert set(failures(decision)) == {f"a/r{index}" for index, (text, _) in enumerate(rules) if text in FAIL}


@given(rules=LISTS, more=RULES, place=st.integers(0, 4))
def test_adding_a_rule_never_turns_deny_into_allow(
    rules: list[tuple[str, str]], more: tuple[str, str], place: int
) -> None:
    fewer = judged(policy_set(written(rules)), member_facts())
    longer = judged(policy_set(written([*rules[:place], more, *rules[place:]])), member_facts())
    assert fewer.verdict is Verdict.ALLOW or longer.verdict is Verdict.DENY


@given(rules=LISTS, guard=st.lists(RULES, min_size=1, max_size=3))
def test_adding_a_guard_never_turns_deny_into_allow(rules: list[tuple[str, str]], guard: list[tuple[str, str]]) -> None:
    head = PERMIT.replace("policy: a\npermit: [create, update]", "policy: g")
    fewer = judged(policy_set(written(rules)), member_facts())
    more = judged(policy_set(written(rules), written(guard, head)), member_facts())
    assert fewer.verdict is Verdict.ALLOW or more.verdict is Verdict.DENY


@given(rules=st.permutations([(text, "enforce") for text in HOLD[:2] + FAIL[:2]]))
def test_the_order_of_rules_never_matters(rules: list[tuple[str, str]]) -> None:
    decision = judged(policy_set(written(rules)), member_facts())
    assert decision.verdict is Verdict.DENY
    results = sorted((o.result.value, o.denial.code.value) for o in decision.outcomes)
    assert [result for result, _ in results] == ["fail", "fail", "pass", "pass", "pass"]


@pytest.mark.parametrize("asked", range(8))
def test_when_the_time_is_used_up_nothing_holds(asked: int) -> None:
    """The time ends after so many questions; everything judged later counts as not holding."""
    policies = policy_set(
        with_rules(PERMIT + f'when: {{cel: "{TRUE}"}}\n', rule(TRUE), rule("fhirpath: status = 'final'", "s")),
        with_rules(GUARD, rule(TRUE)),
    )
    facts = member_facts()
    clock = itertools.count()
    selection = select(policies, InteractionCode.CREATE, "Observation", facts.client, facts.claims)
    decision = decide(selection, facts, Phase.BEFORE, deadline=lambda: next(clock) >= asked)
    late = {o.result for o in decision.outcomes if o.result is not Result.PASS}
    assert late <= {Result.TIMEOUT}
    assert decision.verdict is (Verdict.ALLOW if asked >= 4 else Verdict.DENY)


def test_a_let_that_comes_too_late_makes_its_rule_late() -> None:
    policies = policy_set(with_rules(HEAD + "let: {s: {cel: resource.status}}\n", rule("let.s == 'final'")))
    clock = itertools.count()
    facts = facts_of()
    selection = select(policies, InteractionCode.CREATE, "Observation", facts.client, {})
    decision = decide(selection, facts, Phase.BEFORE, deadline=lambda: next(clock) >= 1)
    assert failures(decision) == {"a/r": "timeout"}


def test_the_first_patient_for_which_a_rule_does_not_hold_is_named_by_number() -> None:
    policies = policy_set(with_rules(PERMIT, rule("patient.active"), rule(FALSE, "s")))
    closed = example("closed-record")
    decision = judged(policies, facts_of(patients=[example("member"), closed, closed]))
    assert {o.rule: o.patient for o in decision.refusals} == {"r": 1, "s": None}


def test_a_link_problem_is_told_at_its_element() -> None:
    problems = [
        LinkProblem(at="Observation.performer[1]", form="urn", text="It is a urn."),
        LinkProblem(at="", form="not-found", text="There is none."),
        LinkProblem(at="Observation.subject", form="absent", text="No Patient is named."),
    ]
    decision = judged(policy_set(PERMIT), facts_of(problems=problems))
    assert [(o.denial.code, o.denial.at, o.denial.message) for o in decision.refusals] == [
        (IssueCode.VALUE, "performer[1]", "It is a urn."),
        (IssueCode.VALUE, None, "There is none."),
        (IssueCode.REQUIRED, "subject", "No Patient is named."),
    ]


def test_reasons_hold_no_values_of_the_payload() -> None:
    decision = judged(policy_set(written([(text, "enforce") for text in FAIL])), member_facts())
    assert len(decision.refusals) == len(FAIL)
    assert all("hba1c" not in str(o.reason) and "4548" not in str(o.reason) for o in decision.outcomes)


@pytest.mark.parametrize(
    "value", [10**30, -(10**30), 2**63, 1e308, "x" * 100_000, "\ud800", "\x00", None, [], {}, True, [[[]]]]
)
def test_no_value_makes_the_engine_raise(value: object) -> None:
    """Shape keeps most of these out; a version on the server, a claim and a Patient are not checked by it."""
    policies = policy_set(
        with_rules(
            HEAD,
            rule("resource.valueQuantity.value > 1.0"),
            rule("fhirpath: value.value > 1", "s"),
            rule("claims.x == 'x'", "t"),
            rule("fhirpath: %claims.x = 'x'", "u"),
        )
    )
    payload: JsonObject = {**example("hba1c"), "valueQuantity": {"value": value}}  # type: ignore[dict-item]
    decision = judged(policies, facts_of(payload, claims={"x": value}))
    assert decision.verdict is Verdict.DENY


def test_passing_rules_cost_no_new_outcomes() -> None:
    policies = policy_set(with_rules(HEAD, rule(TRUE), rule(TRUE, "s")))
    passed = policies.policies[0].before.passed
    assert all(found is made for found, made in zip(judged(policies).outcomes, passed, strict=True))


def test_after_the_write_a_policy_that_is_not_there_undoes() -> None:
    policies = policy_set(with_rules(HEAD, rule("stored.status == 'final'", phase="after")))
    selection = select_recorded(policies, InteractionCode.CREATE, "Observation", ("a", "gone"))
    facts = facts_of(stored=example("hba1c-stored"))
    decision = decide(selection, facts, Phase.AFTER, applied=("a", "gone"))
    assert decision.verdict is Verdict.DENY
    assert failures(decision) == {"gone/policy": "error"}
    assert decision.applied == ("a", "gone")
    assert decision.permitted_by == ("a",)
    assert decision.after is AfterNeed.UNDO


def test_after_the_write_nothing_that_did_not_apply_is_judged() -> None:
    policies = policy_set(with_rules(HEAD, rule("stored.status == 'amended'", phase="after")))
    facts = facts_of(stored=example("hba1c-stored"))
    selection = select(policies, InteractionCode.CREATE, "Observation", facts.client, {})
    decision = decide(selection, facts, Phase.AFTER)
    assert decision.verdict is Verdict.ALLOW
    assert decision.outcomes == ()
    assert decision.after is AfterNeed.NONE


def test_after_the_write_a_rule_that_names_patient_needs_patients_that_were_read() -> None:
    policies = policy_set(with_rules(PERMIT, rule("patient.active", phase="after")))
    problem = LinkProblem(at="Observation.subject", form="not-found", text="There is none.")
    selection = select_recorded(policies, InteractionCode.CREATE, "Observation", ("a",))
    facts = facts_of(stored=example("hba1c-stored"), patients=[example("member")], problems=[problem])
    decision = decide(selection, facts, Phase.AFTER, applied=("a",))
    assert failures(decision) == {"a/patient": "fail"}
    assert [o.phase for o in decision.refusals] == [Phase.AFTER]
