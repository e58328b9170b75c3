"""What the journal costs a write, over SQLite and over PostgreSQL: `python -m tests.bench.journal`.

The same write six times: plain, and the same journalled (`journal_writes: all`: intent and commit, nothing else), in
either backend; read back and judged, but with nothing to undo, and the same journalled because it may have to be
undone. Each journalled one stands beside the nearest that is not. All run at once and are loaded in turn, round by
round, so that a machine that others use as well is as busy for one as for the other; medians of the rounds are told.
"""

import argparse
import base64
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from gateway.journal.postgres_connection import Target
from tests.bench import parts
from tests.bench.load import Load, Measured, cpu_seconds, family, run
from tests.bench.parts import Judging, Running
from tests.e2e.postgresql import PostgreSql

CONNECTIONS = (1, 16, 64)
PLAIN, READ_BACK = "plain", "read back"
SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
ROUNDS = 5
RULES = 10
REPORT = Path("build/bench/journal.json")
_COMMITS = re.compile(r"^fhir_gateway_journal_commit_duration_seconds_count\{.*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Journalled:
    """One run: `commits` per write, each of which is one fsync, and the CPU of the database as `load` has it.

    `beside` names what it is compared with.
    """

    run: Measured
    beside: str
    commits: float
    database_cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """One gateway that runs."""

    name: str
    beside: str
    running: Running


def main() -> None:
    """Runs everything, prints a table, writes the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.journal", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="rounds of 1 s instead of 3 s")
    seconds = 1 if parser.parse_args().quick else 3
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 130
    with tempfile.TemporaryDirectory(prefix="fhir-gateway-bench-") as name, ExitStack() as stack:
        measured, fsync = _measure(Path(name), stack, seconds, console)
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


def gateways(folder: Path, database: PostgreSql) -> list[tuple[str, str, Judging]]:
    """The six of them, each with what it is compared with. All have the same rules before the write."""

    def shared(name: str) -> str:
        (folder / name).mkdir()
        return in_postgresql(folder / name, database.database())

    every = "\njournal_writes: all"
    judged = [
        (PLAIN, PLAIN, None, "journal: sqlite:plain.db"),
        (f"{PLAIN}, {SQLITE}", PLAIN, None, f"journal: sqlite:recorded.db{every}"),
        (f"{PLAIN}, {POSTGRESQL}", PLAIN, None, shared("recorded") + every),
        (READ_BACK, READ_BACK, "audit", "journal: sqlite:read-back.db"),
        (f"{READ_BACK}, {SQLITE}", READ_BACK, "enforce", "journal: sqlite:undoable.db"),
        (f"{READ_BACK}, {POSTGRESQL}", READ_BACK, "enforce", shared("undoable")),
    ]
    return [
        (
            name,
            beside,
            Judging(name=name.replace(", ", "-").replace(" ", "-"), policy=parts.policy(RULES, mode), journal=where),
        )
        for name, beside, mode, where in judged
    ]


def _measure(folder: Path, stack: ExitStack, seconds: int, console: Console) -> tuple[list[Journalled], float]:
    """The runs, and how long an fsync took meanwhile."""
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
    loaded = []
    for name, beside, made in gateways(folder, database):
        running = parts.judging(folder, origin, issuer.url, made)
        stack.callback(running.child.stop)
        running.child.start().wait_ready()
        loaded.append(_Loaded(name=name, beside=beside, running=running))
        _round(loaded[-1], load, database, 4, 1)
    measured: list[Journalled] = []
    fsyncs: list[float] = []
    for connections in CONNECTIONS:
        rounds: dict[str, list[Journalled]] = {each.name: [] for each in loaded}
        for number in range(ROUNDS):
            fsyncs.append(fsync_ms(folder))
            with console.status(f"{connections} connections, round {number + 1} of {ROUNDS}"):
                for each in loaded if number % 2 == 0 else reversed(loaded):
                    rounds[each.name].append(_round(each, load, database, connections, seconds))
        measured += [_median(runs) for runs in rounds.values()]
    return measured, statistics.median(fsyncs)


def _round(each: _Loaded, load: Load, database: PostgreSql, connections: int, seconds: int) -> Journalled:
    child, admin = each.running.child, each.running.admin
    commits, served = _commits(admin), _database_cpu(database)
    url = f"{each.running.url}/fhir/Observation"
    one = run(each.name, url, child.pid, load, connections=connections, seconds=seconds)
    writes = max(1, one.requests)
    return Journalled(
        run=one,
        beside=each.beside,
        commits=(_commits(admin) - commits) / writes,
        database_cpu=1000 * (_database_cpu(database) - served) / writes,
    )


def _median(runs: list[Journalled]) -> Journalled:
    """Of each figure by itself; errors and memory are the worst."""

    def middle(of: Callable[[Journalled], float]) -> float:
        return statistics.median(of(one) for one in runs)

    together = Measured(
        server=runs[0].run.server,
        connections=runs[0].run.connections,
        requests=sum(one.run.requests for one in runs),
        requests_per_second=middle(lambda one: one.run.requests_per_second),
        p50=middle(lambda one: one.run.p50),
        p99=middle(lambda one: one.run.p99),
        cpu=middle(lambda one: one.run.cpu),
        rss=max(one.run.rss for one in runs),
        errors=sum(one.run.errors for one in runs),
    )
    return Journalled(
        run=together,
        beside=runs[0].beside,
        commits=middle(lambda one: one.commits),
        database_cpu=middle(lambda one: one.database_cpu),
    )


def _commits(admin: str) -> float:
    """Transactions of the journal so far."""
    said = httpx.get(f"{admin}/metrics", trust_env=False).text
    return sum(float(count) for count in _COMMITS.findall(said))


def _database_cpu(database: PostgreSql) -> float:
    return cpu_seconds(family(database.pid))


def _table(measured: list[Journalled], fsync: float) -> Table:
    table = Table(
        title=f"POST of a 1.5 kB Observation, {RULES} rules, one worker; a page reaches the disk in {fsync:.2f} ms",
        caption=f"medians of {ROUNDS} rounds; CPU of the gateway, in s per 1,000 writes; db: of PostgreSQL, likewise",
    )
    for heading in (
        "", "connections", "writes/s", "p50 ms", "p99 ms", "CPU", "x beside", "x plain", "p50 added", "fsyncs", "db",
        "peak MB",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if not heading else "right")
    runs = {(one.run.server, one.run.connections): one.run for one in measured}
    names = dict.fromkeys(one.run.server for one in measured)
    for one in (one for name in names for one in measured if one.run.server == name):
        each = one.run
        beside, plain = runs[one.beside, each.connections], runs[PLAIN, each.connections]
        table.add_row(
            each.server if each.connections == CONNECTIONS[0] else "",
            str(each.connections),
            f"{each.requests_per_second:,.0f}",
            f"{each.p50:.2f}",
            f"{each.p99:.2f}",
            f"{each.cpu:.3f}",
            f"{each.cpu / max(1e-9, beside.cpu):.2f}",
            f"{each.cpu / max(1e-9, plain.cpu):.2f}",
            f"{each.p50 - beside.p50:+.2f}",
            f"{one.commits:.2f}",
            f"{one.database_cpu:.3f}" if POSTGRESQL in each.server else "",
            f"{each.rss:.0f}" + (" !" if each.errors else ""),
            end_section=each.connections == CONNECTIONS[-1],
        )
    return table


if __name__ == "__main__":
    main()
