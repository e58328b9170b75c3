"""Runs the tests of policy files through the engine that judges real writes, on payloads that could be real."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from gateway.errors import GatewayError, Issue
from gateway.fhir import shape
from gateway.fhir.compartment import LinkProblem, patient_links
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.policy.case_checks import NOT_PERMITTED
from gateway.policy.decision import Decision, Phase, RuleOutcome, Verdict
from gateway.policy.document import CasePart
from gateway.policy.document_reader import ReadPolicy
from gateway.policy.engine import decide, select
from gateway.policy.facts import ClientFacts, Facts, PatientFacts, RequestFacts
from gateway.policy.policy_set import CompiledPolicy, PolicySet
from gateway.policy.selection import Selection, candidates

ISSUER = "https://issuer.example"
ANY_SCOPE = "system/*.cruds"


class FixtureUnusable(Exception):
    """A fixture that is not there, or that no gateway would have judged. The text says why."""


Fixtures = Callable[[str, str], bytes]
"""Reads a fixture: (policy file as shown, name in the file) -> bytes. Raises FixtureUnusable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """How one test ended. `problem` is None when it passed; `details` are the rules that did not hold, with why."""

    policy: str
    name: str
    file: str
    line: int
    column: int
    problem: str | None = None
    details: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether what was expected came out."""
        return self.problem is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """What became of the write of a test: `allow`, `deny` or `undo`, by which rules, and what else was seen."""

    verdict: str
    rules: frozenset[str]
    warned: frozenset[str]
    outcomes: tuple[RuleOutcome, ...]


def run_cases(
    policy_set: PolicySet, documents: Sequence[ReadPolicy], fixtures: Fixtures, *, with_set: bool = False
) -> tuple[CaseResult, ...]:
    """Every test of every file, in order of file and place.

    Each is judged by its own policy alone; `with_set`, those of a policy that permits by the whole set, where the
    rules of others count only if the test names them. A guard permits nothing and tests only what it looks at: its
    tests are judged alone, and take it that some other policy permits the write.
    """
    results = []
    for read in sorted(documents, key=lambda read: read.places.file):
        policy = policy_set.policy(read.document.policy)
        if policy is None:
            continue
        judging = policy_set
        if policy.is_guard or not with_set:
            judging = replace(policy_set, policies=(policy,), candidates=candidates((policy,)))
        results += [
            _run(_Case(read, policy, judging, case, fixtures), index) for index, case in enumerate(read.document.tests)
        ]
    return tuple(results)


@dataclass(frozen=True, slots=True)
class _Case:
    read: ReadPolicy
    policy: CompiledPolicy
    policies: PolicySet
    case: CasePart
    fixtures: Fixtures

    def resource(self, name: str) -> JsonObject:
        """A fixture, as strictly read as a client's body. Raises FixtureUnusable."""
        content = self.fixtures(self.read.places.file, name)
        try:
            resource = parse(content, BodyLimits())
        except GatewayError as error:
            raise FixtureUnusable(f"{name}: {error.issues[0].text}") from None
        if not isinstance(resource.get("resourceType"), str):
            raise FixtureUnusable(f"{name}: there is no resourceType")
        issues = shape.check(resource, release=self.policies.release)
        if issues:
            raise FixtureUnusable(f"{name}: {_spoken(issues[0])}")
        return resource

    def optional(self, name: str | None) -> JsonObject | None:
        return None if name is None else self.resource(name)

    def patients(self) -> tuple[JsonObject, ...]:
        given = self.case.given
        names = given.patients if given.patient is None else [given.patient]
        found = tuple(self.resource(name) for name in names)
        for name, resource in zip(names, found, strict=True):
            if resource["resourceType"] != "Patient" or not isinstance(resource.get("id"), str):
                raise FixtureUnusable(f"{name}: not a Patient with an id")
        return found


def _spoken(issue: Issue) -> str:
    return f"{issue.text} ({issue.expression[0]})" if issue.expression else issue.text


def _run(case: _Case, index: int) -> CaseResult:
    place = case.read.places.at(("tests", index), "")
    result = CaseResult(
        policy=case.policy.name, name=case.case.name, file=place.file, line=place.line, column=place.column
    )
    try:
        ended = _judge(case)
    except FixtureUnusable as unusable:
        return replace(result, problem=str(unusable))
    problem = _compare(case, ended)
    if problem is None:
        return result
    return replace(result, problem=problem, details=tuple(_detail(case, outcome) for outcome in ended.outcomes))


def _judge(case: _Case) -> _Ended:
    given = case.case.given
    code = InteractionCode.CREATE if given.create is not None else InteractionCode.UPDATE
    name = given.create or given.update or ""
    resource, prior = case.resource(name), case.optional(given.prior)
    type_ = str(resource["resourceType"])
    if case.read.document.resources is None and type_ not in case.policy.patients:
        raise FixtureUnusable(f"{name}: no policy of the set lists {type_}, so that nothing of it is judged")
    id_ = _id_of_update(name, resource, given.id) if code is InteractionCode.UPDATE else None
    scopes = given.scopes if given.scopes is not None else list(case.policy.clients.scopes) or [ANY_SCOPE]
    client = ClientFacts(id=given.client, issuer=ISSUER, scopes=tuple(scopes))
    facts = Facts(
        request=RequestFacts(interaction=code, type=type_, id=id_, time=given.time),
        client=client,
        claims=given.claims,
        resource=resource,
        prior=prior,
        patients=_patients(case, (resource, prior)),
    )
    stored = case.optional(given.stored)
    selection = select(case.policies, code, type_, client, given.claims)
    return _decide(case, selection, facts, stored)


