"""Which jobs share a transaction."""

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


async def test_what_has_queued_up_meanwhile_shares_a_transaction(writer: Noting) -> None:
    writer.gate.clear()
    queued = [writer.queue(named(name)) for name in ("first", "second", "third")]
    writer.gate.set()
    await asyncio.gather(*queued)
    assert [name for names in writer.transactions for name in names] == ["first", "second", "third"]
    assert len(writer.transactions) <= 2


async def test_what_is_queued_is_not_lost_when_the_journal_closes(writer: Noting) -> None:
    queued = writer.queue(named("last"))
    await writer.close()
    assert writer.transactions == [["last"]]
    await queued
