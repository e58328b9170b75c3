"""The one place that says allow (POLICY.md, The one rule of combination).

A write goes through only if some policy permits it, and every rule of every policy that applies to it holds. The
answer starts as deny. Nothing here reads a clock, a file or the network; `deadline` is asked, never waited for.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, slots=True)
class _Judged:
    """The outcomes of one policy's rules in file order, and those of them that do not hold."""

    outcomes: tuple[RuleOutcome, ...]
    failed: tuple[RuleOutcome, ...] = ()


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
    outcomes: tuple[RuleOutcome, ...] = ()
    failed: tuple[RuleOutcome, ...] = ()
    those: list[CompiledPolicy] = []
    for policy in selection.policies:
        applies, doubts = _applies(policy, selection.type, facts, activation)
        outcomes, failed = outcomes + doubts, failed + doubts
        if applies:
            those.append(policy)
            judged = _judge(policy, policy.before, selection.type, facts, activation)
            outcomes, failed = outcomes + judged.outcomes, failed + judged.failed
    permitted = tuple(policy.name for policy in those if selection.code in policy.permit)
    return Decision(
        verdict=_verdict(failed) if permitted else Verdict.DENY,
        phase=phase,
        applied=tuple(policy.name for policy in those),
        permitted_by=permitted,
        outcomes=outcomes,
        after=_after_need(those),
    )


def _decide_after(selection: Selection, facts: Facts, activation: Activation, applied: tuple[str, ...]) -> Decision:
    those = tuple(policy for policy in selection.policies if policy.name in applied)
    outcomes = failed = tuple(_gone(name) for name in applied if all(policy.name != name for policy in those))
    for policy in those:
        if policy.after.rules:
            judged = _judge(policy, policy.after, selection.type, facts, activation)
            outcomes, failed = outcomes + judged.outcomes, failed + judged.failed
    return Decision(
        verdict=_verdict(failed),
        phase=Phase.AFTER,
        applied=applied,
        permitted_by=tuple(policy.name for policy in those if selection.code in policy.permit),
        outcomes=outcomes,
        after=_after_need(those),
    )


def _verdict(failed: tuple[RuleOutcome, ...]) -> Verdict:
    return Verdict.DENY if any(outcome.mode is Mode.ENFORCE for outcome in failed) else Verdict.ALLOW


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


def _judge(policy: CompiledPolicy, plan: PhasePlan, type_: str, facts: Facts, activation: Activation) -> _Judged:
    is_about = policy.patients[type_] is not PatientNeed.NONE and (plan is policy.before or plan.reads_patient)
    strangers = _patient_failures(policy, plan, type_, facts) if is_about else ()
    failed = _failed(policy, plan, activation)
    if not strangers and not failed:
        return _Judged(plan.passed_about if is_about else plan.passed)
    rules = tuple(failed.get(index, passed) for index, passed in enumerate(plan.passed))
    about = strangers or ((plan.patient,) if is_about else ())
    return _Judged(about + rules, strangers + tuple(failed.values()))


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


def _patient_failures(policy: CompiledPolicy, plan: PhasePlan, type_: str, facts: Facts) -> tuple[RuleOutcome, ...]:
    """Where the rule `patient` does not hold, that every policy has built in.

    It holds when every reference to a Patient leads to one that could be read. In phase `after` it is judged where
    a rule names `patient`.
    """
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
