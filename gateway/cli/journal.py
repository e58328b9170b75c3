"""`fhir-gateway journal`: what is open or stuck, and a person's decisions about it. Payloads are never shown."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from gateway import settings
from gateway.config import ConfigErrors, SqliteFile, load
from gateway.saga.intent import OPEN, Intent, State
from gateway.saga.journal_port import Journal, JournalUnavailable, Resolution, StillOwned
from gateway.saga.table import Event, IllegalTransition, retry_of

journal = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

T = TypeVar("T")
_INTERNAL, _USAGE, _WRONG = 1, 2, 3


class Format(StrEnum):
    """The formats of `-o`."""

    TEXT = "text"
    JSON = "json"


class Outcome(StrEnum):
    """What a person can say became of a write."""

    COMMITTED = "committed"
    UNDONE = "undone"


Config = Annotated[Path, typer.Option("--config", "-c", help="The configuration that names the journal.")]
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="The format of the report.")]
DecisionId = Annotated[str, typer.Argument(help="The decision id, as `list` shows it.", show_default=False)]
By = Annotated[str, typer.Option("--by", help="Who decides; kept in the journal.", show_default=False)]
Why = Annotated[str, typer.Option("--why", help="Why; kept in the journal.", show_default=False)]
_CONFIG = Path("gateway.yaml")


@journal.command("list")
def list_(
    config: Config = _CONFIG,
    output: OutputOption = Format.TEXT,
    closed: Annotated[bool, typer.Option("--all", help="Closed entries too.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, oldest first.")] = 100,
) -> None:
    """Open and stuck writes."""
    states = frozenset(State) if closed else OPEN | {State.STUCK}
    entries = _with(config, lambda opened: opened.list(states, limit))
    if output is Format.JSON:
        typer.echo(json.dumps([_as_json(entry) for entry in entries], indent=2))
        return
    if not entries:
        typer.echo("Nothing is open, nothing is stuck.")
        return
    table = Table("decision", "state", "interaction", "resource", "age", "tries", "reason", box=None)
    for entry in entries:
        table.add_row(
            entry.decision_id,
            entry.state.value,
            entry.interaction.value,
            _resource(entry),
            _age(entry.started_at),
            str(entry.attempts),
            entry.reason or "",
            style="red" if entry.state is State.STUCK else None,
        )
    Console().print(table)


@journal.command()
def show(decision_id: DecisionId, config: Config = _CONFIG, output: OutputOption = Format.TEXT) -> None:
    """One write: where it stands, why, and what can be decided."""

    async def read(opened: Journal) -> tuple[Intent | None, tuple[Resolution, ...]]:
        return await opened.get(decision_id), await opened.resolutions(decision_id)

    entry, resolutions = _with(config, read)
    if entry is None:
        _give_up("No entry has that decision id.", _USAGE)
    shown = _as_json(entry) | {"resolutions": [_resolution(each) for each in resolutions]}
    if output is Format.JSON:
        typer.echo(json.dumps(shown, indent=2))
        return
    table = Table(show_header=False, box=None)
    for name, value in shown.items():
        if value not in (None, [], ()):
            table.add_row(name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
    Console().print(table)
    for line in _choices(entry):
        typer.echo(line)


@journal.command()
def retry(decision_id: DecisionId, by: By, why: Why = "retry", config: Config = _CONFIG) -> None:
    """Let the gateway try a stuck write again, from where it stood."""

    async def decide(opened: Journal) -> Intent:
        entry = await opened.get(decision_id)
        if entry is None:
            raise KeyError(decision_id)
        return await opened.decide(decision_id, retry_of(entry), by=by, why=why, now=time.time())

    entry = _with(config, decide)
    typer.echo(f"{decision_id} is {entry.state.value} again; a running gateway takes it up within seconds.")


@journal.command()
def resolve(
    decision_id: DecisionId,
    as_: Annotated[Outcome, typer.Option("--as", help="What became of the write.", show_default=False)],
    by: By,
    why: Why,
    config: Config = _CONFIG,
) -> None:
    """Record how a stuck write ended, after somebody looked at the FHIR server and put it right by hand."""
    event = Event.RESOLVED_COMMITTED if as_ is Outcome.COMMITTED else Event.RESOLVED_UNDONE
    entry = _with(config, lambda opened: opened.decide(decision_id, event, by=by, why=why, now=time.time()))
    typer.echo(f"{decision_id} is recorded as {entry.state.value}.")


def _with(config: Path, use: Callable[[Journal], Awaitable[T]]) -> T:
    """Open the configured journal, use it, and turn what can go wrong into a line and an exit code."""
    try:
        read = load(config, os.environ)
    except ConfigErrors as errors:
        _give_up("\n".join(str(problem) for problem in errors.problems), _WRONG)
    if isinstance(read.journal, SqliteFile) and not read.journal.path.exists():
        _give_up(f"There is no journal at {read.journal.path}.", _INTERNAL)

    async def run() -> T:
        opened = settings.journal_of(read, f"cli-{os.getpid()}")
        await opened.open()
        try:
            return await use(opened)
        finally:
            await opened.close()

    try:
        return asyncio.run(run())
    except JournalUnavailable as error:
        _give_up(f"The journal cannot be used: {error.reason}.", _INTERNAL)
    except KeyError:
        _give_up("No entry has that decision id.", _USAGE)
    except StillOwned:
        _give_up("A running gateway is settling this write; only stuck writes can be decided about.", _USAGE)
    except IllegalTransition as error:
        _give_up(f"The write is {error.state.value}: there is nothing to decide.", _USAGE)


def _give_up(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def _as_json(entry: Intent) -> dict[str, object]:
    return {
        "decision": entry.decision_id,
        "state": entry.state.value,
        "reason": entry.reason,
        "interaction": entry.interaction.value,
        "resource": _resource(entry),
        "version": entry.stored_version,
        "version before": entry.prior_version,
        "failed": list(entry.failed),
        "policies": list(entry.applied),
        "policy revision": entry.policy_revision,
        "client": entry.client_id,
        "issuer": entry.issuer,
        "request id at the server": entry.write_id,
        "status of the server": entry.upstream_status,
        "attempts": entry.attempts,
        "refused undos": entry.refusals,
        "started": _time(entry.started_at),
        "changed": _time(entry.updated_at),
        "next attempt": None if entry.next_attempt_at is None else _time(entry.next_attempt_at),
        "owner": entry.owner,
    }


def _resolution(resolution: Resolution) -> dict[str, str]:
    return {
        "what": resolution.event.value,
        "by": resolution.by,
        "why": resolution.why,
        "at": _time(resolution.at),
    }


def _choices(entry: Intent) -> list[str]:
    if entry.state is not State.STUCK:
        return []
    lines = ["", "Look at the FHIR server, then choose:"]
    lines.append(f"  journal retry {entry.decision_id} --by NAME                          try again")
    lines.append(f"  journal resolve {entry.decision_id} --as undone --by NAME --why TEXT     it is not there any more")
    lines.append(f"  journal resolve {entry.decision_id} --as committed --by NAME --why TEXT  it may stay")
    return lines


def _resource(entry: Intent) -> str:
    id_ = entry.stored_id or entry.id
    return f"{entry.type}/{id_}" if id_ else entry.type


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _age(started: float) -> str:
    seconds = max(0, int(time.time() - started))
    days, rest = divmod(seconds, 86_400)
    if days:
        return f"{days} d"
    return f"{rest // 3600} h" if rest >= 3600 else f"{rest // 60} min" if rest >= 60 else f"{rest} s"  # noqa: PLR2004
