"""A gateway's settling as one of several simulated processes: it can die or stand still at every call it makes.

The settler, the table, the lookups and the journal's SQL are the real ones. The journal's thread is replaced by one
that lives on virtual time, and the network by calls into the sandbox's server.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar, cast

from gateway.errors import Issue, IssueCode, Unavailable
from gateway.fhir.json import JsonObject
from gateway.journal.postgres import PostgresJournal
from gateway.journal.sqlite import SqliteJournal
from gateway.journal.sqlite_writer import SqliteWriter
from gateway.journal.writer import Job
from gateway.policy.policy_set import PolicySet
from gateway.saga.capability import Capability
from gateway.saga.intent import Intent
from gateway.saga.ports import AnswerLost, NotSent, StreamedAnswer, TooLate, UpstreamAnswer, UpstreamRequest
from gateway.saga.settle import Settler, SettleSettings, Verified
from gateway.sandbox.fhir_server import FhirServer
from gateway.sandbox.store import Store
from gateway.upstream.lookups import UpstreamLookups
from tests.faults.lives import Life, clock, now
from tests.saga.world import BASE, LIMITS, PATIENT, AsgiUpstream

T = TypeVar("T")
TIMEOUT = 10.0  # what a gateway waits for an answer
LATEST = 30.0  # how long after it was sent the server may apply a write: below `late_apply`
# Twice the usual pause between sweeps: most find nothing, and deaths are counted in calls.
SETTINGS = SettleSettings(late_apply=TIMEOUT + LATEST / 1.2, most_refusals=6, sweep_every=2.0)


@dataclass(slots=True)
class Weather:
    """What the network does to an exchange; `calm` makes it do nothing."""

    random: Random
    trouble: float = 0.25
    calm: bool = False
    down_until: float = 0.0

    def next(self) -> str:
        """What happens to the next exchange."""
        if self.calm:
            return "fine"
        if now() < self.down_until:
            return "refused"
        if self.random.random() > self.trouble:
            return "fine"
        if self.random.random() < 0.08:
            self.down_until = now() + self.random.uniform(1, 90)
            return "refused"
        return self.random.choice(("refused", "lost before", "lost after", "late", "busy", "error after", "cut after"))


@dataclass(slots=True)
class Network:
    """The server and what lies before it. `recorded` says whether a write id is durable at this moment.

    `unheld` are requests that left from a process that did not hold the entry when it was last asked; `late` are writes
    that left though others had taken the entry over since: from whom, and when.
    """

    weather: Weather
    server: FhirServer
    recorded: Callable[[str], bool]
    unannounced: list[str] = field(default_factory=list)
    unheld: list[str] = field(default_factory=list)
    late: dict[str, tuple[Life, float]] = field(default_factory=dict)
    inner: AsgiUpstream = field(init=False)
    at_work: set["asyncio.Task[UpstreamAnswer]"] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.inner = AsgiUpstream(self.server, timeout=10 * LATEST)

    def leave(self, request: UpstreamRequest) -> None:
        """A write is on its way: from here on it may be applied (PROMISES 3)."""
        id_ = dict(request.headers).get(b"x-request-id", b"").decode()
        if request.method != "GET" and not id_.startswith("U") and not self.recorded(id_):
            self.unannounced.append(id_)

    async def exchange(self, request: UpstreamRequest, last: Callable[[], Awaitable[None]]) -> UpstreamAnswer:
        """One exchange through the weather; `last` comes right before the first byte. Raises NotSent or AnswerLost."""
        kind, random = self.weather.next(), self.weather.random
        await asyncio.sleep(random.uniform(0.001, 0.05))
        if kind == "refused":
            raise NotSent("refused")
        await last()
        self.leave(request)
        if kind == "lost before":
            raise AnswerLost("lost on the way out")
        if kind == "busy":
            return UpstreamAnswer(status=random.choice((429, 503)), headers=(), body=b"")
        delay = random.uniform(0, LATEST) if kind == "late" else 0.0
        work = asyncio.create_task(self._apply(request, delay))
        self.at_work.add(work)
        work.add_done_callback(self.at_work.discard)
        if kind == "late" and random.random() < 0.5:
            raise AnswerLost("the connection broke")
        done, _ = await asyncio.wait({work}, timeout=TIMEOUT)
        if not done:
            raise AnswerLost("no answer in time", timed_out=True)
        answer = work.result()
        if kind in ("lost after", "cut after"):
            raise AnswerLost("lost on the way back")
        return UpstreamAnswer(status=500, headers=(), body=b"") if kind == "error after" else answer

    async def _apply(self, request: UpstreamRequest, delay: float) -> UpstreamAnswer:
        await asyncio.sleep(delay)
        answer = await self.inner._exchange(request)
        # The date is the simulated one: lookups tell by it how far the server's clock is ahead.
        date = clock().strftime("%a, %d %b %Y %H:%M:%S GMT").encode()
        kept = tuple(header for header in answer.headers if header[0] != b"date")
        return replace(answer, headers=(*kept, (b"date", date)))


@dataclass(slots=True)
class Port:
    """One process' way to the server."""

    life: Life
    network: Network
    holds: Callable[[str], bool] = lambda _: True

    async def send(self, request: UpstreamRequest, *, seconds: float | None = None) -> UpstreamAnswer:
        await self.life.passing()
        try:
            answer = await self.network.exchange(request, partial(self._last, request))
        except (NotSent, AnswerLost):
            await self.life.passing()
            raise
        await self.life.passing()
        return answer

    async def _last(self, request: UpstreamRequest) -> None:
        """What is asked right before the first byte, and the instant between the answer and the byte."""
        if request.may_leave is not None and not request.may_leave():
            raise TooLate
        id_ = dict(request.headers).get(b"x-request-id", b"").decode()
        if request.method == "GET":
            return
        if not self.holds(id_):
            self.network.unheld.append(f"{request.method} {request.path} ({id_})")
        await self.life.leaving()
        if not self.holds(id_):
            self.network.late[id_] = self.life, now()

    def stream(self, request: UpstreamRequest) -> StreamedAnswer:
        raise NotImplementedError


