"""`fhir-gateway doctor`: ask a FHIR server what it can do, in a scratch corner, and which settings follow."""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from gateway import settings
from gateway.config import Config, ConfigErrors, load
from gateway.upstream import capability_file
from gateway.upstream.corner import SYSTEM, TYPE
from gateway.upstream.examination import NoServer, examine
from gateway.upstream.findings import Findings
from gateway.upstream.interpretation import Grade, capability_of, lines_of, settings_of
from gateway.upstream.pool import UpstreamConnections

_INTERNAL, _USAGE, _WRONG = 1, 2, 3
_COLOURS = {Grade.GOOD: "green", Grade.LIMITED: "yellow", Grade.BAD: "red", Grade.UNKNOWN: "dim"}
_CONFIG = Path("gateway.yaml")


class Format(StrEnum):
    """The formats of `-o`."""

    TEXT = "text"
    JSON = "json"


def doctor(
    config: Annotated[Path, typer.Option("--config", "-c", help="The configuration that names the server.")] = _CONFIG,
    output: Annotated[Format, typer.Option("--output", "-o", help="The format of the report.")] = Format.TEXT,
    read_only: Annotated[bool, typer.Option("--read-only", help="Only the probes that write nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write the test resources without asking.")] = False,
    write: Annotated[
        Path | None, typer.Option("--write", help="Keep what was found, for upstream.capability_file.")
    ] = None,
) -> None:
    """Ask a FHIR server what it can do, and which undo is safe on it."""
    if write is not None and read_only:
        _give_up("--write needs the probes that write: leave out --read-only.", _USAGE)
    try:
        loaded = load(config, os.environ)
    except ConfigErrors as errors:
        _give_up("\n".join(str(problem) for problem in errors.problems), _WRONG)
    if not read_only and not yes:
        _ask(loaded)
    try:
        found = asyncio.run(_examined(loaded, writing=not read_only))
    except NoServer:
        _give_up("The FHIR server cannot be asked: it does not answer.", _INTERNAL)
    if write is not None:
        _keep(write, found)
    _show(found, output)
    if found.failed or found.left:
        raise typer.Exit(_INTERNAL)


def _ask(config: Config) -> None:
    """What will be written, and whether it may be. Without a terminal there is nobody to ask."""
    typer.echo(
        f"This writes some 30 {TYPE} resources to {config.upstream.url}, each with an identifier of {SYSTEM},\n"
        f"and deletes them again. Their history stays where the server keeps one.",
        err=True,
    )
    if not sys.stdin.isatty():
        _give_up("Say --yes to go on, or --read-only for the probes that write nothing.", _USAGE)
    typer.confirm("Go on?", abort=True, err=True)


async def _examined(config: Config, *, writing: bool) -> Findings:
    client = UpstreamConnections(settings.upstream_of(config))
    await client.start()
    try:
        base = config.upstream.url.rstrip("/")
        return await examine(client, settings.limits_of(config), base=base, writing=writing)
    finally:
        await client.close()


def _keep(path: Path, found: Findings) -> None:
    try:
        path.write_text(capability_file.written(found), encoding="utf-8")
    except OSError as error:
        _give_up(f"{path} cannot be written: {error.strerror}.", _INTERNAL)


def _show(found: Findings, output: Format) -> None:
    if output is Format.JSON:
        typer.echo(json.dumps(_as_json(found), indent=2))
        return
    console = Console(markup=False, highlight=False)
    name = f"{found.software or 'The server'} {found.version}".rstrip()
    console.print(f"{name}, {'with' if found.wrote else 'without'} the probes that write", style="bold")
    table = Table("what", "", "seen", "the gateway", box=None)
    for line in lines_of(found):
        table.add_row(line.topic, line.grade.value, line.seen, line.then, style=_COLOURS[line.grade])
    console.print(table)
    for probe, reason in found.failed:
        console.print(f"The probe {probe} broke off: {reason}.", style="red")
    for place in found.left:
        console.print(f"Could not be removed: {place}. Delete it by hand.", style="red")
    console.print("\nSettings that follow:\n\nupstream:")
    for key, value in settings_of(found).items():
        comment = "  # possible; leave it out, and history keeps what was removed" if value == "expunge" else ""
        console.print(f"  {key}: {value}{comment}")


def _as_json(found: Findings) -> dict[str, object]:
    capability = capability_of(found)
    return {
        "software": found.software,
        "version": found.version,
        "report": [asdict(line) for line in lines_of(found)],
        "capability": {
            "guarded_delete": capability.guarded_delete.value,
            "guarded_update": capability.guarded_update,
            "find_lost_writes": capability.find_lost.value,
            "numbered_versions": capability.numbered_versions,
            "restore_headers": [name.decode() for name, _ in capability.restore_headers],
            "purges": capability.purges,
        },
        "settings": settings_of(found),
        "failed": [{"probe": probe, "reason": reason} for probe, reason in found.failed],
        "left_behind": list(found.left),
    }


def _give_up(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
