"""The one place that says allow (POLICY.md, The one rule of combination).

A write goes through only if some policy permits it, and every rule of every policy that applies to it holds. The
answer starts as deny. Nothing here reads a clock, a file or the network; `deadline` is asked, never waited for.
"""

from collections.abc import Callable
from dataclasses import replace

from gateway.errors import IssueCode
from gateway.policy.activation import Activation, Held
from gateway.policy.decision import AfterNeed, Decision, Denial, Mode, Phase, Result, RuleOutcome, Verdict
from gateway.policy.expression import Evaluated
from gateway.policy.facts import Facts, LinkProblem
from gateway.policy.policy_set import CompiledPolicy, CompiledRule, PatientNeed, PhasePlan
from gateway.policy.selection import Selection, select, select_recorded

__all__ = ["decide", "select", "select_recorded"]

_MIXED = Evaluated(Result.ERROR, reason="true for one Patient and false for another")
_GONE = Denial(code=IssueCode.FORBIDDEN, message="A policy that this write was accepted under is not loaded.")


def _never() -> bool:
    return False


def decide(
    selection: Selection,
    facts: Facts,
    phase: Phase,
    *,
    deadline: Callable[[], bool] | None = None,
    applied: tuple[str, ...] | None = None,
) -> Decision:
    """Judge one write, or in phase `after` what the server stored.

    `deadline` answers whether the time is used up; from then on no rule holds. `applied` names the policies that
    applied in phase `before`, and is needed in phase `after`, where `when` is not judged again. Never raises for
    anything in the facts.
    """
    activation = Activation(selection, facts, phase, deadline or _never)
    if phase is Phase.AFTER:
        return _decide_after(selection, facts, activation, applied or ())
    outcomes: list[RuleOutcome] = []
    those: list[CompiledPolicy] = []
    for policy in selection.policies:
        applies, doubts = _applies(policy, selection.type, facts, activation)
        outcomes += doubts
        if applies:
            those.append(policy)
            outcomes += _judge(policy, policy.before, selection.type, facts, activation)
    permitted = tuple(policy.name for policy in those if selection.code in policy.permit)
    return Decision(
        verdict=_verdict(outcomes) if permitted else Verdict.DENY,
        phase=phase,
        applied=tuple(policy.name for policy in those),
        permitted_by=permitted,
        outcomes=tuple(outcomes),
        after=_after_need(those),
    )


def _decide_after(selection: Selection, facts: Facts, activation: Activation, applied: tuple[str, ...]) -> Decision:
    those = tuple(policy for policy in selection.policies if policy.name in applied)
    outcomes = [_gone(name) for name in applied if all(policy.name != name for policy in those)]
    for policy in those:
        if policy.after.rules:
            outcomes += _judge(policy, policy.after, selection.type, facts, activation)
    return Decision(
        verdict=_verdict(outcomes),
        phase=Phase.AFTER,
        applied=applied,
        permitted_by=tuple(policy.name for policy in those if selection.code in policy.permit),
        outcomes=tuple(outcomes),
        after=_after_need(those),
    )


def _verdict(outcomes: list[RuleOutcome]) -> Verdict:
    refused = any(o.result is not Result.PASS and o.mode is Mode.ENFORCE for o in outcomes)
    return Verdict.DENY if refused else Verdict.ALLOW


def _after_need(policies: "list[CompiledPolicy] | tuple[CompiledPolicy, ...]") -> AfterNeed:
    modes = {rule.mode for policy in policies for rule in policy.after.rules}
    if Mode.ENFORCE in modes:
        return AfterNeed.UNDO
    return AfterNeed.OBSERVE if modes else AfterNeed.NONE


def _gone(name: str) -> RuleOutcome:
    return RuleOutcome(
        policy=name, rule="policy", phase=Phase.AFTER, mode=Mode.ENFORCE, result=Result.ERROR, denial=_GONE
    )


def _applies(
    policy: CompiledPolicy, type_: str, facts: Facts, activation: Activation
) -> tuple[bool, tuple[RuleOutcome, ...]]:
    """Whether `when` holds. Exactly true and exactly false are answers; anything else refuses, guards included.

    So does a `when` that names `patient` and is true for one Patient and false for another: the write is neither
    inside nor outside the policy.
    """
    if policy.when is None:
        return True, ()
    if policy.when.expression.reads_patient:
        doubts = _patient_failures(policy, policy.before, type_, facts)
        if doubts:
            return False, doubts
    ends = activation.each(policy, policy.when.expression)
    results = {end.result for end in ends}
    if results == {Result.PASS}:
        return True, ()
    if results == {Result.FAIL}:
        return False, ()
    doubtful = next((end for end in ends if end.result not in (Result.PASS, Result.FAIL)), _MIXED)
    return False, (replace(policy.when.passed, result=doubtful.result, reason=doubtful.reason),)


def _judge(
    policy: CompiledPolicy, plan: PhasePlan, type_: str, facts: Facts, activation: Activation
) -> tuple[RuleOutcome, ...]:
    about = _judge_patients(policy, plan, type_, facts)
    failed = _failed(policy, plan, activation)
    if not failed:
        return about + plan.passed
    return about + tuple(failed.get(index, passed) for index, passed in enumerate(plan.passed))


def _failed(policy: CompiledPolicy, plan: PhasePlan, activation: Activation) -> dict[int, RuleOutcome]:
    """The rules that do not hold, by index. The one expression for many is asked first: mostly all of them hold."""
    together = plan.together
    all_hold = together is not None and activation.judge(policy, together).outcome.result is Result.PASS
    failed: dict[int, RuleOutcome] = {}
    for index, rule in enumerate(plan.rules):
        if all_hold and index in plan.covered:
            continue
        end = activation.judge(policy, rule.expression)
        if end.outcome.result is not Result.PASS:
            failed[index] = _outcome(rule, end)
    return failed


def _outcome(rule: CompiledRule, end: Held) -> RuleOutcome:
    return replace(rule.passed, result=end.outcome.result, reason=end.outcome.reason, patient=end.patient)


def _judge_patients(policy: CompiledPolicy, plan: PhasePlan, type_: str, facts: Facts) -> tuple[RuleOutcome, ...]:
    """The rule `patient` that every policy has built in: every reference to a Patient names one that could be read.

    In phase `after` it is judged where a rule names `patient`.
    """
    if policy.patients[type_] is PatientNeed.NONE or (plan is policy.after and not plan.reads_patient):
        return ()
    return _patient_failures(policy, plan, type_, facts) or (plan.patient,)


def _patient_failures(policy: CompiledPolicy, plan: PhasePlan, type_: str, facts: Facts) -> tuple[RuleOutcome, ...]:
    required = policy.patients[type_] is PatientNeed.REQUIRED
    problems = [problem for problem in facts.patients.problems if required or problem.form != "absent"]
    if problems:
        return tuple(replace(plan.patient, result=Result.FAIL, denial=_denial(problem, type_)) for problem in problems)
    if required and not facts.patients.resources:
        return (replace(plan.patient, result=Result.FAIL),)
    return ()


def _denial(problem: LinkProblem, type_: str) -> Denial:
    code = IssueCode.REQUIRED if problem.form == "absent" else IssueCode.VALUE
    return Denial(code=code, message=problem.text, at=problem.at.removeprefix(f"{type_}.") or None)
