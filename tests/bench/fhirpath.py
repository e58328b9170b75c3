"""What an expression costs, beside fhirpathpy in the same run: `python -m tests.bench.fhirpath`."""

import time
from collections.abc import Callable

import fhirpathpy
from fhirpathpy.models import models

from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from tests.bench.parts import result

NOW = "2026-01-15T10:00:00Z"
VARIABLES: dict[str, object] = {
    "let": {"performer": "Organization/1"},
    "patient": {"resourceType": "Patient", "id": "ada", "active": True, "birthDate": "1970-01-01"},
    "claims": {"org": "lab"},
}
# Those of policies/ and of the cookbook, and what a rule asks most often.
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


def best(work: Callable[[], object], times: int) -> float:
    """Microseconds of one call: the best of several rounds, because other work only ever adds."""
    rounds = []
    for _ in range(40):
        start = time.perf_counter()
        for _ in range(times):
            work()
        rounds.append(time.perf_counter() - start)
    return min(rounds) / times * 1e6


def measured(expression: str) -> tuple[float, float, float]:
    """Microseconds of an evaluation here and by fhirpathpy, and of a compilation here."""
    resource = result()
    program = engine.compile(expression, strict=True)
    assert isinstance(program, Program), program
    other = fhirpathpy.compile(expression, models["r4"])
    return (
        best(lambda: program.evaluate(resource, VARIABLES, now=NOW), 150),
        best(lambda: other(resource, VARIABLES), 20),
        best(lambda: engine.compile(expression, strict=True), 20),
    )


def main() -> None:
    """A line for each expression."""
    print("      us  fhirpathpy  compile")  # noqa: T201 (a report)
    for expression in EXPRESSIONS:
        own, other, compiling = measured(expression)
        print(f"{own:8.1f}  {other:10.1f}  {compiling:7.1f}  {expression}")  # noqa: T201


if __name__ == "__main__":
    main()
