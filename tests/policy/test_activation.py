"""What is bound, how often, and that lets are evaluated once and only when they are read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.policy.decision import Result, Verdict
from gateway.policy.engines import standard_engines
from gateway.policy.expression import (
    HELD,
    WHOLE,
    Compiled,
    Engine,
    Evaluated,
    ExpressionProblem,
    Language,
    Reads,
    Scope,
)
from gateway.policy.loader import load_sources
from gateway.policy.policy_set import Engines, PolicySet
from tests.policy.policies import HEAD, example, facts_of, failures, judged, rule, sources, with_rules


@dataclass(slots=True)
class Counted:
    """A real expression that counts how often it is evaluated."""

    inner: Compiled
    counts: dict[str, int]

    @property
    def source(self) -> str:
        return self.inner.source

    @property
    def names(self) -> frozenset[str]:
        return self.inner.names

    @property
    def lets(self) -> frozenset[str]:
        return self.inner.lets

    @property
    def elements(self) -> frozenset[tuple[str, str]]:
        return self.inner.elements

    @property
    def warnings(self) -> tuple[ExpressionProblem, ...]:
        return self.inner.warnings

    def evaluate(self, bound: object) -> Evaluated:
        self.counts[self.source] = self.counts.get(self.source, 0) + 1
        return self.inner.evaluate(bound)


@dataclass(slots=True)
class Ended(Counted):
    """An expression that always ends the same way."""

    always: Evaluated = HELD

    def evaluate(self, bound: object) -> Evaluated:
        return self.always


@dataclass(slots=True)
class Counting:
    """A real engine whose work is counted."""

    inner: Engine
    counts: dict[str, int] = field(default_factory=dict)
    bound: list[frozenset[str]] = field(default_factory=list)
    reads: list[Reads] = field(default_factory=list)

    @property
    def language(self) -> Language:
        return self.inner.language

    @property
    def name(self) -> str:
        return self.inner.name

    def compile(self, source: str, scope: Scope) -> Compiled | tuple[ExpressionProblem, ...]:
        found = self.inner.compile(source, scope)
        return found if isinstance(found, tuple) else Counted(found, self.counts)

    def conjunction(self, parts: tuple[Compiled, ...]) -> Compiled | None:
        inner = self.inner.conjunction(tuple(part.inner for part in parts if isinstance(part, Counted)))
        return None if inner is None else Counted(inner, self.counts)

    def bind(self, values: Mapping[str, object], reads: Reads = WHOLE) -> object:
        self.bound.append(frozenset(values))
        self.reads.append(reads)
        return self.inner.bind(values, reads)


def counting(*texts: str) -> tuple[PolicySet, Counting, Counting]:
    engines = standard_engines()
    cel, fhirpath = Counting(engines.cel), Counting(engines.fhirpath)
    return load_sources(sources(*texts), release="R4", engines=Engines(cel=cel, fhirpath=fhirpath)), cel, fhirpath


STATUS = rule("resource.status == 'final'")
LETS = HEAD + "let:\n  a: {cel: resource.status}\n  b: {cel: \"let.a == 'final'\"}\n  idle: {cel: resource.status}\n"


def test_policies_share_one_activation_and_only_engines_in_use_bind() -> None:
    policies, cel, fhirpath = counting(
        with_rules(HEAD, STATUS), with_rules(HEAD.replace("policy: a", "policy: b"), STATUS)
    )
    assert judged(policies).verdict is Verdict.ALLOW
    assert cel.bound == [frozenset({"resource"})]
    assert fhirpath.bound == []


def test_what_no_cel_expression_reads_is_not_converted() -> None:
    first = with_rules(LETS, rule("let.b && claims['a'] == 1"), rule("prior == null || prior.?meta.hasValue()", "p"))
    second = with_rules(HEAD.replace("policy: a", "policy: b"), rule("fhirpath: code.exists() and %claims.b.empty()"))
    policies, cel, fhirpath = counting(first, second)
    judged(policies)
    reads = {"resource": {"status"}, "claims": {"a"}, "prior": {"meta"}}
    assert all(found == reads for found in [*cel.reads, *fhirpath.reads])
    third = with_rules(HEAD.replace("policy: a", "policy: c"), rule("[resource].exists(r, r.status == 'final')", "w"))
    policies, cel, _ = counting(first, third)
    judged(policies)
    assert cel.reads == [{"prior": {"meta"}, "claims": {"a"}}] * len(cel.reads)


def test_patients_are_bound_one_by_one() -> None:
    head = HEAD.replace("patient: none\n", "")
    policies, cel, _ = counting(with_rules(head, STATUS, rule("patient.active", "s")))
    assert judged(policies, facts_of(patients=[example("member")] * 3)).verdict is Verdict.ALLOW
    assert cel.bound == [frozenset({"resource", "patient"})] * 3


def test_rules_that_hold_cost_one_evaluation_together() -> None:
    policies, cel, fhirpath = counting(
        with_rules(HEAD, STATUS, rule("resource.status != 'amended'", "s"), rule("fhirpath: status = 'final'", "t"))
    )
    judged(policies)
    assert len(cel.counts) == 1
    assert fhirpath.counts == {"status = 'final'": 1}


def test_when_they_do_not_all_hold_each_is_asked() -> None:
    policies, cel, _ = counting(with_rules(HEAD, STATUS, rule("resource.status == 'amended'", "s")))
    assert failures(judged(policies)) == {"a/s": "fail"}
    assert cel.counts["resource.status == 'final'"] == 1
    assert cel.counts["resource.status == 'amended'"] == 1


def test_lets_are_evaluated_once_and_only_when_a_rule_reads_them() -> None:
    text = with_rules(LETS, rule("let.b"), rule("fhirpath: %let.b and %let.a = 'final'", "s"))
    policies, cel, _ = counting(text)
    assert judged(policies).verdict is Verdict.ALLOW
    assert cel.counts["resource.status"] == 1
    assert cel.counts["let.a == 'final'"] == 1
    assert [warning.message for warning in policies.warnings] == ["nothing reads let.idle"]


def test_a_let_that_names_no_patient_is_evaluated_once_for_all() -> None:
    head = LETS.replace("patient: none\n", "").replace("  idle: {cel: resource.status}\n", "")
    policies, cel, _ = counting(with_rules(head, rule("let.b && patient.active")))
    assert judged(policies, facts_of(patients=[example("member")] * 2)).verdict is Verdict.ALLOW
    assert cel.counts["resource.status"] == 1


def test_an_engine_that_fails_in_any_way_refuses() -> None:
    policies, _, _ = counting(with_rules(HEAD, STATUS))
    for result in Result:
        policy = policies.policies[0]
        ended = Ended(policy.before.rules[0].expression.compiled, {}, Evaluated(result))
        rules = tuple(
            replace(each, expression=replace(each.expression, compiled=ended)) for each in policy.before.rules
        )
        broken = replace(policy, before=replace(policy.before, rules=rules))
        candidates = {key: replace(found, policies=(broken,)) for key, found in policies.candidates.items()}
        decision = judged(replace(policies, policies=(broken,), candidates=candidates))
        assert (decision.verdict is Verdict.ALLOW) is (result is Result.PASS)
