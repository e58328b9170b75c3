"""`fhir-gateway test PATH…`: runs the tests inside policy files through the engine that judges real writes."""
# ruff: noqa: PT028 (`test` is the verb, and no test of ours)

from typing import Annotated

import typer

from gateway.cli.check import WRONG, OutputOption, Paths, ReleaseOption
from gateway.cli.output import Output, count, show_cases, show_problems
from gateway.policy.cases import run_cases
from gateway.policy.engines import standard_engines
from gateway.policy.loader import compile_paths, read_fixture

FAILED = 4

WithSetOption = Annotated[
    bool, typer.Option("--with-set", help="Judge each test by all the policies given, not by its own alone.")
]
EmptyOption = Annotated[
    bool, typer.Option("--fail-on-empty/--allow-empty", help="Whether to fail when there is no test at all.")
]


def test(
    paths: Paths,
    output: OutputOption = Output.TEXT,
    with_set: WithSetOption = False,
    fail_on_empty: EmptyOption = True,
    fhir_version: ReleaseOption = "R4",
) -> None:
    """Run the tests of policies."""
    compilation = compile_paths(paths, release=fhir_version, engines=standard_engines())
    if compilation.policy_set is None:
        errors = sum(problem.is_error for problem in compilation.problems)
        show_problems(compilation.problems, f"{count(errors, 'error')}: no test was run", output)
        raise typer.Exit(WRONG)
    results = run_cases(compilation.policy_set, compilation.documents, read_fixture, with_set=with_set)
    failed = sum(not result.passed for result in results)
    policies = count(len(compilation.documents), "policy")
    show_cases(results, f"{count(len(results), 'test')} of {policies}, {failed} failed", output)
    if failed or (fail_on_empty and not results):
        raise typer.Exit(FAILED)
