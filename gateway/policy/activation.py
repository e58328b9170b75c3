"""What expressions see during one decision: values bound once, lets evaluated once and only when a rule reads them."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gateway.policy.decision import Phase, Result
from gateway.policy.expression import HELD, Evaluated, Language
from gateway.policy.facts import Facts
from gateway.policy.policy_set import CompiledExpression, CompiledPolicy
from gateway.policy.selection import Selection

LATE = Evaluated(Result.TIMEOUT, reason="the time for a decision was used up")

# A let has a value whenever its evaluation ended with one: true, false or anything else.
_HAS_VALUE = (Result.PASS, Result.FAIL, Result.NON_BOOLEAN)


def values_of(facts: Facts, phase: Phase, names: AbstractSet[str]) -> dict[str, object]:
    """NAMES -> value for the names asked for, but for `patient`, `params` and `let`; `stored` in phase `after` only."""
    values: dict[str, object] = {}
    if "resource" in names:
        values["resource"] = facts.resource
    if "prior" in names:
        values["prior"] = facts.prior
    if "claims" in names:
        values["claims"] = facts.claims if type(facts.claims) is dict else dict(facts.claims)
    if "client" in names:
        client = facts.client
        values["client"] = {"id": client.id, "issuer": client.issuer, "scopes": list(client.scopes)}
    if "request" in names:
        written = facts.request
        request = {"interaction": written.interaction.value, "type": written.type, "time": written.time}
        if written.id is not None:
            # Absent, not null, before a create: so that `has(request.id)` says what it seems to say.
            request["id"] = written.id
        values["request"] = request
    if "stored" in names and phase is Phase.AFTER:
        values["stored"] = facts.stored
    return values


@dataclass(frozen=True, slots=True)
class Held:
    """How an expression ended over all Patients. `patient` is the index of the first for which it did not hold."""

    outcome: Evaluated
    patient: int | None = None


_HELD = Held(HELD)


class Activation:
    """The working memory of one decision; lives inside `engine.decide` and nowhere else.

    Patients are counted from 0; an expression that does not name `patient` is judged with none. Where the write
    is about no Patient, one that does is judged once, with null.
    """

    __slots__ = ("_bound", "_lets", "_selection", "_values", "is_late", "patients")

    def __init__(self, selection: Selection, facts: Facts, phase: Phase, is_late: Callable[[], bool]) -> None:
        self._selection = selection
        self._values = values_of(facts, phase, selection.shared)
        self._bound: dict[tuple[Language, str, tuple[str, ...], int], object] = {}
        self._lets: dict[tuple[str, str, int], Evaluated] = {}
        self.patients = facts.patients.resources
        self.is_late = is_late

    def judge(self, policy: CompiledPolicy, expression: CompiledExpression) -> Held:
        """Judge an expression: for every Patient in turn if it names `patient`, else once. Never raises."""
        if not expression.reads_patient:
            outcome = self._evaluate(policy, expression, 0)
            return _HELD if outcome.result is Result.PASS else Held(outcome)
        for patient in range(max(1, len(self.patients))):
            outcome = self._evaluate(policy, expression, patient)
            if outcome.result is not Result.PASS:
                return Held(outcome, patient if self.patients else None)
        return _HELD

    def each(self, policy: CompiledPolicy, expression: CompiledExpression) -> tuple[Evaluated, ...]:
        """The outcome for every Patient in turn if it names `patient`, else the only one."""
        times = max(1, len(self.patients)) if expression.reads_patient else 1
        return tuple(self._evaluate(policy, expression, patient) for patient in range(times))

    def _evaluate(self, policy: CompiledPolicy, expression: CompiledExpression, patient: int) -> Evaluated:
        if self.is_late():
            return LATE
        # A rule that reads a let which failed does not hold, whatever its text makes of the gap: `has(let.x)`
        # and FHIRPath's empty collection would both hide the failure.
        for name in expression.lets:
            value = self._let(policy, name, patient)
            if value.result not in _HAS_VALUE:
                return Evaluated(value.result, reason=f"let {name} has no value")
        return expression.compiled.evaluate(self._bind(policy, expression, patient))

    def _let(self, policy: CompiledPolicy, name: str, patient: int) -> Evaluated:
        let = policy.lets[name]
        key = (policy.name, name, patient if let.reads_patient else 0)
        if key not in self._lets:
            self._lets[key] = self._evaluate(policy, let, patient)
        return self._lets[key]

    def _bind(self, policy: CompiledPolicy, expression: CompiledExpression, patient: int) -> object:
        # In CEL params are literals of the program, so that policies with params share an activation too.
        own = bool(expression.lets) or (expression.language is Language.FHIRPATH and "params" in expression.names)
        key = (
            expression.language,
            policy.name if own else "",
            expression.lets,
            patient if expression.reads_patient else 0,
        )
        if key not in self._bound:
            values = dict(self._values)
            # Bound for rules that do not name it as well, so that both kinds share one activation.
            if "patient" in self._selection.shared:
                values["patient"] = self.patients[patient] if self.patients else None
            if own:
                values["params"] = policy.params
                values["let"] = {name: self._let(policy, name, patient).value for name in expression.lets}
            self._bound[key] = self._selection.engine(expression.language).bind(values, self._selection.reads)
        return self._bound[key]
