"""`fhir-gateway check PATH…`: every problem of policies, or of a whole configuration, at once."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from gateway import config
from gateway.cli.output import Output, count, show_problems
from gateway.fhir.model import RELEASES
from gateway.policy.engines import standard_engines
from gateway.policy.loader import compile_paths
from gateway.policy.problems import Problem, in_order

WRONG = 3
_CONFIG_KEY = re.compile(rb"^(listen|upstream|public_url)\s*:", re.MULTILINE)
_POLICY_KEY = re.compile(rb"^policy\s*:", re.MULTILINE)


def _known_release(release: str) -> str:
    if release not in RELEASES:
        raise typer.BadParameter(f"one of: {', '.join(RELEASES)}")
    return release


Paths = Annotated[list[Path], typer.Argument(help="Policy files or folders, or a gateway.yaml.", show_default=False)]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="The format of the report.")]
ReleaseOption = Annotated[
    str,
    typer.Option("--fhir-version", callback=_known_release, help="The FHIR release of policies named by themselves."),
]


def check(paths: Paths, output: OutputOption = Output.TEXT, fhir_version: ReleaseOption = "R4") -> None:
    """Check policies, or a whole configuration with its policies."""
    configurations = [path for path in paths if is_configuration(path)]
    policies = [path for path in paths if path not in configurations]
    problems: list[Problem] = []
    checked = 0
    for path in configurations:
        found, those = _check_configuration(path)
        problems += found
        checked += those
    if policies:
        compilation = compile_paths(policies, release=fhir_version, engines=standard_engines())
        problems += compilation.problems
        checked += len(compilation.documents)
    ordered = in_order(problems)
    errors = sum(problem.is_error for problem in ordered)
    told = ", ".join((count(checked, "policy"), count(errors, "error"), count(len(ordered) - errors, "warning")))
    show_problems(ordered, told, output)
    if errors:
        raise typer.Exit(WRONG)


def is_configuration(path: Path) -> bool:
    """Whether a file is a gateway.yaml: it has keys of one, and says no policy."""
    if not path.is_file():
        return False
    content = path.read_bytes()
    return _CONFIG_KEY.search(content) is not None and _POLICY_KEY.search(content) is None


def _check_configuration(path: Path) -> tuple[tuple[Problem, ...], int]:
    """The problems of a configuration and of its policies, and the number of policies read."""
    try:
        loaded = config.load(path, os.environ)
    except config.ConfigErrors as errors:
        return tuple(
            Problem(file=each.variable or each.file, line=each.line, column=each.column, message=each.message)
            for each in errors.problems
        ), 0
    compilation = compile_paths(loaded.policies, release=loaded.upstream.fhir_version, engines=standard_engines())
    return compilation.problems, len(compilation.documents)
