"""Which jobs share a transaction: whoever waits is not kept waiting, and what nobody waits for goes along."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import pytest

from gateway.journal.writer import Job, Telling, Writer


class Noting(Writer[list[str]]):
    """Keeps the names in each transaction; `gate` holds the transactions back."""

    def __init__(self) -> None:
        super().__init__()
        self.transactions: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def _connect(self) -> None:
        """Nothing to connect to."""

    def _disconnect(self) -> None:
        """Nothing to close."""

    def _commit(self, batch: Sequence[Job[list[str]]]) -> list[Telling]:
        self.gate.wait(10)
        names: list[str] = []
        results = [job.begin(names)() for job in batch]
        self.transactions.append(names)
        return [partial(job.succeed, result) for job, result in zip(batch, results, strict=True)]


def named(name: str) -> Callable[[list[str]], Callable[[], None]]:
    def begin(names: list[str]) -> Callable[[], None]:
        names.append(name)
        return lambda: None

    return begin


@pytest.fixture
async def writer() -> AsyncIterator[Noting]:
    made = Noting()
    await made.open()
    yield made
    await made.close()


async def test_what_nobody_waits_for_goes_with_the_next_job(writer: Noting) -> None:
    writer.gate.clear()
    first = writer.queue(named("first"))
    soon = writer.queue(named("soon"), patient=True)
    last = writer.queue(named("last"))
    writer.gate.set()
    await asyncio.gather(first, soon, last)
    assert [name for names in writer.transactions for name in names] == ["first", "soon", "last"]
    assert ["soon"] not in writer.transactions


async def test_it_does_not_wait_for_ever(writer: Noting) -> None:
    await asyncio.wait_for(writer.queue(named("soon"), patient=True), 5)
    assert writer.transactions == [["soon"]]


async def test_it_is_not_lost_when_the_journal_closes(writer: Noting) -> None:
    soon = writer.queue(named("soon"), patient=True)
    await writer.close()
    assert writer.transactions == [["soon"]]
    await soon
