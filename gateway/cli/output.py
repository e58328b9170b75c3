"""How `check` and `test` show what they found: for people, programs, test reports and code review."""

import json
from collections.abc import Sequence
from enum import StrEnum
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import typer

from gateway.policy.cases import CaseResult
from gateway.policy.problems import Problem

# Line breaks and percent signs would end or forge a workflow command.
_IN_MESSAGE = {ord("%"): "%25", ord("\r"): "%0D", ord("\n"): "%0A"}
_IN_PROPERTY = {**_IN_MESSAGE, ord(":"): "%3A", ord(","): "%2C"}
# What XML 1.0 (https://www.w3.org/TR/xml/#charsets) has no place for.
_NOT_XML = {code: "\ufffd" for code in (*range(0x20), 0xFFFE, 0xFFFF) if code not in (0x09, 0x0A, 0x0D)}


Place = tuple[str, int, int]
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


class Output(StrEnum):
    """The formats of `-o`."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"
    SARIF = "sarif"
    GITHUB = "github"


def say(text: str, *, color: str | None = None) -> None:
    """One line to standard output; coloured only on a terminal."""
    typer.echo(typer.style(text, fg=color) if color else text)


def count(number: int, noun: str) -> str:
    """`1 policy`, `2 policies`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def show_problems(problems: Sequence[Problem], summary: str, output: Output) -> None:
    """The problems of a check, and the line that sums them up."""
    if output is Output.JSON:
        say(json.dumps({"problems": [_problem_json(problem) for problem in problems], "summary": summary}, indent=2))
    elif output is Output.JUNIT:
        say(_junit("fhir-gateway check", [_problem_junit(problem) for problem in problems]))
    elif output is Output.SARIF:
        say(_sarif([(problem.severity.value, _place(problem), problem.message) for problem in problems]))
    elif output is Output.GITHUB:
        for problem in problems:
            say(_github(problem.severity.value, _place(problem), problem.message))
    else:
        for problem in problems:
            say(problem.render(), color=typer.colors.RED if problem.is_error else typer.colors.YELLOW)
        say(summary, color=_color(problems))


def show_cases(results: Sequence[CaseResult], summary: str, output: Output) -> None:
    """The results of policy tests, and the line that sums them up."""
    if output is Output.JSON:
        say(json.dumps({"tests": [_case_json(result) for result in results], "summary": summary}, indent=2))
    elif output is Output.JUNIT:
        say(_junit("fhir-gateway test", [_case_junit(result) for result in results]))
    elif output is Output.SARIF:
        say(_sarif([("error", _place(result), f"{result.name}: {result.problem}") for result in _failed(results)]))
    elif output is Output.GITHUB:
        for result in _failed(results):
            say(_github("error", _place(result), f"{result.name}: {result.problem}"))
    else:
        _show_cases_as_text(results)
        failed = any(not result.passed for result in results)
        say(summary, color=typer.colors.RED if failed else typer.colors.GREEN)


def _show_cases_as_text(results: Sequence[CaseResult]) -> None:
    shown = ""
    for result in results:
        if result.policy != shown:
            say(result.policy)
            shown = result.policy
        if result.problem is None:
            say(f"  pass  {result.name}", color=typer.colors.GREEN)
            continue
        say(f"  FAIL  {result.name}", color=typer.colors.RED)
        say(f"        {result.file}:{result.line}:{result.column}: {result.problem}")
        for detail in result.details:
            say(f"        {detail}")


def _color(problems: Sequence[Problem]) -> str:
    if any(problem.is_error for problem in problems):
        return typer.colors.RED
    return typer.colors.YELLOW if problems else typer.colors.GREEN


def _problem_json(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "severity": problem.severity.value,
        "message": problem.message,
        "hint": problem.hint,
    }


def _case_json(result: CaseResult) -> dict[str, object]:
    return {
        "policy": result.policy,
        "name": result.name,
        "file": result.file,
        "line": result.line,
        "column": result.column,
        "passed": result.passed,
        "problem": result.problem,
        "details": list(result.details),
    }


def _place(found: Problem | CaseResult) -> Place:
    return found.file, found.line, found.column


def _failed(results: Sequence[CaseResult]) -> list[CaseResult]:
    return [result for result in results if not result.passed]


def _github(level: str, place: Place, message: str) -> str:
    """A workflow command, which code review shows at its line."""
    file, line, column = place
    return f"::{level} file={file.translate(_IN_PROPERTY)},line={line},col={column}::{message.translate(_IN_MESSAGE)}"


def _sarif(found: Sequence[tuple[str, Place, str]]) -> str:
    """(level, place, message) as SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/)."""
    results = [
        {
            "level": level,
            "message": {"text": message},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(file)},
                        "region": {"startLine": line, "startColumn": column},
                    }
                }
            ],
        }
        for level, (file, line, column), message in found
    ]
    run = {"tool": {"driver": {"name": "fhir-gateway"}}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _problem_junit(problem: Problem) -> tuple[str, str, str | None]:
    place = f"{problem.file}:{problem.line}:{problem.column}"
    return place, problem.message, str(problem) if problem.is_error else None


def _case_junit(result: CaseResult) -> tuple[str, str, str | None]:
    return result.policy, result.name, result.problem


def _junit(suite: str, cases: Sequence[tuple[str, str, str | None]]) -> str:
    """(class, name, failure or None) as JUnit XML."""
    failures = sum(failure is not None for _, _, failure in cases)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name={quoteattr(suite)} tests="{len(cases)}" failures="{failures}">',
    ]
    for group, name, failure in cases:
        opening = f"  <testcase classname={_attribute(group)} name={_attribute(name)}"
        inside = "/>" if failure is None else f"><failure message={_attribute(failure)}/></testcase>"
        lines.append(opening + inside)
    return "\n".join([*lines, "</testsuite>"])


def _attribute(text: str) -> str:
    return quoteattr(text.translate(_NOT_XML))