class InlineWriter(SqliteWriter):
    """The journal's writer without its thread, on virtual time: jobs in order, one transaction each."""

    def __init__(self, threaded: SqliteWriter, life: Life) -> None:
        super().__init__(threaded._make)
        self._life = life
        self._order = asyncio.Lock()

    async def open(self) -> None:
        self._connect()
        assert self._connection is not None
        self._connection.execute("PRAGMA synchronous = OFF")  # power loss has a test of its own

    async def close(self) -> None:
        self._disconnect()
        self._connection = None

    def queue(
        self, begin: Callable[[sqlite3.Connection], Callable[[], T]], *, patient: bool = False
    ) -> "asyncio.Future[T]":
        job: Job[sqlite3.Connection] = Job(
            begin, asyncio.get_running_loop().create_future(), asyncio.get_running_loop()
        )
        # As in the thread: a job that is queued is done, whether somebody waits for it or not.
        self._life.tasks.append(asyncio.create_task(self._perform(job)))
        return cast("asyncio.Future[T]", job.done)

    async def _perform(self, job: Job[sqlite3.Connection]) -> None:
        async with self._order:
            await self._life.passing()
            await asyncio.sleep(0.002)
            if self._life.calls >= (self._life.disk_fails_after or self._life.calls + 1) and self.broken is None:
                self.broken = "SQLITE_FULL"
                asyncio.get_running_loop().call_later(5, self._life.die)  # somebody starts it anew
            tellings = self._commit([job])
            await self._life.passing()
            for telling in tellings:
                telling()


class Replica:
    """One process: ports, journal and settler of its own. `holds` tells of an owner and a request id."""

    def __init__(
        self,
        journal: SqliteJournal | PostgresJournal,
        network: Network,
        capability: Capability,
        life: Life,
        holds: Callable[[str, str], bool],
    ) -> None:
        self.life, self.journal = life, journal
        self.port = Port(life, network, partial(holds, journal.owner))
        self.settler = Settler(
            self.port,
            self.journal,
            self._verify,
            life.clock,
            SETTINGS,
            lookups=UpstreamLookups(self.port, LIMITS, base=BASE, clock=life.clock),
            capability=lambda: capability,
            jitter=life.random.random,
        )

    async def _verify(self, intent: Intent, stored: JsonObject) -> Verified:
        """As the pipeline does: the Patient is read anew, and an outage is no verdict."""
        trouble = Unavailable(Issue(code=IssueCode.TRANSIENT, text="not read"))
        try:
            answer = await self.port.send(UpstreamRequest(method="GET", path="Patient/p1"))
        except (NotSent, AnswerLost):
            raise trouble from None
        if answer.status != 200:
            raise trouble
        holds = stored.get("status") != "forbidden"
        return Verified(holds=holds, failed=() if holds else ("policy/rule",))

    async def no_policies(self, revision: str) -> PolicySet | None:
        return None

    async def start(self) -> "Replica":
        await self.journal.open()
        await self.settler.recover()
        return self

    def bury(self) -> None:
        """The kernel frees what the dead held."""
        self.life.die()
        if isinstance(self.journal, SqliteJournal):
            self.journal._lock.abandon()


def inline(folder: Path, life: Life) -> SqliteJournal:
    """The journal of one process in the file that all of them share."""
    journal = SqliteJournal(folder / "journal.db", "replica")
    journal._writer = InlineWriter(journal._writer, life)
    return journal


def server() -> FhirServer:
    """A server on the simulated clock, with one Patient."""
    made = FhirServer(Store(clock=clock))
    made.store.load(PATIENT)
    return made
