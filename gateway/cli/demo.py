"""`fhir-gateway demo`: the whole product on this machine, as a story whose every step is checked."""

import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import gateway
from gateway.sandbox import story
from gateway.sandbox.stage import Ended, NotStarted, Stage, open_stage

_FAILED = 1
_PIPED_WIDTH = 140


def demo(
    stay: Annotated[bool, typer.Option("--stay", help="Keep everything running until Ctrl-C.")] = False,
    policies: Annotated[
        list[Path] | None, typer.Option("--policies", help="Policies to judge by; default: the examples.")
    ] = None,
) -> None:
    """Play the whole story with a FHIR server and an issuer in memory: allowed, refused, undone, recovered."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    folders = tuple(path.resolve() for path in policies) if policies else (example_policies(),)
    started = time.monotonic()
    # Ctrl-C and SIGTERM both end the children through the context managers below.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="fhir-gateway-demo-") as folder:
        try:
            with open_stage(Path(folder), folders) as stage:
                ended = [_played(console, stage, push) for push in story.pushes()]
                _summary(console, stage, ended, time.monotonic() - started, stay=stay)
                if stay:
                    signal.pause()
        except NotStarted as error:
            console.print(f"[red]not started[/red]: {error}", markup=True)
            raise typer.Exit(_FAILED) from error
        except KeyboardInterrupt:
            console.print("\nstopped")
            raise typer.Exit from None
    if not all(one.as_told for one in ended):
        raise typer.Exit(_FAILED)


def example_policies() -> Path:
    """The examples beside the package. Raises typer.BadParameter where the package came without them."""
    folder = Path(gateway.__file__).parent.parent / "policies"
    if not folder.is_dir():
        raise typer.BadParameter("the example policies are not beside this package; name a folder with --policies")
    return folder


def _played(console: Console, stage: Stage, push: story.Push) -> Ended:
    with console.status(push.title):
        return stage.play(push)


def _summary(console: Console, stage: Stage, ended: list[Ended], seconds: float, *, stay: bool) -> None:
    console.print()
    console.print(_table(ended))
    console.print(
        f"\n[bold]clients[/bold]  {stage.base}    [bold]metrics[/bold]  http://127.0.0.1:{stage.admin_port}/metrics"
        f"    [bold]FHIR server[/bold]  {stage.upstream}    [bold]issuer[/bold]  {stage.issuer}",
        soft_wrap=True,
    )
    console.print("\n[bold]the same by hand[/bold]" + ("" if stay else "  (make demo STAY=1 keeps everything running)"))
    for one in ended:
        console.print(f"\n[dim]# {one.push.title}[/dim]", soft_wrap=True)
        console.print(one.curl, soft_wrap=True, markup=False)
    told = sum(one.as_told for one in ended)
    colour = "green" if told == len(ended) else "red"
    console.print(f"\n[{colour}]{told} of {len(ended)} steps ended as told[/{colour}] in {seconds:.1f} s")
    if stay:
        console.print("everything keeps running; Ctrl-C stops it")


def _table(ended: list[Ended]) -> Table:
    table = Table(title="A client pushes, policies judge, a FHIR server stores", show_lines=True, expand=False)
    table.add_column("", justify="right")
    table.add_column("what happens", max_width=32)
    table.add_column("what the client gets", max_width=52)
    table.add_column("what the FHIR server holds", max_width=36)
    table.add_column("as told")
    for number, one in enumerate(ended, start=1):
        table.add_row(
            str(number),
            Text.assemble((one.push.title, "bold"), f"\n{one.push.told}"),
            _answer(one),
            Text.assemble((_in_words(one), _colour(one)), f"\n{one.seen}" if one.seen != _in_words(one) else ""),
            Text("yes", "green") if one.as_told else Text("NO", "bold red"),
        )
    return table


def _answer(one: Ended) -> Text:
    if one.status is None:
        return Text("no answer: the connection broke", "yellow")
    text = Text(str(one.status), "green" if one.status < 300 else "red")  # noqa: PLR2004
    for reason, rule in one.reasons:
        text.append(f"\n• {reason}", "default")
        text.append(f" {rule}" if rule else "", "dim")
    return text


def _in_words(one: Ended) -> str:
    return one.held.value if one.held is not None else "neither stored nor removed"


def _colour(one: Ended) -> str:
    if one.held is None:
        return "bold red"
    return {story.Held.STORED: "green", story.Held.NOTHING: "cyan", story.Held.REMOVED: "yellow"}[one.held]
