"""What the journal costs a write, over SQLite and over PostgreSQL: `python -m tests.bench.journal`.

The same write four times: plain; read back and judged, but with nothing to undo; and the latter journalled (intent
and commit), in either backend. The last two against the second are what the journal alone costs.
"""

import argparse
import base64
import json
import os
import re
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from gateway.journal.postgres_connection import Target
from tests.bench import parts
from tests.bench.load import Load, Measured, cpu_seconds, family, run
from tests.bench.parts import Judging
from tests.e2e.postgresql import PostgreSql

CONNECTIONS = (1, 16, 64)
PLAIN, READ_BACK, SQLITE, POSTGRESQL = "plain", "read back", "journalled, SQLite", "journalled, PostgreSQL"
RULES = 10
REPORT = Path("build/bench/journal.json")
_COMMITS = re.compile(r"^fhir_gateway_journal_commit_duration_seconds_count\{.*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Journalled:
    """One run: `commits` per write, each of which is one fsync, and the CPU of the database as `load` has it."""

    run: Measured
    commits: float
    database_cpu: float


def main() -> None:
    """Runs everything, prints a table, writes the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.journal", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="runs of 1 s instead of 4 s")
    seconds = 1 if parser.parse_args().quick else 4
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 130
    with tempfile.TemporaryDirectory(prefix="fhir-gateway-bench-") as name, ExitStack() as stack:
        fsync = fsync_ms(Path(name))
        measured = _measure(Path(name), stack, seconds, console)
    console.print(_table(measured, fsync))
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps({"fsync_ms": fsync, "runs": [asdict(one) for one in measured]}, indent=2) + "\n")
    console.print(f"written to {REPORT}")
    if any(one.run.errors for one in measured):
        raise SystemExit("some requests failed: the figures say nothing")


def fsync_ms(folder: Path) -> float:
    """The median of what it takes to append a page to a file and have it on the disk."""
    took = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(200):
            started = time.perf_counter()
            file.write(os.urandom(4096))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - started)
    return 1000 * statistics.median(took)


def in_postgresql(folder: Path, target: Target) -> str:
    """The lines of a configuration. The key is `journal.key`."""
    key = folder / "journal.key"
    key.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
    key.chmod(0o600)
    where = f"{target.user}@{target.host}:{target.port}/{target.database}"
    return "\n".join(
        (
            f"journal: postgresql://{where}?sslmode=disable",
            f"journal_password_file: {target.password_file}",
            f"journal_key_file: {key}",
        )
    )


def gateways(folder: Path, database: PostgreSql) -> list[tuple[str, Judging]]:
    """The four of them, all with the same rules before the write."""
    shared = in_postgresql(folder, database.database())
    judged = [
        (PLAIN, None, "journal: sqlite:plain.db"),
        (READ_BACK, "audit", "journal: sqlite:read-back.db"),
        (SQLITE, "enforce", "journal: sqlite:journalled.db"),
        (POSTGRESQL, "enforce", shared),
    ]
    return [
        (name, Judging(name=name.replace(", ", "-").replace(" ", "-"), policy=parts.policy(RULES, mode), journal=where))
        for name, mode, where in judged
    ]


def _measure(folder: Path, stack: ExitStack, seconds: int, console: Console) -> list[Journalled]:
    database = PostgreSql()
    stack.callback(database.destroy)
    database.create()
    issuer = stack.enter_context(parts.issuer())
    body = folder / "body.json"
    body.write_text(json.dumps(parts.result(), separators=(",", ":")))
    load = Load(body=body, tokens=parts.tokens(issuer, folder / "token", 1))
    stub, origin = parts.stub(folder)
    stack.callback(stub.stop)
    stub.start().wait_ready()
    measured: list[Journalled] = []
    for name, made in gateways(folder, database):
        with ExitStack() as running:
            gateway = parts.judging(folder, origin, issuer.url, made)
            running.callback(gateway.child.stop)
            gateway.child.start().wait_ready()
            run(name, f"{gateway.url}/fhir/Observation", gateway.child.pid, load, connections=4, seconds=1)
            for connections in CONNECTIONS:
                commits, served = _commits(gateway.admin), _database_cpu(database)
                with console.status(f"{name}, {connections} connections"):
                    one = run(
                        name, f"{gateway.url}/fhir/Observation", gateway.child.pid, load, connections=connections,
                        seconds=seconds,
                    )  # fmt: skip
                writes = max(1, one.requests)
                measured.append(
                    Journalled(
                        run=one,
                        commits=(_commits(gateway.admin) - commits) / writes,
                        database_cpu=1000 * (_database_cpu(database) - served) / writes,
                    )
                )
    return measured


def _commits(admin: str) -> float:
    """Transactions of the journal so far."""
    said = httpx.get(f"{admin}/metrics", trust_env=False).text
    return sum(float(count) for count in _COMMITS.findall(said))


def _database_cpu(database: PostgreSql) -> float:
    return cpu_seconds(family(database.pid))


def _table(measured: list[Journalled], fsync: float) -> Table:
    table = Table(
        title=f"POST of a 1.5 kB Observation, {RULES} rules, one worker; a page reaches the disk in {fsync:.2f} ms",
        caption="CPU of the gateway, in s per 1,000 writes; db: CPU of PostgreSQL, likewise",
    )
    for heading in (
        "", "connections", "writes/s", "p50 ms", "p99 ms", "CPU", "x plain", "x read back", "p50 added", "fsyncs", "db",
        "peak MB",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if not heading else "right")
    runs = {(one.run.server, one.run.connections): one.run for one in measured}
    for one in measured:
        each = one.run
        plain, back = runs[PLAIN, each.connections], runs[READ_BACK, each.connections]
        table.add_row(
            each.server if each.connections == CONNECTIONS[0] else "",
            str(each.connections),
            f"{each.requests_per_second:,.0f}",
            f"{each.p50:.2f}",
            f"{each.p99:.2f}",
            f"{each.cpu:.3f}",
            f"{each.cpu / max(1e-9, plain.cpu):.2f}",
            f"{each.cpu / max(1e-9, back.cpu):.2f}",
            f"{each.p50 - back.p50:+.2f}",
            f"{one.commits:.2f}",
            f"{one.database_cpu:.3f}" if each.server == POSTGRESQL else "",
            f"{each.rss:.0f}" + (" !" if each.errors else ""),
            end_section=each.connections == CONNECTIONS[-1],
        )
    return table


if __name__ == "__main__":
    main()
