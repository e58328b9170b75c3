"""What an expression costs, beside fhirpathpy in the same run: `python -m tests.bench.fhirpath`.

Times are CPU of this process. Each round measures both engines in turn, so that a busy machine slows both.
"""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import fhirpathpy
from fhirpathpy.models import models

from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from gateway.policy.decision import Result
from gateway.policy.expression import Compiled, Scope
from gateway.policy.fhirpath import FhirPathEngine
from tests.bench import constraints
from tests.bench.parts import result
from tests.fhirpath.fetch_definitions import rules

NOW = "2026-01-15T10:00:00Z"
VARIABLES: dict[str, object] = {
    "let": {"performer": "Organization/1"},
    "patient": {"resourceType": "Patient", "id": "ada", "active": True, "birthDate": "1970-01-01"},
    "claims": {"org": "lab"},
}
MOST, FASTER, COMPILE = 8.0, 12.0, 1000.0  # the aims: us of an evaluation, times fhirpathpy, us of a compilation
# Those of policies/ (lab-results.yaml; policies/README.md has no other), and then what a rule asks most often.
EXPRESSIONS = [
    "category.coding.where(code = 'laboratory').exists()",
    "performer.first().reference",
    "status in ('final' | 'amended' | 'corrected')",
    "%let.performer.startsWith('Organization/')",
    "subject.reference = 'Patient/' & %patient.id",
    "%patient.active and %claims.org = 'lab'",
    "meta.security.where(code = 'R').empty()",
    "code.coding.exists(system = 'http://loinc.org' and code = '4548-4')",
    "value.ofType(Quantity).value > 6",
    "effective <= now()",
    "%patient.birthDate <= today() - 18 years",
]
# Ten rules of one decision.
RULES = [text for text in EXPRESSIONS if "%let" not in text and "first()" not in text]
RULES += ["code.coding.exists()"]


class Cost(NamedTuple):
    """Microseconds of an evaluation here and by fhirpathpy, and of a compilation here."""

    own: float
    other: float
    compiling: float

    @property
    def ratio(self) -> float:
        return self.other / self.own


def best(work: Callable[[], object], times: int) -> float:
    """Microseconds of one call, over so many of them."""
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times * 1e6


def measured(expression: str) -> Cost:
    """The best of several rounds, because other work only ever adds."""
    resource = result()
    program = engine.compile(expression, strict=True)
    assert isinstance(program, Program), program
    other = fhirpathpy.compile(expression, models["r4"])
    rounds = [
        Cost(
            best(lambda: program.evaluate(resource, VARIABLES, now=NOW), 300),
            best(lambda: other(resource, VARIABLES), 30),
            best(lambda: engine.compile(expression, strict=True), 10),
        )
        for _ in range(25)
    ]
    return Cost(*(min(column) for column in zip(*rounds, strict=True)))


def decision() -> float:
    """Microseconds of ten rules of a decision, the values bound once, as the policy engine does."""
    scope = Scope(resource_types=("Observation",), available=frozenset(("resource", "patient", "claims", "request")))
    language = FhirPathEngine()
    compiled = [language.compile(text, scope) for text in RULES]
    judged = [one for one in compiled if not isinstance(one, tuple)]
    assert len(judged) == len(compiled) == 10, compiled
    values = {**VARIABLES, "resource": result(), "request": {"time": NOW}}

    def judge() -> list[Result]:
        bound = language.bind(values)
        return [_evaluate(one, bound) for one in judged]

    return min(best(judge, 50) for _ in range(30))


def _evaluate(rule: Compiled, bound: object) -> Result:
    return rule.evaluate(bound).result


def compilations() -> list[float]:
    """Microseconds of each text of HL7's R4 constraints."""
    texts = sorted({rule.expression for rule in rules("R4") if rule.is_base})
    return [min(best(lambda text=text: engine.compile(text), 1) for _ in range(5)) for text in texts]  # type: ignore[misc]


def _verdict(*, reached: bool) -> str:
    return "reached" if reached else "MISSED"


def main() -> None:
    """A line for each expression, and then what the aims say."""
    print("      us  fhirpathpy      x  compile")  # noqa: T201 (a report)
    costs = {expression: measured(expression) for expression in EXPRESSIONS}
    for expression, cost in costs.items():
        aims = f"{_verdict(reached=cost.own <= MOST)} {_verdict(reached=cost.ratio >= FASTER)}"
        print(  # noqa: T201
            f"{cost.own:8.1f}  {cost.other:10.1f}  {cost.ratio:5.1f}  {cost.compiling:7.1f}  {aims}  {expression}"
        )
    own = statistics.median(cost.own for cost in costs.values())
    ratio = statistics.median(cost.ratio for cost in costs.values())
    print(f"median {own:.1f} us (aim {MOST:.0f}: {_verdict(reached=own <= MOST)})")  # noqa: T201
    print(f"median {ratio:.1f} x (aim {FASTER:.0f}: {_verdict(reached=ratio >= FASTER)})")  # noqa: T201
    print(f"ten rules of a decision: {decision():.0f} us")  # noqa: T201
    times = [*compilations(), *(cost.compiling for cost in costs.values())]
    print(  # noqa: T201
        f"compile {len(times)} expressions, with HL7's R4 constraints: median {statistics.median(times):.0f} us, "
        f"most {max(times):.0f} us (aim {COMPILE:.0f}: {_verdict(reached=max(times) <= COMPILE)})"
    )
    constraints.main()


if __name__ == "__main__":
    main()
