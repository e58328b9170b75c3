"""A whole gateway that starts on a full journal: at work at once, within bounds, and right in the end."""

import statistics
from collections import Counter
from pathlib import Path

from gateway.journal.sqlite import SqliteJournal
from gateway.saga.settle import SettleSettings
from gateway.sandbox.serving import free_port
from tests.bench import parts
from tests.bench.parts import Judging
from tests.faults import backlog

ENTRIES = 1_500
# A journal that is read as a whole would take ten times as much.
MORE_MEMORY = 12.0
SERVING_SECONDS = 2.0  # later than on an empty journal
SLOWER = 8  # a machine of two cores runs the gateway, the server and the clients


async def opened(path: Path, name: str) -> SqliteJournal:
    journal = SqliteJournal(path, name)
    await journal.open()
    return journal


async def test_thousands_of_open_entries_hold_up_nobody_and_all_end_right(tmp_path: Path) -> None:
    store, port = backlog.model(), free_port()
    with parts.issuer() as issuer, backlog.serving(store, port) as server:
        token = issuer.mint(parts.CLAIMS)
        made = Judging(name="one", policy=parts.policy(10, "enforce"), journal="journal: sqlite:one.db", timeout="3s")
        gateway = parts.judging(tmp_path, f"http://127.0.0.1:{port}", issuer.url, made)
        async with backlog.started(gateway, token) as (empty, client):
            await backlog.write_for(empty, client, 2.0)
        journal = await opened(tmp_path / "one.db", "earlier")
        await backlog.fill(journal, store, ENTRIES, empty.revision)
        await journal.close()

        onlooker = await opened(tmp_path / "one.db", "onlooker")
        seen = await backlog.recover(gateway, token, onlooker, 240)
        ended: Counter[tuple[backlog.Left, str]] = Counter()
        for number in range(ENTRIES):
            entry = await onlooker.get(f"{number:032x}")
            ended[backlog.left(number), entry.state if entry else "lost"] += 1
        await onlooker.close()

    assert ended == Counter((backlog.left(number), backlog.ENDS[backlog.left(number)]) for number in range(ENTRIES))
    stays = {f"backlog-{n}" for n in range(ENTRIES) if backlog.left(n) in (backlog.Left.PRESENT, backlog.Left.STORED)}
    assert {version.id for version in store.live("Observation") if version.id.startswith("backlog-")} == stays
    assert 1 < server.most <= SettleSettings().concurrency
    assert seen.failed == []
    assert len(seen.writes) > 5
    assert seen.work - empty.work < SERVING_SECONDS
    assert seen.first_write < 2 * empty.first_write + SERVING_SECONDS
    assert statistics.median(seen.writes) < SLOWER * statistics.median(empty.writes) + 0.05
    assert seen.memory - empty.memory < MORE_MEMORY
