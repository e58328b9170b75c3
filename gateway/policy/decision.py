"""What the engine answers: a verdict and the outcome of every rule that took part."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import IssueCode


class Phase(StrEnum):
    """When a rule is judged: on the payload, or on what the server stored."""

    BEFORE = "before"
    AFTER = "after"


class Mode(StrEnum):
    """What a rule that does not hold does (POLICY.md, Modes)."""

    ENFORCE = "enforce"
    WARN = "warn"
    AUDIT = "audit"


class Result(StrEnum):
    """How one rule ended. Only `PASS` holds."""

    PASS = "pass"  # noqa: S105 (a result, not a password)
    FAIL = "fail"
    ERROR = "error"
    NON_BOOLEAN = "non_boolean"
    OUT_OF_BUDGET = "out_of_budget"
    TIMEOUT = "timeout"


class Verdict(StrEnum):
    """Only `gateway.policy.engine` makes an `ALLOW`."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """What the client is told when the rule does not hold. `at` is an element path without the type."""

    code: IssueCode
    message: str
    at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleOutcome:
    """One rule's outcome. `reason` is a short engine text without payload values; `patient` counts from 0."""

    policy: str
    rule: str
    phase: Phase
    mode: Mode
    result: Result
    denial: Denial
    reason: str | None = None
    patient: int | None = None


class AfterNeed(StrEnum):
    """What the rules of phase `after` that apply ask of the pipeline."""

    NONE = "none"
    OBSERVE = "observe"  # only warn or audit rules: read back and judge, never undo
    UNDO = "undo"  # an enforced rule: journal first, undo when it does not hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The engine's answer.

    `applied` names the policies whose `when` held, `permitted_by` those of them with a permit. `outcomes`
    holds every rule judged, in file order. `refusals` are the issues' source when the verdict is DENY; a DENY
    with no refusals means that no policy permits the write.
    """

    verdict: Verdict
    phase: Phase
    applied: tuple[str, ...]
    permitted_by: tuple[str, ...]
    outcomes: tuple[RuleOutcome, ...]
    after: AfterNeed = AfterNeed.NONE

    @property
    def refusals(self) -> tuple[RuleOutcome, ...]:
        """Enforced rules that did not hold."""
        return tuple(o for o in self.outcomes if o.result is not Result.PASS and o.mode is Mode.ENFORCE)

    @property
    def warnings(self) -> tuple[RuleOutcome, ...]:
        """Rules in mode `warn` that did not hold."""
        return tuple(o for o in self.outcomes if o.result is not Result.PASS and o.mode is Mode.WARN)
