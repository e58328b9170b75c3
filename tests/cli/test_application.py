"""The command line as a whole: what is listed, what is imported, and how it ends."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from gateway.cli.application import assemble


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(assemble(arguments), list(arguments))
    return result.exit_code, result.output


def test_help_lists_the_verbs_and_shows_examples() -> None:
    code, output = run("--help")
    assert code == 0
    for verb in ("serve", "check", "test", "init", "journal", "schema", "fhirpath", "demo"):
        assert f"\n  {verb} " in output
    assert "fhir-gateway serve --config gateway.yaml" in output
    assert "Exit codes: 0 ok" in output


@pytest.mark.parametrize("verb", ["serve", "check", "test", "init", "journal", "schema", "fhirpath", "demo"])
def test_every_listed_verb_has_help(verb: str) -> None:
    code, output = run(verb, "--help")
    assert code == 0
    assert f"{verb}" in output


def test_verbs_that_are_not_built_are_absent() -> None:
    code, _ = run("launch")
    assert code == 2
    listed = run("--help")[1]
    assert "launch" not in listed


def test_the_version_is_that_of_the_package() -> None:
    assert run("--version") == (0, f"fhir-gateway {version('fhir-policy-gateway')}\n")


def test_a_wrong_option_is_a_usage_error() -> None:
    assert run("serve", "--nonsense")[0] == 2


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from gateway.cli.application import assemble; assemble(['--help']); "
        "print([name for name in ('uvicorn', 'pydantic', 'cel_expr_python', 'fhirpathpy', 'gateway.app',"
        " 'gateway.config', 'prometheus_client') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
