"""A settler, a real journal file and the sandbox's FHIR server in one process, with every request on record."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path

from starlette.types import Message, Scope

from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.journal.sqlite import SqliteJournal
from gateway.saga.capability import Capability, FindLost, GuardedDelete
from gateway.saga.compensation import UndoAction
from gateway.saga.intent import Intent, State, new_write_id
from gateway.saga.ports import AnswerLost, NotSent, StreamedAnswer, TooLate, UpstreamAnswer, UpstreamRequest
from gateway.saga.settle import CrashPoint, Settled, Settler, SettleSettings, Verified
from gateway.saga.table import Event
from gateway.sandbox.fhir_server import FhirServer
from gateway.upstream.capability import HAPI
from gateway.upstream.lookups import UpstreamLookups

BASE = "http://fhir.example/fhir"
LIMITS = BodyLimits()
PATIENT = b'{"resourceType":"Patient","id":"p1","active":true}'
CAPABILITY = replace(HAPI, find_lost=FindLost.REQUEST_ID)
CONSERVATIVE = Capability()
IF_MATCH = replace(CONSERVATIVE, guarded_delete=GuardedDelete.IF_MATCH)


class Died(BaseException):
    """The process was killed, as far as the code under test can tell."""


@dataclass(slots=True)
class AsgiUpstream:
    """The upstream port over an ASGI application. A caller that gives up does not stop the server."""

    server: FhirServer
    timeout: float = 0.15
    unreachable: bool = False
    requests: list[UpstreamRequest] = field(default_factory=list)
    before: list[Callable[[UpstreamRequest], Awaitable[UpstreamAnswer | None]]] = field(default_factory=list)
    running: set["asyncio.Task[UpstreamAnswer]"] = field(default_factory=set)

    async def send(self, request: UpstreamRequest, *, seconds: float | None = None) -> UpstreamAnswer:
        if self.unreachable:
            raise NotSent("refused")
        if request.may_leave is not None and not request.may_leave():
            raise TooLate
        for hook in tuple(self.before):
            if (answer := await hook(request)) is not None:
                return answer
        self.requests.append(request)
        task = asyncio.create_task(self._exchange(request))
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        done, _ = await asyncio.wait({task}, timeout=self.timeout)
        if not done:
            raise AnswerLost("no answer in time", timed_out=True)
        return task.result()

    def stream(self, request: UpstreamRequest) -> StreamedAnswer:
        raise NotImplementedError

    async def _exchange(self, request: UpstreamRequest) -> UpstreamAnswer:
        sent: list[Message] = []
        scope: Scope = {
            "type": "http",
            "scheme": "http",
            "method": request.method,
            "path": f"/fhir/{request.path}",
            "raw_path": f"/fhir/{request.path}".encode(),
            "query_string": request.query.encode(),
            "headers": [(b"host", b"fhir.example"), *request.headers],
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.server(scope, receive, send)
        if len(sent) == 1:
            raise AnswerLost("the answer broke off")
        headers = tuple((name.lower(), value) for name, value in sent[0]["headers"])
        date = (b"date", formatdate(usegmt=True).encode())
        return UpstreamAnswer(status=sent[0]["status"], headers=(*headers, date), body=sent[1]["body"])


@dataclass(slots=True)
class Watcher:
    """Keeps what the settler says."""

    moves: list[tuple[State, Event]] = field(default_factory=list)
    undos: list[tuple[UndoAction, str]] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    defects: list[BaseException] = field(default_factory=list)

    def transition(self, intent: Intent, event: Event) -> None:
        self.moves.append((intent.state, event))

    def undo(self, action: UndoAction, result: str, seconds: float) -> None:
        assert seconds >= 0
        self.undos.append((action, result))

    def stuck(self, intent: Intent, reason: str) -> None:
        self.alarms.append(reason)

    def defect(self, decision_id: str, error: BaseException) -> None:
        self.defects.append(error)


SETTINGS = SettleSettings(
    live_wait=0.5,
    late_apply=0.3,
    send_window=2.0,
    backoff_first=0.02,
    backoff_most=0.05,
    most_refusals=3,
    concurrency=4,
    sweep_every=0.02,
)


@dataclass(slots=True)
class World:
    """One gateway process after another over the same journal file and the same FHIR server."""

    folder: Path
    settings: SettleSettings = SETTINGS
    capability: Capability = CAPABILITY
    server: FhirServer = field(default_factory=FhirServer)
    holds: Callable[[JsonObject], bool] = lambda stored: stored.get("status") != "forbidden"
    watcher: Watcher = field(default_factory=Watcher)
    make_journal: Callable[[Path, str], SqliteJournal] = SqliteJournal
    count: int = 0
    upstream: AsgiUpstream = field(init=False)
    journal: SqliteJournal = field(init=False)
    settler: Settler = field(init=False)

    def __post_init__(self) -> None:
        self.upstream = AsgiUpstream(self.server)
        self.server.store.load(PATIENT)

    async def begin(self, *, crash_at: CrashPoint | None = None) -> "World":
        """A new process."""
        self.journal = self.make_journal(self.folder / "journal.db", "worker")
        await self.journal.open()
        self.settler = Settler(
            self.upstream,
            self.journal,
            self.verify,
            time.time,
            replace(self.settings, crash_at=crash_at),
            lookups=UpstreamLookups(self.upstream, LIMITS, base=BASE),
            capability=lambda: self.capability,
            observer=self.watcher,
            crash=self.die,
        )
        return self

    async def end(self) -> None:
        await self.settler.close(1.0)
        await self.journal.close()

    def die(self) -> None:
        raise Died

    async def buried(self) -> None:
        """After `Died`: the kernel frees the lock; the lock's file stays."""
        self.journal._lock.abandon()
        await self.journal._writer.close()

    async def verify(self, intent: Intent, stored: JsonObject) -> Verified:
        holds = self.holds(stored)
        return Verified(holds=holds, failed=() if holds else ("policy/rule",), detail="judged")

    async def recovered(self, seconds: float = 3.0) -> None:
        """Sweep until nothing is open."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.settler.recovered()
            if (await self.journal.counts()).oldest_open_at is None:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"still open: {(await self.journal.counts()).states}")

    async def until(self, state: State, count: int = 1) -> None:
        """Wait for the background to bring so many entries into a state."""
        for _ in range(300):
            if (await self.journal.counts()).states[state] >= count:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"no {state} in time")

    def put(self, id_: str, status: str = "final", *, note: str = "") -> None:
        """Somebody writes around the gateway."""
        self.server.store.load(observation(status, id_=id_, note=note))

    def intent(self, code: InteractionCode, body: bytes, *, id_: str | None = None, **more: str | None) -> Intent:
        """An intent for an Observation, its prior version read as the pipeline would."""
        self.count += 1
        current = self.server.store.current(("Observation", id_)) if id_ else None
        live = current is not None and not current.deleted
        prior = None if current is None or not live else bytes_of(current.resource or {})
        return Intent(
            decision_id=f"d{self.count}",
            write_id=new_write_id(),
            interaction=code,
            type="Observation",
            id=id_,
            if_none_exist=more.get("if_none_exist"),
            body=body,
            prior_version=current.version if current is not None and live else None,
            prior_body=prior,
            prior_tombstone=current.version if current is not None and not live else None,
            client_id="lab",
            issuer="https://issuer.example",
            started_at=time.time(),
            server_time=time.time(),
        )

    async def create(self, status: str = "final", *, if_none_exist: str | None = None, note: str = "") -> Settled:
        body = observation(status, note=note)
        intent = self.intent(InteractionCode.CREATE, body, if_none_exist=if_none_exist)
        extra = ((b"if-none-exist", if_none_exist.encode()),) if if_none_exist else ()
        return await self.settler.run(intent, request("POST", "Observation", body, *extra))

    async def update(
        self, id_: str, status: str = "final", *, note: str = "", prepared: Intent | None = None
    ) -> Settled:
        body = observation(status, id_=id_, note=note)
        intent = prepared or self.intent(InteractionCode.UPDATE, body, id_=id_)
        guard = intent.prior_version or intent.prior_tombstone
        extra = ((b"if-match", f'W/"{guard}"'.encode()),) if guard else ()
        return await self.settler.run(intent, request("PUT", f"Observation/{id_}", body, *extra))

    def statuses(self) -> list[object]:
        """The `status` of every live Observation."""
        return [(version.resource or {}).get("status") for version in self.server.store.live("Observation")]

    def writes_sent(self) -> list[tuple[str, str]]:
        """Method and path of everything sent that is no read, but for undos."""
        return [
            (each.method, each.path)
            for each in self.upstream.requests
            if each.method != "GET" and not dict(each.headers)[b"x-request-id"].startswith(b"U")
        ]


def observation(status: str, *, id_: str | None = None, note: str = "") -> bytes:
    identity = f'"id":"{id_}",' if id_ else ""
    more = f',"identifier":[{{"system":"urn:n","value":"{note}"}}]' if note else ""
    return (
        f'{{"resourceType":"Observation",{identity}"status":"{status}","code":{{"text":"x"}},'
        f'"subject":{{"reference":"Patient/p1"}}{more}}}'
    ).encode()


def bytes_of(resource: JsonObject) -> bytes:
    return json.dumps(resource).encode()


def read(body: bytes) -> JsonObject:
    return parse(body, LIMITS)


def request(method: str, path: str, body: bytes, *extra: tuple[bytes, bytes]) -> UpstreamRequest:
    headers = ((b"content-type", b"application/fhir+json"), *extra)
    return UpstreamRequest(method=method, path=path, headers=headers, body=body)
