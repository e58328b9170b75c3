"""Which policies judge a write: by interaction, type and client. Pure, and cheap enough for every request."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.fhir.interaction import InteractionCode
from gateway.policy.expression import Engine, Language, Reads
from gateway.policy.facts import ClientFacts
from gateway.policy.policy_set import NO_CANDIDATES, Candidates, CompiledPolicy, Engines, PatientNeed, PolicySet

# What `let` and `params` hold differs from policy to policy; everything else is bound once for all of them.
_OWN = frozenset({"params", "let"})
_LARGE = frozenset({"resource", "prior", "stored", "patient", "claims"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The policies that may judge one write; whether their `when` holds is for the engine to see.

    `shared` is what they read of the facts, `reads` what CEL reads of that. `missing` names policies that a recorded
    decision applied and that the set does not have: with one of those nothing can be allowed.
    """

    code: InteractionCode
    type: str
    policies: tuple[CompiledPolicy, ...]
    shared: frozenset[str]
    reads: Reads
    engines: Engines
    missing: tuple[str, ...] = ()

    @property
    def needs_patient(self) -> bool:
        """Whether the Patients of the write have to be read."""
        return any(policy.patients[self.type] is not PatientNeed.NONE for policy in self.policies)

    @property
    def needs_patient_after(self) -> bool:
        """Whether they have to be read again to judge what is stored: only where a rule of that phase names them."""
        return self.needs_patient and any(policy.after.reads_patient for policy in self.policies)

    @property
    def needs_prior(self) -> bool:
        """Whether the version before an update has to be read: to judge it, its Patients, or to restore it."""
        return self.code is InteractionCode.UPDATE and (
            self.needs_patient or self.may_need_after or any("prior" in policy.names for policy in self.policies)
        )

    @property
    def may_need_after(self) -> bool:
        """Whether some policy has rules for phase `after`."""
        return any(policy.after.rules for policy in self.policies)

    def engine(self, language: Language) -> Engine:
        """The engine of one language."""
        return self.engines.of(language)


def candidates(policies: Iterable[CompiledPolicy]) -> Mapping[tuple[InteractionCode, str], Candidates]:
    """Every (interaction, type) that some policy is about, with those policies."""
    found: dict[tuple[InteractionCode, str], list[CompiledPolicy]] = {}
    for policy in policies:
        for type_ in policy.patients:
            for code in (InteractionCode.CREATE, InteractionCode.UPDATE):
                if policy.concerns(code, type_):
                    found.setdefault((code, type_), []).append(policy)
    return {key: _candidates(those) for key, those in found.items()}


def _candidates(policies: list[CompiledPolicy]) -> Candidates:
    return Candidates(policies=tuple(policies), shared=_shared(policies), reads=_reads(policies))


def _reads(policies: Iterable[CompiledPolicy]) -> Reads:
    """What is read of the values that can be large; of a name that some expression reads whole, all."""
    found: dict[str, set[str]] = {}
    for policy in policies:
        for expression in policy.expressions:
            if expression.language is Language.CEL:
                for name, element in expression.compiled.elements:
                    found.setdefault(name, set()).add(element)
    return {name: frozenset(elements) for name, elements in found.items() if name in _LARGE and "" not in elements}


def _shared(policies: Iterable[CompiledPolicy]) -> frozenset[str]:
    read = [policy.names | policy.after.names for policy in policies]
    # The type of `resource` tells the engines which program of a rule to run.
    return frozenset({"resource"}).union(*read) - _OWN


def select(
    policy_set: PolicySet, code: InteractionCode, type_: str, client: ClientFacts, claims: Mapping[str, object]
) -> Selection:
    """The policies that are about this write by this client."""
    found = policy_set.candidates.get((code, type_), NO_CANDIDATES)
    return Selection(
        code=code,
        type=type_,
        policies=tuple(policy for policy in found.policies if policy.clients.met_by(client, claims, code, type_)),
        shared=found.shared,
        reads=found.reads,
        engines=policy_set.engines,
    )


def select_recorded(policy_set: PolicySet, code: InteractionCode, type_: str, applied: tuple[str, ...]) -> Selection:
    """The policies that a recorded decision applied: for recovery, which has no token to select by."""
    found = policy_set.candidates.get((code, type_), NO_CANDIDATES)
    policies = tuple(policy for policy in found.policies if policy.name in applied)
    return Selection(
        code=code,
        type=type_,
        policies=policies,
        shared=found.shared,
        reads=found.reads,
        engines=policy_set.engines,
        missing=tuple(sorted(set(applied) - {policy.name for policy in policies})),
    )
