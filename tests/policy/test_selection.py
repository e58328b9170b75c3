"""Which policies judge a write, and what they need to be judged."""

import pytest

from gateway.fhir.interaction import InteractionCode
from gateway.policy.engine import select, select_recorded
from gateway.policy.facts import ClientFacts
from gateway.policy.selection import Selection
from tests.policy.policies import GUARD, HEAD, policy_set, rule, with_rules

CLIENT = ClientFacts(id="c", issuer="i", scopes=("system/*.cruds",))
CREATE, UPDATE = InteractionCode.CREATE, InteractionCode.UPDATE
LOOKS = rule("resource.status == 'final'")
LOOKS_BACK = rule("prior == null || prior.status == 'final'")
LOOKS_AFTER = rule("stored.status == 'final'", phase="after")


def selected(text: str, code: InteractionCode = UPDATE) -> Selection:
    return select(policy_set(text), code, "Observation", CLIENT, {})


@pytest.mark.parametrize(
    ("text", "patient", "prior", "after"),
    [
        (with_rules(HEAD, LOOKS), False, False, False),
        (with_rules(HEAD, LOOKS_BACK), False, True, False),
        (with_rules(HEAD + 'when: {cel: "prior != null"}\n', LOOKS), False, True, False),
        (with_rules(HEAD + "let: {p: {cel: prior.status}}\n", rule("let.p == 'final'")), False, True, False),
        (with_rules(HEAD, LOOKS_AFTER), False, True, True),
        (with_rules(HEAD.replace("patient: none\n", ""), LOOKS), True, True, False),
        (with_rules(HEAD.replace("none", "optional"), LOOKS), True, True, False),
    ],
)
def test_what_is_needed(text: str, patient: bool, prior: bool, after: bool) -> None:
    selection = selected(text)
    assert (selection.needs_patient, selection.needs_prior, selection.may_need_after) == (patient, prior, after)
    assert not selected(text, CREATE).needs_prior


def test_nothing_is_needed_where_no_policy_is_about_the_write() -> None:
    selection = select(policy_set(HEAD), CREATE, "Condition", CLIENT, {})
    assert selection.policies == ()
    assert not selection.needs_patient


def test_only_what_is_read_is_bound() -> None:
    assert selected(with_rules(HEAD, LOOKS)).shared == {"resource"}
    text = with_rules(HEAD + "params: {x: [final]}\n", rule("client.id in params.x"))
    assert selected(text).shared == {"resource", "client"}


def test_a_guard_is_selected_for_every_interaction_and_a_permit_for_its_own() -> None:
    policies = policy_set(HEAD.replace("create, update", "create"), with_rules(GUARD, LOOKS))
    names = {
        code: [policy.name for policy in select(policies, code, "Observation", CLIENT, {}).policies]
        for code in (CREATE, UPDATE, InteractionCode.DELETE)
    }
    assert names == {CREATE: ["a", "g"], UPDATE: ["g"], InteractionCode.DELETE: []}


def test_a_recorded_selection_is_by_name_and_says_what_is_missing() -> None:
    policies = policy_set(HEAD, with_rules(GUARD, LOOKS))
    selection = select_recorded(policies, CREATE, "Observation", ("g", "gone"))
    assert [policy.name for policy in selection.policies] == ["g"]
    assert selection.missing == ("gone",)
