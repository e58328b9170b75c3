"""A journal with many open entries, and what a whole gateway process makes of it from its first moment on.

The model server runs in this process: it counts how many requests of the recovery it was asked at once, and its store
is looked at afterwards.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from threading import Thread

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.pipeline.intents import facts_json
from gateway.policy.facts import ClientFacts, Facts, RequestFacts
from gateway.saga.intent import OPEN, Intent, State, new_write_id
from gateway.saga.journal_port import Journal
from gateway.sandbox import content
from gateway.sandbox.fhir_server import FhirServer
from gateway.sandbox.quirks import Quirks
from gateway.sandbox.serving import server
from gateway.sandbox.store import Store
from tests.bench import parts
from tests.bench.load import cpu_seconds, peak_rss
from tests.bench.parts import Running

_NAMED = "backlog-"
_TOGETHER = 1_000
_ANSWER_SECONDS = 0.002  # as real servers take; else no two requests would ever be under way at once


class Left(StrEnum):
    """How an earlier process left an entry."""

    PRESENT = "intended, and the server has it"
    ABSENT = "intended, and the server has it not"
    FORBIDDEN = "intended, stored by the server under another patient"
    STORED = "stored"
    COMPENSATING = "compensating"


# Of twenty entries in a row.
_MIX = [Left.PRESENT] * 7 + [Left.STORED] * 6 + [Left.COMPENSATING] * 3 + [Left.FORBIDDEN] * 2 + [Left.ABSENT] * 2
ENDS = {
    Left.PRESENT: State.COMMITTED,
    Left.ABSENT: State.REJECTED,
    Left.FORBIDDEN: State.UNDONE,
    Left.STORED: State.COMMITTED,
    Left.COMPENSATING: State.UNDONE,
}


def left(number: int) -> Left:
    """How the entry of that number was left."""
    return _MIX[number * 7 % len(_MIX)]


@dataclass(slots=True)
class Counting:
    """The model server, and how many requests about the backlog were under way at once."""

    inner: ASGIApp
    now: int = 0
    most: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = _NAMED in scope.get("path", "")
        self.now += ours
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(_ANSWER_SECONDS)
            await self.inner(scope, receive, send)
        finally:
            self.now -= ours


@contextmanager
def serving(store: Store, port: int) -> Iterator[Counting]:
    """A model server over `store` in a thread."""
    app = Counting(FhirServer(store))
    running = server(app, port)
    thread = Thread(target=running.run, daemon=True)
    thread.start()
    try:
        yield app
    finally:
        running.should_exit = True
        thread.join(5)


def model() -> Store:
    """A store with the Patient of every write. Nothing refers to what is removed: that need not be searched for."""
    store = Store(quirks=Quirks(references_unchecked=True))
    store.put(("Patient", "ada"), content.parse(json.dumps(parts.PATIENT).encode()), method="PUT", request_id="")
    return store


def _resource(number: int, *, patient: str = "ada") -> JsonObject:
    resource: JsonObject = content.parse(json.dumps(parts.result()).encode())
    return {**resource, "id": f"{_NAMED}{number}", "subject": {"reference": f"Patient/{patient}"}}


def _intent(number: int, resource: JsonObject, revision: str) -> Intent:
    client = ClientFacts(id="lab", issuer="https://issuer.example", scopes=("system/Observation.cu",))
    request = RequestFacts(
        interaction=InteractionCode.UPDATE, type="Observation", id=f"{_NAMED}{number}", time="2026-01-15T10:00:00Z"
    )
    began = time.time() - 60.0
    return Intent(
        decision_id=f"{number:032x}",
        write_id=new_write_id(),
        interaction=InteractionCode.UPDATE,
        type="Observation",
        id=f"{_NAMED}{number}",
        body=json.dumps(resource).encode(),
        policy_revision=revision,
        applied=("bench",),
        facts=facts_json(Facts(request=request, client=client, claims={"client_id": "lab"}, resource=resource)),
        client_id="lab",
        issuer="https://issuer.example",
        started_at=began,
        send_deadline=began,
        next_attempt_at=began,
        updated_at=began,
    )


async def _leave(journal: Journal, store: Store, number: int, revision: str) -> None:
    how, resource = left(number), _resource(number)
    held = await journal.begin(_intent(number, resource, revision))
    if how is not Left.ABSENT:
        kept = _resource(number, patient="other") if how is Left.FORBIDDEN else resource
        store.put(("Observation", f"{_NAMED}{number}"), kept, method="PUT", request_id=held.write_id)
    if how in (Left.STORED, Left.COMPENSATING):
        stored = replace(
            held, state=State.STORED, stored_id=f"{_NAMED}{number}", stored_version="1", created=True,
            upstream_status=201,
        )  # fmt: skip
        await journal.advance(stored, expected=State.INTENDED)
        if how is Left.COMPENSATING:
            failed = ("bench/stored-for-the-same-patient",)
            await journal.advance(replace(stored, state=State.COMPENSATING, failed=failed), expected=State.STORED)


async def fill(journal: Journal, store: Store, entries: int, revision: str) -> None:
    """Open entries of a process that is gone once `journal` is closed, and what the server has of them."""
    for first in range(0, entries, _TOGETHER):
        numbers = range(first, min(first + _TOGETHER, entries))
        await asyncio.gather(*(_leave(journal, store, number, revision) for number in numbers))


@dataclass(slots=True, kw_only=True)
class Recovered:
    """What was seen. Times are seconds since the process was started, memory is MB at its peak."""

    ready: float
    first_write: float
    work: float  # seconds of CPU until the first write was answered: a machine that is busy otherwise changes no more
    settled: float = 0.0  # when nothing was open any more; 0 if that was not waited for
    rate: float = 0.0  # entries that were settled each second
    memory: float = 0.0
    writes: list[float] = field(default_factory=list)  # how long each took
    failed: list[tuple[int, float]] = field(default_factory=list)  # status, and how long it took
    revision: str = ""


@asynccontextmanager
async def started(gateway: Running, token: str) -> AsyncIterator[tuple[Recovered, httpx.AsyncClient]]:
    """A gateway process from its start: ready, then the first write answered."""
    began, child = time.perf_counter(), gateway.child
    child.start()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
    try:
        await asyncio.to_thread(child.wait_ready, 60)
        ready = time.perf_counter() - began
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=30, headers=headers) as client:
            assert await _write(client) == httpx.codes.CREATED
            seen = Recovered(ready=ready, first_write=time.perf_counter() - began, work=cpu_seconds([child.pid]))
            seen.revision = (await client.get(f"{gateway.admin}/status")).json()["policies"]["revision"]
            seen.memory = peak_rss([child.pid])
            yield seen, client
    finally:
        await asyncio.to_thread(child.stop, 30)


async def write_for(seen: Recovered, client: httpx.AsyncClient, seconds: float) -> None:
    """One resource after the other, for so long."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        asked = time.perf_counter()
        status = await _write(client)
        seen.writes.append(time.perf_counter() - asked)
        if status != httpx.codes.CREATED:
            seen.failed.append((status, round(seen.writes[-1], 2)))
        await asyncio.sleep(0.02)


async def _write(client: httpx.AsyncClient) -> int:
    answer = await client.post("/fhir/Observation", content=json.dumps(parts.result()).encode())
    return answer.status_code


async def recover(gateway: Running, token: str, journal: Journal, seconds: float) -> Recovered:
    """Start it on a full journal, and write one resource after the other until nothing is open, or time is up.

    `journal` looks on as another process does.
    """
    began, before = time.perf_counter(), await _open(journal)
    async with started(gateway, token) as (seen, client):
        at_work = time.perf_counter()
        while (left := await _open(journal)) and time.perf_counter() < began + seconds:
            await write_for(seen, client, 0.5)
        seen.settled = 0.0 if left else time.perf_counter() - began
        seen.rate = (before - left) / (time.perf_counter() - at_work)
        seen.memory = peak_rss([gateway.child.pid])
    return seen


async def _open(journal: Journal) -> int:
    counts = await journal.counts()
    return sum(counts.states[state] for state in OPEN)
