"""Compiled policies: frozen values that the engine judges with, made once by the compiler."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.fhir.interaction import InteractionCode
from gateway.policy.clients import ClientTerms
from gateway.policy.decision import Denial, Mode, Phase, RuleOutcome
from gateway.policy.expression import Compiled, Engine, Language, Reads
from gateway.policy.problems import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A policy file as it was read. `name` is its path below the policies folder, with `/`."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The two expression engines that a set is compiled and judged with."""

    cel: Engine
    fhirpath: Engine

    def of(self, language: Language) -> Engine:
        """The engine of one language."""
        return self.cel if language is Language.CEL else self.fhirpath

    @property
    def names(self) -> Mapping[str, str]:
        """Language -> the library that evaluates it."""
        return {language.value: self.of(language).name for language in Language}


class PatientNeed(StrEnum):
    """What a policy asks of the Patients that the write is about (POLICY.md, `patient`)."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledExpression:
    """An expression with what it reads. `names` counts what its lets read too; `lets` are in order of need."""

    language: Language
    compiled: Compiled
    names: frozenset[str]
    lets: tuple[str, ...] = ()

    @property
    def reads_patient(self) -> bool:
        """Whether it is judged once for every Patient."""
        return "patient" in self.names


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """One rule. `passed` is its outcome when it holds, made once."""

    id: str
    phase: Phase
    mode: Mode
    denial: Denial
    expression: CompiledExpression
    passed: RuleOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePlan:
    """The rules of one phase, in file order.

    `together` is one expression that holds exactly when the rules at `covered` do, or None. `passed` are the
    outcomes of all of them, `patient` that of the rule which every policy has built in, `passed_about` both.
    `names` is what the phase reads, `let` and `params` included.
    """

    patient: RuleOutcome
    rules: tuple[CompiledRule, ...] = ()
    together: CompiledExpression | None = None
    covered: frozenset[int] = frozenset()
    passed: tuple[RuleOutcome, ...] = ()
    passed_about: tuple[RuleOutcome, ...] = ()
    names: frozenset[str] = frozenset()

    @property
    def reads_patient(self) -> bool:
        """Whether any rule names `patient`."""
        return "patient" in self.names


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPolicy:
    """One policy file. `permit` is empty for a guard; `patients` has one entry for every type it is about."""

    name: str
    title: str | None
    owner: str | None
    permit: frozenset[InteractionCode]
    patients: Mapping[str, PatientNeed]
    clients: ClientTerms
    mode: Mode
    when: CompiledRule | None
    params: Mapping[str, object]
    lets: Mapping[str, CompiledExpression]
    before: PhasePlan
    after: PhasePlan
    source: str

    @property
    def is_guard(self) -> bool:
        """A guard opens nothing: it only restricts what others permit."""
        return not self.permit

    @property
    def names(self) -> frozenset[str]:
        """All that the policy reads in phase `before`."""
        return self.before.names | (self.when.expression.names if self.when else frozenset())

    @property
    def expressions(self) -> tuple[CompiledExpression, ...]:
        """All that the policy may have judged."""
        rules = (*((self.when,) if self.when else ()), *self.before.rules, *self.after.rules)
        return (*self.lets.values(), *(rule.expression for rule in rules))

    def concerns(self, code: InteractionCode, type_: str) -> bool:
        """Whether the policy is about such writes. One with a `permit` is about what it opens, a guard about all."""
        return type_ in self.patients and (self.is_guard or code in self.permit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The policies that are about one interaction and type, whoever the client is.

    `shared` is what they read, `reads` what their CEL expressions read of it.
    """

    policies: tuple[CompiledPolicy, ...] = ()
    shared: frozenset[str] = frozenset()
    reads: Reads = field(default_factory=dict)


NO_CANDIDATES = Candidates()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """Everything loaded. `revision` is the SHA-256 of the sources, in hex: equal texts, equal revision."""

    revision: str
    release: str
    policies: tuple[CompiledPolicy, ...]
    sources: tuple[Source, ...]
    engines: Engines
    candidates: Mapping[tuple[InteractionCode, str], Candidates]
    warnings: tuple[Problem, ...] = field(default=())

    def policy(self, name: str) -> CompiledPolicy | None:
        """The policy with that name."""
        return next((policy for policy in self.policies if policy.name == name), None)

    def permitted_types(self) -> Mapping[str, frozenset[InteractionCode]]:
        """For each type, the writes that some policy permits to someone (for the CapabilityStatement)."""
        found: dict[str, frozenset[InteractionCode]] = {}
        for policy in self.policies:
            for type_ in policy.patients if policy.permit else ():
                found[type_] = found.get(type_, frozenset()) | policy.permit
        return found
