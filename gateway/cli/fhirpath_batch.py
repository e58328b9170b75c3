"""`fhir-gateway fhirpath --batch`: a line of JSON in, a line of JSON out, thousands of them a second.

In: `{"id", "expression", "resource": {…} or a path, "version": "R4", "context": "Patient", "variables": {…}}`.
Out: `{"id", "result": [{"type", "value"}, …]}` or
`{"id", "error": {"kind": "syntax|semantic|execution|budget", "line", "column", "message"}}`.
Semantics are those of the specification, not the stricter ones of a policy.
"""

import json
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Final, TextIO

from gateway.cli.fhirpath_json import positions, typed, write
from gateway.fhir.json import JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.engine import Failure, Program
from gateway.fhirpath.env import constant
from gateway.fhirpath.problem import Problem
from gateway.fhirpath.reads import reads
from gateway.fhirpath.types_check import check

_KINDS: Final = {Failure.ERROR: "execution", Failure.OUT_OF_BUDGET: "budget"}


class _Unusable(Exception):
    """A line that asks for nothing that could be evaluated."""


def run_batch(given: TextIO, answers: TextIO, now: str) -> None:
    """Answer every line that is not blank. `now` is what `now()` says, unless a line has a `now` of its own."""
    for line in given:
        if line.strip():
            answers.write(answer(line, now) + "\n")
            answers.flush()


def answer(line: str, now: str) -> str:
    """One line for one line."""
    case: object = None
    try:
        case = json.loads(line, parse_float=Decimal)
        return write(_answered(case, now))
    except (_Unusable, ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, _Unusable) else "the line cannot be read as JSON"
        name = case.get("id") if isinstance(case, dict) else None
        return write({"id": name, "error": _error("execution", "", 0, said)})


def _answered(case: object, now: str) -> dict[str, object]:
    if not isinstance(case, dict):
        raise _Unusable("the line is no JSON object")
    return {"id": case.get("id"), **_evaluated(case, now)}


def _evaluated(case: JsonObject, now: str) -> dict[str, object]:
    expression, version = case.get("expression"), case.get("version") or "R4"
    if not isinstance(expression, str) or not isinstance(version, str):
        raise _Unusable("`expression` and `version` have to be strings")
    resource, variables = _resource(case.get("resource")), case.get("variables") or {}
    if not isinstance(variables, dict):
        raise _Unusable("`variables` has to be an object")
    context = case.get("context")
    said = resource.get("resourceType") if isinstance(resource, dict) else None
    root = said if isinstance(said, str) else context if isinstance(context, str) else ""
    program = _program(expression, version, root)
    if isinstance(program, Problem):
        return {"error": _error(program.kind, expression, program.offset, program.message)}
    instant = case.get("now")
    start = (resource, root) if root and said is None and resource is not None else None
    outcome = program.evaluate(resource, variables, now=instant if isinstance(instant, str) else now, context=start)
    if outcome.failure is None:
        return {"result": [typed(item) for item in outcome.values]}
    # Only now, because it is slow: whether it had to fail, and else which part of it did.
    foreseen = _foreseen(program, root, variables) if outcome.failure is Failure.ERROR else None
    if foreseen is not None:
        return {"error": _error("semantic", expression, foreseen.offset, foreseen.message)}
    where = program.explain(resource, variables, now=now)[0].place or (0, 0)
    return {"error": _error(_KINDS[outcome.failure], expression, where[0], outcome.reason or "")}


def _foreseen(program: Program, root: str, variables: JsonObject) -> Problem | None:
    """What could have been said of the text alone."""
    for read in reads(program.tree):
        if read.name not in ("resource", "request", *variables) and constant(read.name) is None:
            return Problem(message=f"there is no name `%{read.name}`", offset=read.at.offset)
    roots = {"resource": root} if root in program.model.types else {}
    found = check(program.tree, program.model, roots)
    return next((one for one in found if not one.is_warning and one.kind == "semantic"), None)


@lru_cache(maxsize=4096)
def _program(expression: str, version: str, root: str) -> Program | Problem:
    program = engine.compile(expression, model=version)
    if not isinstance(program, Program):
        return program[0]
    if root not in program.model.types:
        return program
    found = [one for one in check(program.tree, program.model, {"resource": root}) if one.is_absent]
    return found[0] if found else program


def _resource(given: object) -> object:
    if not isinstance(given, str):
        return given
    try:
        return _file(given)
    except (OSError, ValueError) as error:
        raise _Unusable(f"the resource cannot be read ({type(error).__name__})") from error


@lru_cache(maxsize=64)
def _file(path: str) -> object:
    found: object = json.loads(Path(path).read_text(encoding="utf-8"), parse_float=Decimal)
    return found


def _error(kind: str, expression: str, offset: int, message: str) -> dict[str, object]:
    line, column = positions(expression, offset)
    return {"kind": kind, "line": line, "column": column, "message": message}
