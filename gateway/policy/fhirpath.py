"""FHIRPath as a language of rules: names, results and problems of `gateway.fhirpath` in the policy engine's words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from gateway.fhirpath.engine import Failure, Outcome, Program
from gateway.fhirpath.engine import compile as compile_program
from gateway.fhirpath.env import Given, constant
from gateway.fhirpath.items import as_json
from gateway.fhirpath.problem import Problem
from gateway.fhirpath.reads import Read, reads
from gateway.fhirpath.types_check import check
from gateway.policy.decision import Result
from gateway.policy.expression import HELD, NAMES, WHOLE, Compiled, Evaluated, ExpressionProblem, Language, Reads, Scope

_FAILED: Final = {Failure.ERROR: Result.ERROR, Failure.OUT_OF_BUDGET: Result.OUT_OF_BUDGET}


@dataclass(slots=True, kw_only=True)
class Bound:
    """The values of one decision, by their names; `given` is made of them by the first expression, for all."""

    values: Mapping[str, object]
    now: str | None
    resolvable: Mapping[str, object]
    given: Given | None = None

    def to(self, program: Program) -> Given:
        given = self.given
        if given is None or given.types is not program.types:
            resource = self.values.get("resource")
            given = self.given = program.given(resource, self.values, self.resolvable, self.now)
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFhirPath:
    """A compiled rule, `when` or let."""

    program: Program
    names: frozenset[str]
    lets: frozenset[str]
    warnings: tuple[ExpressionProblem, ...] = ()

    @property
    def source(self) -> str:
        return self.program.source

    @property
    def elements(self) -> frozenset[tuple[str, str]]:
        return frozenset((name, "") for name in self.names)

    def evaluate(self, bound: object) -> Evaluated:
        """Evaluate over what `FhirPathEngine.bind` made. Only exactly one boolean `true` passes."""
        if not isinstance(bound, Bound):
            return Evaluated(Result.ERROR, reason="the values were bound for another language")
        absent = self._absent(bound.values)
        if absent is not None:
            return Evaluated(Result.ERROR, reason=f"{absent} is not available here")
        return _evaluated(self.program.on(bound.to(self.program)))

    def _absent(self, values: Mapping[str, object]) -> str | None:
        """A name or a let that is read and was not bound: empty would be a value, and absence is none."""
        for name in self.names:
            if name not in values:
                return name
        declared = values.get("let") if self.lets else {}
        for name in self.lets:
            if not isinstance(declared, Mapping) or name not in declared:
                return f"let {name}"
        return None


@dataclass(frozen=True, slots=True)
class FhirPathEngine:
    """The FHIRPath engine behind `policy.expression.Engine`."""

    @property
    def language(self) -> Language:
        return Language.FHIRPATH

    @property
    def name(self) -> str:
        return "fhir-gateway"

    def compile(self, source: str, scope: Scope) -> Compiled | tuple[ExpressionProblem, ...]:
        """Compile, or list every problem of the text for the types in scope."""
        program = compile_program(source, model=scope.release, strict=True)
        if not isinstance(program, Program):
            return tuple(_problem(one) for one in program)
        found = reads(program.tree)
        problems = sorted((*_name_problems(found, scope), *_type_problems(program, scope)), key=lambda one: one.offset)
        if any(not one.is_warning for one in problems):
            return tuple(problems)
        return CompiledFhirPath(
            program=program,
            names=frozenset(read.name for read in found if read.name in NAMES),
            lets=frozenset(read.member.name for read in found if read.name == "let" and read.member is not None),
            warnings=tuple(problems),
        )

    def conjunction(self, parts: tuple[Compiled, ...]) -> Compiled | None:  # noqa: ARG002 (the interface's name)
        """None: one expression would be no faster than its parts."""
        return None

    def bind(self, values: Mapping[str, object], reads: Reads = WHOLE) -> object:  # noqa: ARG002 (nothing is converted)
        """The values by name; `request.time` is what `now()` and `today()` say."""
        request = values.get("request")
        time = request.get("time") if isinstance(request, Mapping) else None
        now = time if isinstance(time, str) else None
        return Bound(values=values, now=now, resolvable=_resolvable(values.get("patient")))


def _resolvable(patient: object) -> Mapping[str, object]:
    """The Patient who is judged at the moment, by the reference that names it: `subject.resolve()`."""
    name = patient.get("id") if isinstance(patient, Mapping) else None
    return {f"Patient/{name}": patient} if isinstance(name, str) else {}


def _evaluated(outcome: Outcome) -> Evaluated:
    if outcome.failure is not None:
        return Evaluated(_FAILED[outcome.failure], reason=outcome.reason)
    values = outcome.values
    if len(values) == 1 and values[0] is True:
        return HELD
    items = [as_json(item) for item in values]
    if len(items) != 1:
        return Evaluated(Result.NON_BOOLEAN, items, "empty" if not items else f"{len(items)} values")
    if items[0] is True:
        return HELD
    if items[0] is False:
        return Evaluated(Result.FAIL, value=False)
    return Evaluated(Result.NON_BOOLEAN, items[0], "not a boolean")


def _name_problems(found: tuple[Read, ...], scope: Scope) -> Iterator[ExpressionProblem]:
    for read in found:
        problem = _name_problem(read, scope)
        if problem is not None:
            yield problem


def _name_problem(read: Read, scope: Scope) -> ExpressionProblem | None:
    hint = None
    if constant(read.name) is not None:
        return None
    if read.name not in NAMES:
        close = get_close_matches(read.name, NAMES, 1)
        message, hint = f"there is no name `%{read.name}`", f"did you mean `%{close[0]}`?" if close else None
    elif read.name not in scope.available:
        message = f"`{read.name}` cannot be used here"
        hint = "`stored` is known in `phase: after` only" if read.name == "stored" else None
    elif read.name in ("params", "let"):
        return _declared_problem(read, tuple(scope.params) if read.name == "params" else scope.lets)
    else:
        return None
    return ExpressionProblem(message=message, offset=read.at.offset, length=read.at.length, hint=hint)


def _declared_problem(read: Read, declared: tuple[str, ...]) -> ExpressionProblem | None:
    if read.member is None:
        message = f"`%{read.name}` is read by name: `%{read.name}.x`"
        return ExpressionProblem(message=message, offset=read.at.offset, length=read.at.length)
    if read.member.name in declared:
        return None
    close = get_close_matches(read.member.name, declared, 1)
    return ExpressionProblem(
        message=f"`{read.member.name}` is not declared under `{read.name}`",
        offset=read.member.offset,
        length=read.member.length,
        hint=f"did you mean `{close[0]}`?" if close else None,
    )


def _type_problems(program: Program, scope: Scope) -> Iterator[ExpressionProblem]:
    """The problems of the text for each resource type; one that some types only have names them."""
    found: dict[tuple[int, int], dict[str, Problem]] = {}
    for type_name in scope.resource_types:
        roots = {"resource": type_name, "prior": type_name, "stored": type_name, "patient": "Patient"}
        found_here = check(
            program.tree,
            program.model,
            roots,
            types=scope.resource_types,
            wants_boolean=scope.wants_boolean,
        )
        for one in found_here:
            found.setdefault((one.offset, one.length), {}).setdefault(type_name, one)
    for by_type in found.values():
        first = next(iter(by_type.values()))
        is_partial = len(by_type) < len(scope.resource_types)
        shown = f" (when the resource is a {' or '.join(by_type)})" if is_partial else ""
        yield _problem(replace(first, message=first.message + shown))


def _problem(problem: Problem) -> ExpressionProblem:
    return ExpressionProblem(
        message=problem.message,
        offset=problem.offset,
        length=problem.length,
        hint=problem.hint,
        is_warning=problem.is_warning,
    )