def _id_of_update(name: str, resource: JsonObject, expected: str | None) -> str:
    # http://hl7.org/fhir/R4/http.html#update: the id in the body is the one in the URL; anything else is no update.
    found = resource.get("id")
    if not isinstance(found, str) or expected not in (None, found):
        raise FixtureUnusable(f"{name}: the id of an update is the one in the payload")
    return found


def _decide(case: _Case, selection: Selection, facts: Facts, stored: JsonObject | None) -> _Ended:
    before = decide(selection, facts, Phase.BEFORE)
    failed = frozenset(_id(case, outcome) for outcome in before.refusals)
    allowed = not failed if case.policy.is_guard else before.verdict is Verdict.ALLOW
    warned = frozenset(_id(case, outcome) for outcome in before.warnings)
    if not allowed:
        return _Ended(
            verdict="deny", rules=failed or frozenset({NOT_PERMITTED}), warned=warned, outcomes=_not_held(before)
        )
    if stored is None:
        return _Ended(verdict="allow", rules=frozenset(), warned=warned, outcomes=_not_held(before))
    # What is stored may be about others than what was sent; the gateway gathers anew, and so does a test.
    patients = _patients(case, (facts.resource, stored))
    after = decide(selection, replace(facts, stored=stored, patients=patients), Phase.AFTER, applied=before.applied)
    undone = frozenset(_id(case, outcome) for outcome in after.refusals)
    warned |= frozenset(_id(case, outcome) for outcome in after.warnings)
    verdict = "allow" if after.verdict is Verdict.ALLOW else "undo"
    return _Ended(verdict=verdict, rules=undone, warned=warned, outcomes=_not_held(before) + _not_held(after))


def _patients(case: _Case, resources: tuple[JsonObject | None, ...]) -> PatientFacts:
    """As the gateway gathers them: each Patient once, and what does not lead to one."""
    links = [patient_links(each, (), release=case.policies.release) for each in resources if each is not None]
    by_id = {str(patient["id"]): patient for patient in case.patients()}
    ids = dict.fromkeys(id_ for each in links for id_ in each.ids)
    problems = [problem for each in links for problem in each.problems]
    problems += [
        LinkProblem(at="", form="not-found", text="The Patient that is named is not on the server.")
        for id_ in ids
        if id_ not in by_id
    ]
    return PatientFacts(
        applicable=any(each.applicable for each in links),
        resources=tuple(by_id[id_] for id_ in ids if id_ in by_id),
        problems=tuple(problems),
    )


def _not_held(decision: Decision) -> tuple[RuleOutcome, ...]:
    return tuple(outcome for outcome in decision.outcomes if outcome.result.value != "pass")


def _id(case: _Case, outcome: RuleOutcome) -> str:
    return outcome.rule if outcome.policy == case.policy.name else f"{outcome.policy}/{outcome.rule}"


def _compare(case: _Case, ended: _Ended) -> str | None:
    expect = case.case.expect
    if isinstance(expect, str):
        return None if ended.verdict == "allow" else f"expected allow, got {_said(ended.verdict, ended.rules)}"
    for verdict, listed in (("deny", expect.deny), ("undo", expect.undo)):
        if listed is not None:
            wanted = _own(case, listed)
            same = ended.verdict == verdict and _meant(ended.rules, wanted) == wanted
            return None if same else f"expected {_said(verdict, wanted)}, got {_said(ended.verdict, ended.rules)}"
    wanted = _own(case, expect.warn or [])
    if ended.verdict != "allow":
        return f"expected {_said('warn', wanted)}, got {_said(ended.verdict, ended.rules)}"
    return (
        None
        if _meant(ended.warned, wanted) == wanted
        else f"expected {_said('warn', wanted)}, got {_said('warn', ended.warned)}"
    )


def _own(case: _Case, listed: Iterable[str]) -> frozenset[str]:
    return frozenset(rule.removeprefix(f"{case.policy.name}/") for rule in listed)


def _meant(rules: frozenset[str], wanted: frozenset[str]) -> frozenset[str]:
    """The policy's own rules, and those of others that the test names."""
    return frozenset(rule for rule in rules if "/" not in rule or rule in wanted)


def _said(verdict: str, rules: frozenset[str]) -> str:
    return f"{verdict} by {', '.join(sorted(rules))}" if rules else verdict


def _detail(case: _Case, outcome: RuleOutcome) -> str:
    why = f" ({outcome.reason})" if outcome.reason else ""
    return f"{_id(case, outcome)}: {outcome.result.value}{why}: {outcome.denial.message}"
