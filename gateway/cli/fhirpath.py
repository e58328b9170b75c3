"""`fhir-gateway fhirpath EXPRESSION [RESOURCE.json]`: what an expression gives, as a policy would see it."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gateway.fhir.json import JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from gateway.fhirpath.syntax import Problem
from gateway.fhirpath.typecheck import check
from gateway.fhirpath.values import as_json

USAGE = 2
WRONG = 3

ExpressionArgument = Annotated[str, typer.Argument(help="A FHIRPath expression.", show_default=False)]
ResourceArgument = Annotated[
    Path | None, typer.Argument(help="A resource as JSON; - is standard input. Left out: nothing.", show_default=False)
]
ReleaseOption = Annotated[str, typer.Option("--fhir-version", help="The FHIR release of the resource.")]


def fhirpath(
    expression: ExpressionArgument, resource: ResourceArgument = None, fhir_version: ReleaseOption = "R4"
) -> None:
    """Evaluate a FHIRPath expression and print the values as a JSON array."""
    root = None if resource is None else _read(resource)
    program = engine.compile(expression, model=fhir_version)
    if not isinstance(program, Program):
        _refuse(expression, program)
    named = root.get("resourceType") if root is not None else None
    if isinstance(named, str):
        problems = check(program.tree, program.model, {"resource": named}, release=fhir_version)
        if problems:
            _refuse(expression, problems)
    outcome = program.evaluate(root, now=datetime.now(UTC).isoformat(timespec="milliseconds"))
    if outcome.failure is not None:
        typer.echo(f"{outcome.failure}: {outcome.reason}", err=True)
        raise typer.Exit(WRONG)
    typer.echo(json.dumps([as_json(item) for item in outcome.values], indent=2, ensure_ascii=False))


def _read(path: Path) -> JsonObject:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        value: object = json.loads(text)
    except (OSError, ValueError) as error:
        typer.echo(f"{path}: cannot be read as JSON ({type(error).__name__})", err=True)
        raise typer.Exit(USAGE) from error
    if not isinstance(value, dict):
        typer.echo(f"{path}: is no JSON object", err=True)
        raise typer.Exit(USAGE)
    return value


def _refuse(expression: str, problems: tuple[Problem, ...]) -> NoReturn:
    for problem in problems:
        line = expression.count("\n", 0, problem.offset)
        start = expression.rfind("\n", 0, problem.offset) + 1
        text = expression[start:].partition("\n")[0]
        typer.echo(f"{line + 1}:{problem.offset - start + 1}: {problem.message}", err=True)
        typer.echo(f"  {text}\n  {' ' * (problem.offset - start)}{'^' * min(problem.length, len(text) or 1)}", err=True)
        if problem.hint is not None:
            typer.echo(f"  {problem.hint}", err=True)
    raise typer.Exit(WRONG)
