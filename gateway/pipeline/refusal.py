"""Turns a Decision into the issues that a client sees: every rule that did not hold, never only the first."""

from gateway.errors import Issue, IssueCode, Severity
from gateway.policy.decision import Decision, RuleOutcome
from gateway.policy.policy_set import PolicySet
from gateway.saga.moves import NOT_JUDGED

NOT_PERMITTED = Issue(
    code=IssueCode.FORBIDDEN,
    text="No policy of this server permits this client to make this write.",
    diagnostics="permit",
)


def refusals(decision: Decision, type_: str) -> tuple[Issue, ...]:
    """The issues of a decision that denies, in file order (POLICY.md, Errors to the client)."""
    failed = tuple(_issue(outcome, type_, Severity.ERROR) for outcome in decision.refusals)
    return failed if decision.permitted_by else (*failed, NOT_PERMITTED)


def after_refusals(decision: Decision, type_: str) -> tuple[Issue, ...]:
    """The issues of rules of phase `after` that did not hold."""
    return tuple(_issue(outcome, type_, Severity.ERROR) for outcome in decision.refusals)


def recorded_refusals(policies: PolicySet | None, failed: tuple[str, ...], type_: str) -> tuple[Issue, ...]:
    """The same issues again, from the names in the journal and the policies that the write was let in by."""
    return tuple(_recorded(policies, name, type_) for name in failed if name != NOT_JUDGED)


def _recorded(policies: PolicySet | None, name: str, type_: str) -> Issue:
    policy_name, _, rule = name.rpartition("/")
    policy = policies.policy(policy_name) if policies is not None else None
    outcomes = (policy.after.patient, *policy.after.passed) if policy is not None else ()
    outcome = next((each for each in outcomes if each.rule == rule), None)
    if outcome is not None:
        return _issue(outcome, type_, Severity.ERROR)
    return Issue(
        code=IssueCode.BUSINESS_RULE,
        text="A rule did not hold on what was stored; the policies of that time are not at hand any more.",
        diagnostics=name,
    )


def warnings(decision: Decision, type_: str) -> tuple[Issue, ...]:
    """The issues of rules in mode `warn` that did not hold."""
    return tuple(_issue(outcome, type_, Severity.WARNING) for outcome in decision.warnings)


def _issue(outcome: RuleOutcome, type_: str, severity: Severity) -> Issue:
    at = outcome.denial.at
    # A policy names elements below the type; problems of references carry the type already.
    path = at if not at or at.startswith(f"{type_}.") else f"{type_}.{at}"
    return Issue(
        severity=severity,
        code=outcome.denial.code,
        text=outcome.denial.message,
        expression=(path,) if path else (),
        diagnostics=f"{outcome.policy}/{outcome.rule}",
    )
