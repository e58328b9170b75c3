"""`fhir-gateway fhirpath EXPRESSION [RESOURCE.json]`: what an expression gives, as a policy would see it."""

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gateway.cli.fhirpath_batch import run_batch
from gateway.cli.fhirpath_json import positions, typed, write
from gateway.fhir.json import JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.engine import Outcome, Program, Step
from gateway.fhirpath.items import as_json
from gateway.fhirpath.problem import Problem
from gateway.fhirpath.types_check import check, static_type

USAGE = 2
WRONG = 3

ExpressionArgument = Annotated[str | None, typer.Argument(help="A FHIRPath expression.", show_default=False)]
ResourceArgument = Annotated[
    Path | None, typer.Argument(help="A resource as JSON; - is standard input. Left out: nothing.", show_default=False)
]
ReleaseOption = Annotated[str, typer.Option("--fhir-version", help="The FHIR release of the resource.")]
TypeOption = Annotated[bool, typer.Option("--type", help="Print the static type instead of evaluating.")]
ContextOption = Annotated[
    str | None, typer.Option("--context", help="The type of the resource, for --type without one.")
]
ExplainOption = Annotated[bool, typer.Option("--explain", help="Print the value of every sub-expression.")]
BatchOption = Annotated[
    bool, typer.Option("--batch", help="Read lines of JSON from standard input, and answer each with a line.")
]


def fhirpath(  # noqa: PLR0917 (typer reads the options from the signature)
    expression: ExpressionArgument = None,
    resource: ResourceArgument = None,
    fhir_version: ReleaseOption = "R4",
    show_type: TypeOption = False,
    context: ContextOption = None,
    explain: ExplainOption = False,
    batch: BatchOption = False,
) -> None:
    """Evaluate a FHIRPath expression and print the values as a JSON array."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    if batch:
        run_batch(sys.stdin, sys.stdout, now)
        return
    if expression is None:
        typer.echo("an expression is needed", err=True)
        raise typer.Exit(USAGE)
    root = None if resource is None else _read(resource)
    program = engine.compile(expression, model=fhir_version, strict=True)
    if not isinstance(program, Program):
        _refuse(expression, program)
    named = context if root is None else root.get("resourceType")
    roots = {"resource": named} if isinstance(named, str) else {}
    problems = [one for one in check(program.tree, program.model, roots) if not one.is_warning] if roots else []
    if problems:
        _refuse(expression, tuple(problems))
    if show_type:
        typer.echo(str(static_type(program.tree, program.model, roots)))
        return
    if explain:
        outcome, steps = program.explain(root, now=now)
        _show_steps(expression, steps)
    else:
        outcome = program.evaluate(root, now=now)
    _show(outcome)


def _show(outcome: Outcome) -> None:
    if outcome.failure is not None:
        typer.echo(f"{outcome.failure}: {outcome.reason}", err=True)
        raise typer.Exit(WRONG)
    typer.echo(json.dumps([as_json(item) for item in outcome.values], indent=2, ensure_ascii=False, default=float))


def _show_steps(expression: str, steps: tuple[Step, ...]) -> None:
    """A line for each evaluation of a sub-expression: where it stands, its text, its values."""
    for step in steps:
        line, column = positions(expression, step.offset)
        text = " ".join(expression[step.offset : step.offset + step.length].split())
        values = write([typed(item) for item in step.values])
        typer.echo(f"{line}:{column}\t{text}\t{values}", err=True)


def _read(path: Path) -> JsonObject:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        value: object = json.loads(text, parse_float=Decimal)
    except (OSError, ValueError) as error:
        typer.echo(f"{path}: cannot be read as JSON ({type(error).__name__})", err=True)
        raise typer.Exit(USAGE) from error
    if not isinstance(value, dict):
        typer.echo(f"{path}: is no JSON object", err=True)
        raise typer.Exit(USAGE)
    return value


def _refuse(expression: str, problems: tuple[Problem, ...]) -> NoReturn:
    for problem in problems:
        line, column = positions(expression, problem.offset)
        start = problem.offset - column + 1
        text = expression[start:].partition("\n")[0]
        typer.echo(f"{line}:{column}: {problem.message}", err=True)
        typer.echo(f"  {text}\n  {' ' * (column - 1)}{'^' * min(problem.length, len(text) or 1)}", err=True)
        if problem.hint is not None:
            typer.echo(f"  {problem.hint}", err=True)
    raise typer.Exit(WRONG)
