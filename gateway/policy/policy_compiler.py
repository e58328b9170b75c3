"""Compiles one policy: what its words mean, and whether they fit each other and the release's element model."""

from difflib import get_close_matches

from gateway.errors import IssueCode
from gateway.fhir import smart_scope
from gateway.fhir.compartment import patient_links
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.shape import resource_types
from gateway.policy.case_checks import check_cases
from gateway.policy.clients import ClientTerms
from gateway.policy.decision import Denial, Mode, Phase, Result, RuleOutcome
from gateway.policy.document import RulePart
from gateway.policy.document_reader import ReadPolicy
from gateway.policy.element_paths import fault
from gateway.policy.expression import NAMES
from gateway.policy.expression_compiler import ExpressionCompiler
from gateway.policy.policy_set import CompiledPolicy, CompiledRule, Engines, PatientNeed, PhasePlan
from gateway.policy.problems import Problem, ProblemSeverity
from gateway.yaml_positions import Path

RESERVED = ("when", "patient", "permit", "policy")
_STRICTNESS = {Mode.AUDIT: 0, Mode.WARN: 1, Mode.ENFORCE: 2}

_NO_PATIENT = Denial(code=IssueCode.REQUIRED, message="The resource does not say which Patient it is about.")
_CANNOT_APPLY = Denial(code=IssueCode.FORBIDDEN, message="Whether this policy applies could not be found out.")


def compile_policy(
    read: ReadPolicy, *, release: str, engines: Engines, every_type: tuple[str, ...]
) -> tuple[CompiledPolicy | None, tuple[Problem, ...]]:
    """The compiled policy, and every problem found; no policy when one of them is an error.

    `every_type` is what a guard that lists no types is about.
    """
    compiler = _PolicyCompiler(read, release, engines, every_type)
    policy = compiler.compile()
    problems = tuple(compiler.problems)
    return (None if any(problem.is_error for problem in problems) else policy), problems


