"""What a gateway makes of a journal with 100,000 open entries, beside its start on an empty one.

`python -m tests.bench.recovery`, with `--entries N` for fewer, `--only SQLite` or `--only PostgreSQL` for one of them.
"""

import argparse
import asyncio
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.journal.postgres import PostgresJournal
from gateway.journal.sqlite import SqliteJournal
from gateway.saga.journal_port import Journal
from gateway.sandbox.serving import free_port
from tests.bench import parts
from tests.bench.journal import RULES, in_postgresql
from tests.bench.parts import Judging
from tests.e2e.postgresql import PostgreSql
from tests.faults import backlog
from tests.faults.backlog import Recovered

_LONGEST = 3600.0
_LIVE_SECONDS = 5.0
SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"


def main() -> None:
    """Fills, starts, watches, prints a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recovery", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--only", choices=(SQLITE, POSTGRESQL))
    parser.add_argument("--seconds", type=float, default=_LONGEST, help="do not wait for the end any longer than this")
    asked = parser.parse_args()
    entries: int = asked.entries
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 130
    table = Table(title=f"A start on {entries:,} open entries, one worker, while one client writes", caption=_CAPTION)
    for heading in (
        "",
        "entries",
        "ready s",
        "first write s",
        "all settled s",
        "a second",
        "at once",
        "writes",
        "p50 ms",
        "p99 ms",
        "peak MB",
    ):
        table.add_column(heading, justify="left" if not heading else "right")
    failed: list[str] = []
    for backend in (asked.only,) if asked.only else (SQLITE, POSTGRESQL):
        with tempfile.TemporaryDirectory(prefix="fhir-gateway-bench-") as name, ExitStack() as stack:
            empty, seen, most = asyncio.run(_recovery(Path(name), stack, backend, asked))
        _row(table, backend, 0, empty, 0)
        _row(table, "", entries, seen, most)
        failed += [f"{backend}: {status} after {seconds} s" for status, seconds in seen.failed]
    console.print(table)
    if failed:
        raise SystemExit("\n".join(["writes that were not answered with 201:", *failed]))


_CAPTION = (
    "s: since the process was started; a second: entries settled; at once: requests about open entries that the FHIR "
    "server had to answer"
)


def _row(table: Table, name: str, entries: int, seen: Recovered, most: int) -> None:
    table.add_row(
        name,
        f"{entries:,}",
        f"{seen.ready:.2f}",
        f"{seen.first_write:.2f}",
        f"{seen.settled:.0f}" if seen.settled else "",
        f"{seen.rate:.0f}" if seen.rate else "",
        f"{most}" if most else "",
        f"{len(seen.writes):,}" if seen.writes else "",
        f"{1000 * statistics.median(seen.writes):.1f}" if seen.writes else "",
        f"{1000 * sorted(seen.writes)[len(seen.writes) * 99 // 100]:.1f}" if seen.writes else "",
        f"{seen.memory:.0f}",
    )


async def _recovery(
    folder: Path, stack: ExitStack, backend: str, asked: argparse.Namespace
) -> tuple[Recovered, Recovered, int]:
    """An empty start, a full one, and the most requests at once."""
    where = "journal: sqlite:one.db"
    target = None
    if backend == POSTGRESQL:
        database = PostgreSql()
        stack.callback(database.destroy)
        target = replace(database.create().database(), options=(("sslmode", "disable"),))
        where = in_postgresql(folder, target)

    async def opened(name: str) -> Journal:
        journal: Journal = SqliteJournal(folder / "one.db", name)
        if target is not None:
            journal = PostgresJournal(target, name, key_file=folder / "journal.key")
        await journal.open()
        return journal

    store, port = backlog.model(), free_port()
    issuer = stack.enter_context(parts.issuer())
    server = stack.enter_context(backlog.serving(store, port))
    token = issuer.mint(parts.CLAIMS)
    made = Judging(name="one", policy=parts.policy(RULES, "enforce"), journal=where, timeout="3s")
    gateway = parts.judging(folder, f"http://127.0.0.1:{port}", issuer.url, made)
    async with backlog.started(gateway, token):
        pass  # what is read for the first time of all is not the journal's
    async with backlog.started(gateway, token) as (empty, client):
        await backlog.write_for(empty, client, _LIVE_SECONDS)
    journal = await opened("earlier")
    await backlog.fill(journal, store, asked.entries, empty.revision)
    await journal.close()
    onlooker = await opened("onlooker")
    seen = await backlog.recover(gateway, token, onlooker, asked.seconds)
    await onlooker.close()
    return empty, seen, server.most


if __name__ == "__main__":
    main()
