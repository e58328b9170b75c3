"""Turns a Decision into the issues that a client sees: every rule that did not hold, never only the first."""

from gateway.errors import Issue, IssueCode, Severity
from gateway.policy.decision import Decision, RuleOutcome

_NOT_PERMITTED = Issue(
    code=IssueCode.FORBIDDEN,
    text="No policy of this server permits this client to make this write.",
    diagnostics="permit",
)


def refusals(decision: Decision, type_: str) -> tuple[Issue, ...]:
    """The issues of a decision that denies, in file order (POLICY.md, Errors to the client)."""
    failed = tuple(_issue(outcome, type_, Severity.ERROR) for outcome in decision.refusals)
    return failed if decision.permitted_by else (*failed, _NOT_PERMITTED)


def after_refusals(decision: Decision, type_: str) -> tuple[Issue, ...]:
    """The issues of rules of phase `after` that did not hold."""
    return tuple(_issue(outcome, type_, Severity.ERROR) for outcome in decision.refusals)


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
