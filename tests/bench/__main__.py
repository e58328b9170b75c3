"""`make bench`: what judging costs, beside nginx and beside a bare proxy of the same parts."""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.sandbox.running import Child
from tests.bench import parts
from tests.bench.load import Load, Measured, run

CONNECTIONS = (1, 16, 64)
BARE = "bare pass-through"
# More than a gateway remembers (10,000), so that in turn every one of them is new.
NEW_TOKENS = 12_000
REPORT = Path("build/bench/latest.json")


def main() -> None:
    """Runs everything, prints a table, writes the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="runs of 1 s instead of 4 s")
    seconds = 1 if parser.parse_args().quick else 4
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    with tempfile.TemporaryDirectory(prefix="fhir-gateway-bench-") as name, ExitStack() as stack:
        measured = _measure(Path(name), stack, seconds, console)
    console.print(_table(measured))
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(_report(measured, seconds), indent=2) + "\n")
    console.print(f"written to {REPORT}")
    failed = [one for one in measured if one.errors]
    if failed:
        raise SystemExit(f"{len(failed)} runs had failed requests: the figures say nothing")


def _measure(folder: Path, stack: ExitStack, seconds: int, console: Console) -> list[Measured]:
    issuer = stack.enter_context(parts.issuer())
    body = folder / "body.json"
    body.write_text(json.dumps(parts.result(), separators=(",", ":")))
    known = Load(body=body, tokens=parts.tokens(issuer, folder / "token", 1))
    new = Load(body=body, tokens=parts.tokens(issuer, folder / "tokens", NEW_TOKENS))
    stub, origin = parts.stub(folder)
    stack.callback(stub.stop)
    stub.start().wait_ready()
    servers: list[tuple[str, Callable[[], tuple[Child, str]], Load]] = [
        ("nginx", lambda: parts.nginx_proxy(folder, origin), known),
        (BARE, lambda: parts.bare(folder, origin), known),
        ("gateway, 0 rules", lambda: _gateway(folder, origin, issuer.url, 0), known),
        ("gateway, 10 rules", lambda: _gateway(folder, origin, issuer.url, 10), known),
        ("gateway, 100 rules", lambda: _gateway(folder, origin, issuer.url, 100), known),
        ("gateway, 10 rules, every token new", lambda: _gateway(folder, origin, issuer.url, 10), new),
    ]
    measured: list[Measured] = []
    for name, make, load in servers:
        child, base = make()
        with ExitStack() as running:
            running.callback(child.stop)
            child.start().wait_ready()
            url = f"{base}/fhir/Observation"
            run(name, url, child.pid, load, connections=4, seconds=1)
            for connections in CONNECTIONS:
                with console.status(f"{name}, {connections} connections"):
                    measured.append(run(name, url, child.pid, load, connections=connections, seconds=seconds))
    return measured


def _gateway(folder: Path, origin: str, issuer: str, rules: int) -> tuple[Child, str]:
    running = parts.judging(folder, origin, issuer, parts.plain(rules))
    return running.child, running.url


def _bare(measured: list[Measured], connections: int) -> Measured:
    return next(one for one in measured if one.server == BARE and one.connections == connections)


def _report(measured: list[Measured], seconds: int) -> dict[str, object]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "seconds_per_run": seconds,
        "runs": [
            asdict(one) | {"cpu_against_bare": one.cpu / max(1e-9, _bare(measured, one.connections).cpu)}
            for one in measured
        ],
    }


def _table(measured: list[Measured]) -> Table:
    table = Table(
        title="POST of a 1.5 kB Observation, one worker", caption="CPU of the server, in s per 1,000 requests"
    )
    for heading in ("", "connections", "requests/s", "p50 ms", "p99 ms", "CPU", "x bare", "p50 added", "peak MB"):
        table.add_column(heading, justify="left" if not heading else "right")
    for one in measured:
        bare = _bare(measured, one.connections)
        table.add_row(
            one.server if one.connections == CONNECTIONS[0] else "",
            str(one.connections),
            f"{one.requests_per_second:,.0f}",
            f"{one.p50:.2f}",
            f"{one.p99:.2f}",
            f"{one.cpu:.3f}",
            f"{one.cpu / max(1e-9, bare.cpu):.2f}",
            f"{one.p50 - bare.p50:+.2f}",
            f"{one.rss:.0f}" + (" !" if one.errors else ""),
            end_section=one.connections == CONNECTIONS[-1],
        )
    return table


if __name__ == "__main__":
    main()
