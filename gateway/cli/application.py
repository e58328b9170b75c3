"""Puts the command line together from the verbs that are there."""

import gc
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

PROGRAM = "fhir-gateway"

# What the list of commands says; a verb's own help comes from its module, which is imported only when it is called.
_VERBS = {
    "serve": "Run the gateway.",
    "check": "Check policies or a whole configuration; every problem as file:line:column.",
    "test": "Run the tests inside policy files.",
    "demo": "Watch the whole product work, on this machine alone.",
    "init": "Write a working folder: configuration, a policy, fixtures.",
    "explain": "Judge one request offline, rule by rule.",
    "replay": "Judge recorded decisions again, under other policies.",
    "doctor": "Ask a FHIR server what it can do, and which undo is safe on it.",
    "journal": "List, show, retry or resolve open and stuck writes.",
    "fhirpath": "Evaluate a FHIRPath expression on a resource.",
    "schema": "Print the JSON Schema of policy files, for editors.",
}

_EXAMPLES = f"""Examples:

  {PROGRAM} init my-gateway            a folder to start from

  {PROGRAM} check policies/            is every policy right?

  {PROGRAM} test policies/             do they decide as their authors expect?

  {PROGRAM} serve --config gateway.yaml

  {PROGRAM} demo                       see it work first

Exit codes: 0 ok, 1 internal error, 2 usage, 3 policies or configuration wrong, 4 policy tests failed,
5 coverage too low."""


def main() -> None:
    """The entry point of the `fhir-gateway` command."""
    arguments = sys.argv[1:]
    # What is imported stays until the end: to look for garbage in it, again and again as it grows, finds nothing.
    gc.disable()
    if _called(arguments) == "serve":
        _without_rich()
    command = assemble(arguments)
    gc.freeze()
    gc.enable()
    command()


def _without_rich() -> None:
    """Hides rich from a server: structlog and httpx import it, where it is installed, for terminals that it has not.

    (None says that there is no such module: https://docs.python.org/3.11/reference/import.html#the-module-cache.)
    """
    for name in ("rich", "pygments"):
        sys.modules[name] = None  # type: ignore[assignment]


def assemble(arguments: Sequence[str]) -> typer.Typer:
    """The application for one command line: the verb that it names is real, the others are only listed."""
    app = typer.Typer(
        name=PROGRAM,
        no_args_is_help=True,
        rich_markup_mode=None,
        # A traceback with local variables would print payloads and tokens.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=_EXAMPLES,
    )
    app.callback()(_program)
    called = _called(arguments)
    for verb, summary in _VERBS.items():
        if importlib.util.find_spec(f"gateway.cli.{verb}") is None:
            continue
        if verb == called:
            _add(app, verb, summary)
        else:
            app.command(verb, help=summary)(_listed)
    return app


def _called(arguments: Sequence[str]) -> str | None:
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def _add(app: typer.Typer, verb: str, summary: str) -> None:
    found: typer.Typer | Callable[..., None] = getattr(importlib.import_module(f"gateway.cli.{verb}"), verb)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=verb, help=summary)
    else:
        app.command(verb, short_help=summary)(found)


def _listed() -> None:
    """Stands for a verb in the list of commands."""


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version  # noqa: PLC0415 (a third of what `--help` took)

        typer.echo(f"{PROGRAM} {version('fhir-policy-gateway')}")
        raise typer.Exit


def _program(
    *,
    version_: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A reverse proxy that lets others push health records to a FHIR server under written policies."""
