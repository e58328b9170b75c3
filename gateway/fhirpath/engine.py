"""The door: compile once, evaluate often; nothing but values comes out.

`compile` answers with a Program or with the problems of the text. `Program.evaluate` answers with an Outcome,
whatever the input: an error of the evaluation is a value too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

from gateway.fhirpath import model as models
from gateway.fhirpath.compiler import Compiler, defines
from gateway.fhirpath.constructs import constructs
from gateway.fhirpath.env import Env, Expr, Given, begun
from gateway.fhirpath.items import (
    BudgetExceeded,
    Collection,
    EvaluationError,
    Types,
    element_at,
    lift,
)
from gateway.fhirpath.library import LIBRARY
from gateway.fhirpath.model import Model
from gateway.fhirpath.parser import Syntax, parse
from gateway.fhirpath.problem import Problem
from gateway.fhirpath.tree import Node

# Units of work: a step evaluated, an item produced, and what a function takes beside them. A unit is 0.2 to 1 us
# (tests/fhirpath/test_work.py), so that this is some 50 ms at the worst.
BUDGET: Final = 50_000
_NOTHING: Final[Mapping[str, object]] = {}
_make: Final = tuple.__new__  # of named tuples: their own `__new__` takes twice as long, and stands in every evaluation


class Failure(StrEnum):
    """Why there is no value."""

    ERROR = "error"
    OUT_OF_BUDGET = "out_of_budget"


class Outcome(NamedTuple):
    """Either `values` (a collection, empty included) or a `failure`, with a reason that holds no payload value.

    `place`: offset and length of the sub-expression that failed, where `explain` found it.
    """

    values: Collection
    failure: Failure | None = None
    reason: str | None = None
    place: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one sub-expression gave, each time that it was evaluated."""

    offset: int
    length: int
    values: Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A compiled expression: immutable, safe to share between threads."""

    source: str
    tree: Node
    model: Model = field(repr=False)
    release: str
    strict: bool
    types: Types = field(repr=False)
    run: Expr = field(repr=False)

    def evaluate(
        self,
        resource: object,
        variables: Mapping[str, object] | None = None,
        *,
        now: str | None = None,
        budget: int = BUDGET,
        context: tuple[object, str] | None = None,
        resolvable: Mapping[str, object] | None = None,
    ) -> Outcome:
        """Evaluate on a JSON resource (None: empty). `now` is the instant that `now()` and `today()` speak of.

        `variables` are JSON values by name, without the `%`. `context` is a part of the resource to start from, and
        its type. `resolvable` are resources by the references that mean them. None of them is changed.
        """
        types = self.types
        root = lift(resource, types)
        start: Collection = root if context is None else [element_at(context[0], types.of(context[1]))]
        env = begun(root, start, variables or _NOTHING, resolvable or _NOTHING, now, types, self.strict, budget)
        return _run(self.run, env)

    def given(
        self,
        resource: object,
        variables: Mapping[str, object],
        resolvable: Mapping[str, object],
        now: str | None,
    ) -> Given:
        """What `evaluate` is given, for several programs of one release and strictness: see `on`."""
        root = lift(resource, self.types)
        return Given(root, root, variables, resolvable, now, self.types, self.strict)

    def on(self, given: Given, budget: int = BUDGET) -> Outcome:
        """As `evaluate`."""
        return _run(self.run, begun(*given, budget))

    def explain(
        self,
        resource: object,
        variables: Mapping[str, object] | None = None,
        *,
        now: str | None = None,
        budget: int = BUDGET,
    ) -> tuple[Outcome, tuple[Step, ...]]:
        """As `evaluate`, with the value of every sub-expression in the order of evaluation; for tools, and slow."""
        root = lift(resource, self.types)
        env = begun(root, root, variables or _NOTHING, _NOTHING, now, self.types, self.strict, budget)
        record: list[tuple[int, int, Collection]] = []
        env.record = record
        outcome = _run(_compiled(self.tree, self.types, strict=self.strict, explain=True), env)
        if outcome.failure is not None:
            outcome = outcome._replace(place=env.failed)
        return outcome, tuple(Step(offset=at, length=length, values=values) for at, length, values in record)


# JSON that is no FHIR can put anything anywhere; what a function then stumbles on is no value either.
FAILURES: Final = (
    *(EvaluationError, BudgetExceeded, RecursionError),
    *(ArithmeticError, ValueError, TypeError, LookupError, AttributeError),
)


def _run(expr: Expr, env: Env) -> Outcome:
    try:
        return _make(Outcome, (expr(env)[:], None, None, None))
    except FAILURES as error:
        return failed(error)


def failed(error: Exception) -> Outcome:
    """What one of FAILURES says."""
    if isinstance(error, BudgetExceeded):
        return Outcome([], Failure.OUT_OF_BUDGET, "the evaluation took more work than is allowed")
    if isinstance(error, EvaluationError):
        return Outcome([], Failure.ERROR, str(error))
    if isinstance(error, RecursionError):
        return Outcome([], Failure.ERROR, "the input is nested too deeply")
    return Outcome([], Failure.ERROR, f"the evaluation failed ({type(error).__name__})")


def compile(  # noqa: A001 (the door's word)
    source: str, *, model: str = "R4", strict: bool = False
) -> Program | tuple[Problem, ...]:
    """Read a text, or say what is wrong with it: syntax, unknown functions and types, numbers of arguments.

    `strict`: a value that is no boolean is never taken for one, and a reference that leads nowhere is an error.
    """
    if model not in models.RELEASES:
        return (Problem(message=f"there is no FHIRPath model for {model}"),)
    try:
        tree = parse(source, strict=strict)
    except Syntax as error:
        problem = Problem(
            message=error.message, offset=error.offset, length=error.length, hint=error.hint, kind=error.kind
        )
        return (problem,)
    except RecursionError:
        return (Problem(message="the expression is nested too deeply", length=len(source), kind="syntax"),)
    types = _types(model)
    problems = constructs(tree, types.model, strict=strict)
    if problems:
        return problems
    run = _compiled(tree, types, strict=strict, explain=False)
    return Program(source=source, tree=tree, model=types.model, release=model, strict=strict, types=types, run=run)


def _compiled(tree: Node, types: Types, *, strict: bool, explain: bool) -> Expr:
    compiler = Compiler(types=types, library=LIBRARY, strict=strict, explain=explain, scoped=defines(tree))
    return compiler.compile(tree)


@cache
def _types(release: str) -> Types:
    return Types(models.load(release))
