"""The door: compile once, evaluate often; nothing but values comes out.

`compile` answers with a Program or with the problems of the text. `Program.evaluate` answers with an Outcome,
whatever the input: an error of the evaluation is a value too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gateway.fhirpath import model as models
from gateway.fhirpath.check import constructs
from gateway.fhirpath.evaluation import Evaluation, Scope
from gateway.fhirpath.functions import FUNCTIONS
from gateway.fhirpath.model import Model
from gateway.fhirpath.syntax import Expr, Problem, parse
from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.values import BudgetExceeded, Collection, EvaluationError

BUDGET: Final = 50_000  # units of work: a node evaluated or an item produced; some 50 ms at the worst


class Failure(StrEnum):
    """Why there is no value."""

    ERROR = "error"
    OUT_OF_BUDGET = "out_of_budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Either `values` (a collection, empty included) or a `failure`, with a reason that holds no payload value."""

    values: Collection = field(default_factory=list)
    failure: Failure | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A compiled expression: immutable, safe to share between threads."""

    source: str
    tree: Expr
    model: Model = field(repr=False)

    def evaluate(
        self,
        resource: object,
        variables: Mapping[str, object] | None = None,
        *,
        now: str | None = None,
        budget: int = BUDGET,
    ) -> Outcome:
        """Evaluate on a JSON resource (None: empty). `now` is the instant that `now()` and `today()` speak of.

        `variables` are JSON values by name, without the `%`. Neither they nor the resource are changed.
        """
        try:
            run = Evaluation(
                model=self.model,
                functions=FUNCTIONS,
                resource=resource,
                variables=variables or {},
                now=Temporal.parse(now) if now else None,
                budget=budget,
            )
            return Outcome(values=run.of(self.tree, run.root, Scope(run.root)))
        except BudgetExceeded:
            return Outcome(failure=Failure.OUT_OF_BUDGET, reason="the evaluation took more work than is allowed")
        except EvaluationError as error:
            return Outcome(failure=Failure.ERROR, reason=str(error))
        except RecursionError:
            return Outcome(failure=Failure.ERROR, reason="the input is nested too deeply")
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 (the one place where what a foreign library raises becomes a value)
            return Outcome(failure=Failure.ERROR, reason=f"the evaluation failed ({type(error).__name__})")


def compile(source: str, *, model: str = "R4") -> Program | tuple[Problem, ...]:  # noqa: A001 (the door's word)
    """Read a text, or say what is wrong with it: syntax, unknown functions and types, numbers of arguments."""
    if model not in models.RELEASES:
        return (Problem(message=f"there is no FHIRPath model for {model}"),)
    tree = parse(source)
    if isinstance(tree, Problem):
        return (tree,)
    tables = models.load(model)
    problems = constructs(tree, tables)
    return problems or Program(source=source, tree=tree, model=tables)