class _PolicyCompiler:
    """Walks one document and collects problems; goes on after each, so that all are found."""

    def __init__(self, read: ReadPolicy, release: str, engines: Engines, every_type: tuple[str, ...]) -> None:
        self.read = read
        self.document = read.document
        self.places = read.places
        self.release = release
        self.engines = engines
        self.every_type = every_type
        self.problems: list[Problem] = []
        self.mode = Mode(read.document.mode)

    def compile(self) -> CompiledPolicy:
        document = self.document
        types = self._types()
        patients = self._patients(types)
        expressions = ExpressionCompiler(
            places=self.places,
            engines=self.engines,
            release=self.release,
            types=types,
            allowed=frozenset(NAMES) - ({"patient"} if set(patients.values()) == {PatientNeed.NONE} else set()),
            params=document.params,
            lets=document.let,
        )
        when = None
        if document.when is not None:
            compiled = expressions.compile(("when",), document.when, Phase.BEFORE)
            if compiled is not None:
                when = CompiledRule(
                    id="when",
                    phase=Phase.BEFORE,
                    mode=self.mode,
                    denial=_CANNOT_APPLY,
                    expression=compiled,
                    passed=self._outcome("when", Phase.BEFORE, self.mode, _CANNOT_APPLY),
                )
        rules = self._rules(expressions)
        self.problems += check_cases(self.read)
        self._lint_rules()
        self._lint_new_patients(patients)
        self.problems += expressions.finish()
        return CompiledPolicy(
            name=document.policy,
            title=document.title,
            owner=document.owner,
            permit=frozenset(InteractionCode(word) for word in document.permit or ()),
            patients=patients,
            clients=self._clients(),
            mode=self.mode,
            when=when,
            params=document.params,
            lets=expressions.lets,
            before=self._plan(rules, Phase.BEFORE),
            after=self._plan(rules, Phase.AFTER),
            source=self.places.file,
        )

    # What the policy is about

    def _types(self) -> tuple[str, ...]:
        known = resource_types(self.release)
        listed = self.document.resources
        if listed is None:
            if self.document.permit is not None:
                self._wrong(("permit",), "a policy that permits has to list its resources", key=True)
                return ()
            return self.every_type
        for index, type_ in enumerate(listed):
            if type_ not in known:
                near = get_close_matches(type_, sorted(known), n=1)
                hint = f"did you mean {near[0]}?" if near else None
                self._wrong(("resources", index), f"{type_} is no resource type of {self.release}", hint=hint)
            elif type_ in listed[:index]:
                self._wrong(("resources", index), f"{type_} is listed twice")
        return tuple(dict.fromkeys(type_ for type_ in listed if type_ in known))

    def _patients(self, types: tuple[str, ...]) -> dict[str, PatientNeed]:
        members = {type_ for type_ in types if _in_compartment(type_, self.release)}
        word = self.document.patient
        if word is None:
            return {type_: PatientNeed.REQUIRED if type_ in members else PatientNeed.NONE for type_ in types}
        need = PatientNeed(word)
        outside = [type_ for type_ in types if type_ not in members]
        if need is PatientNeed.REQUIRED and outside and self.document.resources is not None:
            self._wrong(
                ("patient",),
                f"{', '.join(outside)} cannot name a Patient: not in the Patient compartment",
                hint="split the policy, or leave patient out: it is required where it can be",
            )
        return {type_: need if type_ in members else PatientNeed.NONE for type_ in types}

    def _lint_new_patients(self, patients: dict[str, PatientNeed]) -> None:
        # http://hl7.org/fhir/R4/compartmentdefinition-patient.html: a Patient is in its own compartment.
        listed = self.document.resources is not None and "create" in (self.document.permit or ())
        if listed and patients.get("Patient") is PatientNeed.REQUIRED:
            self._warn(
                ("resources",),
                "no new Patient can be created under patient: required, because it is not there to be read",
                hint="say patient: optional, or permit only update",
            )

    def _clients(self) -> ClientTerms:
        clients = self.document.clients
        for index, text in enumerate(clients.scopes):
            looks_smart = text.split("/", 1)[0] in ("patient", "user", "system") and "/" in text
            if looks_smart and smart_scope.parse(text) is None:
                self._wrong(
                    ("clients", "scopes", index),
                    f"{text} is not a SMART scope",
                    hint="context/Type.letters with the letters of cruds in that order: system/Observation.cu",
                )
        return ClientTerms(scopes=tuple(clients.scopes), claims=clients.claims)

    # Rules

    def _rules(self, expressions: ExpressionCompiler) -> tuple[CompiledRule, ...]:
        rules = []
        seen: set[str] = set()
        for index, part in enumerate(self.document.rules):
            path: Path = ("rules", index)
            if part.id in RESERVED:
                self._wrong((*path, "id"), f"{part.id} is the name of a rule that is built in")
            elif part.id in seen:
                self._wrong((*path, "id"), f"the rule {part.id} stands twice in this policy")
            seen.add(part.id)
            rule = self._rule(path, part, expressions)
            if rule is not None:
                rules.append(rule)
        return tuple(rules)

    def _rule(self, path: Path, part: RulePart, expressions: ExpressionCompiler) -> CompiledRule | None:
        phase = Phase(part.phase)
        mode = Mode(part.mode) if part.mode is not None else self.mode
        if _STRICTNESS[mode] > _STRICTNESS[self.mode]:
            self._wrong(
                (*path, "mode"),
                f"a rule may lower the policy's mode ({self.mode.value}), never raise it",
                hint=f"raise the mode of the policy to {mode.value}, and lower its other rules",
            )
        if part.deny.at is not None:
            wrong = fault(part.deny.at, expressions.types, self.release)
            if wrong is not None:
                self._wrong((*path, "deny", "at"), wrong[0], hint=wrong[1])
        denial = Denial(
            code=IssueCode(part.deny.code),
            message=part.deny.message or f"The rule {part.id} does not hold.",
            at=part.deny.at,
        )
        expression = expressions.compile(path, part, phase)
        if expression is None:
            return None
        if phase is Phase.AFTER and "stored" not in expression.names:
            self._warn(
                (*path, "phase"),
                "this rule does not look at what was stored",
                hint="judge it before the write: then there is nothing to undo",
            )
        return CompiledRule(
            id=part.id,
            phase=phase,
            mode=mode,
            denial=denial,
            expression=expression,
            passed=self._outcome(part.id, phase, mode, denial),
        )

    def _plan(self, rules: tuple[CompiledRule, ...], phase: Phase) -> PhasePlan:
        those = tuple(rule for rule in rules if rule.phase is phase)
        together, covered = ExpressionCompiler.together(self.engines, those)
        patient = self._outcome("patient", phase, self.mode, _NO_PATIENT)
        passed = tuple(rule.passed for rule in those)
        return PhasePlan(
            patient=patient,
            rules=those,
            together=together,
            covered=covered,
            passed=passed,
            passed_about=(patient, *passed),
            names=frozenset().union(*(rule.expression.names for rule in those)),
        )

    def _lint_rules(self) -> None:
        document = self.document
        keys = document.model_fields_set
        if not document.rules and "rules" in keys:
            self._wrong(("rules",), "the list of rules is empty", hint="write a rule, or leave the key out", key=True)
        elif not document.rules and document.permit is None:
            self._wrong(("policy",), "a policy without permit and without rules does nothing")
        elif not document.rules:
            self._warn(("permit",), "this policy permits without a rule of its own")
        if document.permit is not None and self.mode is not Mode.ENFORCE:
            self._warn(
                ("mode",),
                f"in mode {self.mode.value} this policy still permits, and none of its rules refuses",
                hint="keep the mode enforce, and lower the rules that are on trial",
            )

    def _outcome(self, rule: str, phase: Phase, mode: Mode, denial: Denial) -> RuleOutcome:
        return RuleOutcome(
            policy=self.document.policy, rule=rule, phase=phase, mode=mode, result=Result.PASS, denial=denial
        )

    def _wrong(self, path: Path, message: str, *, hint: str | None = None, key: bool = False) -> None:
        self.problems.append(self.places.at(path, message, hint=hint, key=key))

    def _warn(self, path: Path, message: str, *, hint: str | None = None) -> None:
        self.problems.append(self.places.at(path, message, hint=hint, key=True, severity=ProblemSeverity.WARNING))


def _in_compartment(type_: str, release: str) -> bool:
    return patient_links({"resourceType": type_}, (), release=release).applicable
