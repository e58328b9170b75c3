"""One seeded run: clients, replicas, other writers and a server with habits, on virtual time.

Half of the runs keep their journal in a file (who is alive is told by the kernel), half as PostgreSQL does (by leases).
"""

import asyncio
import contextlib
import json
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from gateway.errors import KeyInUse
from gateway.fhir.interaction import Create, InteractionCode
from gateway.fhir.json import JsonObject
from gateway.fhir.write_tag import with_tag
from gateway.identity.principal import Principal, ScopeSet
from gateway.pipeline.claim import Claim, claim_of
from gateway.pipeline.idempotency import KeyedWrites
from gateway.pipeline.request import Trace
from gateway.saga.capability import Capability, FindLost, GuardedDelete
from gateway.saga.intent import OPEN, Intent, State
from gateway.saga.journal_port import JournalUnavailable, NotOwner
from gateway.saga.ports import UpstreamRequest
from gateway.saga.settle import Settled
from gateway.sandbox.quirks import Quirks
from gateway.upstream.capability import HAPI
from tests.faults.leases import Database, leased, with_pauses
from tests.faults.lives import Life, now
from tests.faults.replicas import TIMEOUT, Network, Replica, Weather, inline, server
from tests.saga.world import observation, request

_WORKING_SECONDS = 300.0
_DEADLINE = 900.0  # seconds after the last fault by which nothing may be open (PROMISES 5 and 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """A kind of server, and what a gateway's probes would say of it."""

    name: str
    quirks: Quirks
    capability: Capability


_RECORDING = replace(HAPI, find_lost=FindLost.REQUEST_ID, records_ids=True)
HABITS = (
    Habit(name="hapi", quirks=Quirks.hapi(), capability=_RECORDING),
    # Nobody examined it: what it does with request ids is learned from what is read back.
    Habit(name="hapi, unexamined", quirks=Quirks.hapi(), capability=replace(_RECORDING, records_ids=False)),
    Habit(name="hapi without search", quirks=replace(Quirks.hapi(), source_disabled=True), capability=HAPI),
    Habit(
        name="guarded",
        quirks=replace(Quirks(), versioned_delete=False),
        capability=Capability(guarded_delete=GuardedDelete.IF_MATCH, guarded_update=True),
    ),
    Habit(
        name="unguarded update",
        quirks=replace(Quirks.hapi(), if_match_ignored_on_update=True),
        capability=replace(_RECORDING, guarded_update=False),
    ),
    Habit(name="plain", quirks=replace(Quirks(), versioned_delete=False), capability=Capability()),
    Habit(
        name="skipping",
        quirks=replace(Quirks.hapi(), version_ids="skipping"),
        capability=replace(_RECORDING, numbered_versions=False),
    ),
    Habit(name="never deletes", quirks=replace(Quirks.hapi(), delete_forbidden=True), capability=_RECORDING),
)


_LAB = Principal(
    issuer="https://issuer.example", client_id="lab", subject=None, patient=None, scope_texts=(),
    scopes=ScopeSet(scopes=()), claims={}, expires_at=0.0, enforce_scopes=False,
)  # fmt: skip


# Nothing but the tag tells one write of it from another.
TAGGING = Habit(
    name="tags",
    quirks=replace(Quirks.hapi(), request_id_length=0, source_disabled=True),
    capability=replace(HAPI, find_lost=FindLost.TAG),
)


@dataclass(slots=True, kw_only=True)
class Operation:
    """One write of a client. `settled` stays None when the client never learned how it ended."""

    intent: Intent
    forbidden: bool
    settled: Settled | None = None

    @property
    def key(self) -> str | None:
        """The hash of the client's key, if it had one."""
        return self.intent.idempotency_key

    @property
    def accepted(self) -> bool:
        """Whether the client got a 2xx."""
        answer = self.settled.answer if self.settled else None
        committed = self.settled is not None and self.settled.state is State.COMMITTED
        return committed and answer is not None and answer.status < 300


@dataclass(slots=True, kw_only=True)
class Insistence:
    """One write of a client that asks again under its key until it is told. `told` is the state that it was told."""

    claim: Claim
    tries: int = 0
    replays: int = 0
    told: State | None = None


@dataclass(slots=True)
class Simulation:
    """Everything of one run; the checker reads it when it is over."""

    seed: int
    folder: Path
    given: Habit | None = None
    random: Random = field(init=False)
    habit: Habit = field(init=False)
    network: Network = field(init=False)
    replicas: list[Replica] = field(default_factory=list)
    buried: list[Replica] = field(default_factory=list)  # kept: a dead process' tasks hang, they do not vanish
    operations: list[Operation] = field(default_factory=list)
    insistences: list[Insistence] = field(default_factory=list)
    ended: dict[str, Intent] = field(default_factory=dict)
    calm_seconds: float = 0.0
    deaths: int = 0
    database: Database | None = None  # None: a file
    onlooker: sqlite3.Connection | None = None  # on the file
    births: int = 0

    async def run(self) -> "Simulation":
        """Trouble, then calm; ends when nothing is open any more."""
        self.random = random = Random(self.seed)
        self.habit = self.given or HABITS[self.seed % len(HABITS)]
        if self.seed // len(HABITS) % 2:
            self.database = Database(self.folder)
        truth = server()
        truth.store.quirks = self.habit.quirks
        weather = Weather(random, trouble=random.choice((0.0, 0.1, 0.3, 0.5)))
        clock = truth.store.clock
        truth.store.clock = lambda: clock() - timedelta(days=10)  # long ago, by whichever clock
        for number in range(3):
            truth.store.load(observation("preliminary", id_=f"o{number}", note=f"before-{number}"))
        truth.store.clock = clock
        # Made before any replica is, so that the journal's file is there to be asked.
        first = self._life(mortal=False)
        self.network = Network(weather, truth, self._recorded)
        self.replicas = [await self._replica(first)]
        self.replicas += [await self._replica(self._life()) for _ in range(random.randrange(3))]
        tasks = [asyncio.create_task(self._client(number)) for number in range(random.randrange(2, 6))]
        tasks += [asyncio.create_task(self._stranger()) for _ in range(random.randrange(2))]
        insistent = [asyncio.create_task(self._insistent(number)) for number in range(random.randrange(3))]
        keepers = [asyncio.create_task(self._keeper(place)) for place in range(len(self.replicas))]
        await asyncio.wait(tasks, timeout=_WORKING_SECONDS)
        for task in tasks:
            if task.done():
                task.result()
        weather.calm = True
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        await self._calm(insistent)
        await self._end()
        return self

    def _life(self, *, mortal: bool = True) -> Life:
        random = Random(self.random.random())
        dies = random.randrange(1, 120) if mortal and random.random() < 0.7 else None
        pauses = random.randrange(1, 120) if mortal and random.random() < 0.3 else None
        breaks = random.randrange(1, 200) if mortal and random.random() < 0.2 else None
        life = Life(random, dies, pauses, breaks)
        if mortal and random.random() < 0.2:
            # A clock is set right, or wrong, while the process runs or before it starts.
            # None is a day fast: what such a one noted would be waited for through that day.
            life.step = random.choice((-86_400.0, -120.0, -4.0, 4.0, 120.0))
            life.steps_after = random.choice((0, random.randrange(1, 100)))
        return life if self.database is None else with_pauses(random, life)

    async def _replica(self, life: Life) -> Replica:
        self.births += 1
        journal = inline(self.folder, life) if self.database is None else leased(self.database, self.births, life)
        return await Replica(journal, self.network, self.habit.capability, life, self._holds).start()

    async def _replace(self, place: int, life: Life) -> None:
        self.replicas[place].bury()
        self.buried.append(self.replicas[place])
        self.replicas[place] = await self._replica(life)

    async def _keeper(self, place: int) -> None:
        """Starts a replica again some time after it died."""
        while True:
            await self.replicas[place].life.dead.wait()
            self.deaths += 1
            await asyncio.sleep(self.random.uniform(0.1, 40))
            await self._replace(place, self._life())

    def _recorded(self, write_id: str) -> bool:
        if self.database is not None:
            return self.database.holder(write_id) is not None
        return self._owner(write_id) is not None

    def _holds(self, owner: str, request_id: str) -> bool:
        """Whether a process holds the entry of a write, or of an undo, at this moment."""
        if self.database is not None:
            return self.database.holds(owner, request_id)
        return self._owner(request_id) == owner

    def _owner(self, request_id: str) -> str | None:
        """By a connection of its own: what others could see on the disk."""
        if self.onlooker is None:
            self.onlooker = sqlite3.connect(self.folder / "journal.db", isolation_level=None)
        query = "SELECT owner FROM intent WHERE substr(write_id, 2) = ?"
        row: tuple[str] | None = self.onlooker.execute(query, (request_id[1:],)).fetchone()
        return None if row is None else row[0]

    async def _client(self, number: int) -> None:
        for turn in range(self.random.randrange(1, 5)):
            await asyncio.sleep(self.random.uniform(0, 20))
            place = self.random.randrange(len(self.replicas))
            replica = self.replicas[place]
            if replica.life.dead.is_set():
                continue  # connection refused
            operation, sent = self._write(f"{number}-{turn}", replica.life.clock())
            self.operations.append(operation)
            settling = asyncio.ensure_future(replica.settler.start(operation.intent, sent))
            dying = asyncio.create_task(replica.life.dead.wait())
            waiting: set[asyncio.Future[Any]] = {settling, dying}
            await asyncio.wait(waiting, timeout=200, return_when=asyncio.FIRST_COMPLETED)
            dying.cancel()
            if settling.done():
                with contextlib.suppress(JournalUnavailable):
                    operation.settled = settling.result()

    async def _insistent(self, number: int) -> None:
        """Sends one creation under a key, and again after every lost connection, until it is told what became of it."""
        random = Random(f"{self.seed}-insistent-{number}")
        forbidden = random.random() < 0.3
        body = observation("forbidden" if forbidden else "final", note=f"insists-{number}")
        claim = claim_of(f"key-{number}", Create(type="Observation"), body, _LAB, [b"secret"])
        told = Insistence(claim=claim)
        self.insistences.append(told)
        await asyncio.sleep(random.uniform(0, 20))
        while told.told is None:
            # Two at once now and then: an impatient client whose first request is still under way.
            both = 2 if random.random() < 0.2 else 1
            await asyncio.gather(*(self._try(told, body, random, forbidden=forbidden) for _ in range(both)))
            await asyncio.sleep(random.uniform(1, 6))

    async def _try(self, told: Insistence, body: bytes, random: Random, *, forbidden: bool) -> None:
        """As the pipeline does it: look for the key, else begin under it."""
        replica = random.choice(self.replicas)
        if replica.life.dead.is_set():
            return
        told.tries += 1
        asking = asyncio.ensure_future(self._ask(told, body, replica, random, forbidden=forbidden))
        dying = asyncio.create_task(replica.life.dead.wait())
        waiting: set[asyncio.Future[Any]] = {asking, dying}
        await asyncio.wait(waiting, timeout=random.choice((1.0, 200.0)), return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        if asking.done():
            # Not settled, another one was faster, or no journal: the client comes again.
            with contextlib.suppress(JournalUnavailable, KeyInUse, NotOwner):
                state = asking.result()
                # What is stuck a person looks at: nothing more is to be learned by asking.
                if state in (State.COMMITTED, State.UNDONE, State.STUCK):
                    assert told.told in (None, state)
                    told.told = state

    async def _ask(self, told: Insistence, body: bytes, replica: Replica, random: Random, *, forbidden: bool) -> State:
        keyed = KeyedWrites(
            journal=replica.journal, upstream=replica.port, secrets=[b"secret"], policies=replica.no_policies
        )
        known = await keyed.known(told.claim, Trace(decision_id=""))
        if known is not None:
            told.replays += 1
            return known.state
        intent = replace(
            self._intent(None, body, None, replica.life.clock()),
            idempotency_key=told.claim.keys[0],
            request_hash=told.claim.requests[0],
            read_back=forbidden or random.random() < 0.5,
        )
        operation = Operation(intent=intent, forbidden=forbidden)
        self.operations.append(operation)
        settled = await replica.settler.start(intent, request("POST", "Observation", intent.body))
        operation.settled = settled
        return settled.state

    def _write(self, note: str, started_at: float) -> tuple[Operation, UpstreamRequest]:
        random = self.random
        forbidden = random.random() < 0.5
        status = "forbidden" if forbidden else "final"
        kind = random.choice(("create", "create", "conditional", "update", "update", "fresh"))
        id_: str | None = None
        extra: list[tuple[bytes, bytes]] = []
        condition: str | None = None
        if kind == "conditional":
            note = f"shared-{random.randrange(3)}"
            condition = f"identifier=urn:n|{note}"
            extra.append((b"if-none-exist", condition.encode()))
        elif kind != "create":
            id_ = f"o{random.randrange(3)}" if kind == "update" else f"f{random.randrange(4)}"
        body = observation(status, id_=id_, note=note)
        intent = self._intent(id_, body, condition, started_at)
        guard = intent.prior_version or intent.prior_tombstone
        if guard:
            extra.append((b"if-match", f'W/"{guard}"'.encode()))
        method, path = ("POST", "Observation") if id_ is None else ("PUT", f"Observation/{id_}")
        return Operation(intent=intent, forbidden=forbidden), request(method, path, intent.body, *extra)

    def _intent(self, id_: str | None, body: bytes, condition: str | None, started_at: float) -> Intent:
        current = self.network.server.store.current(("Observation", id_)) if id_ else None
        live = current is not None and not current.deleted
        number = len(self.operations)
        write_id = f"w{number:015d}"
        return Intent(
            decision_id=f"d{number}",
            write_id=write_id,
            interaction=InteractionCode.UPDATE if id_ else InteractionCode.CREATE,
            type="Observation",
            id=id_,
            if_none_exist=condition,
            body=with_tag(body, write_id) if id_ is None and self._tags() else body,
            prior_version=current.version if current is not None and live else None,
            prior_body=json.dumps(current.resource).encode() if current is not None and live else None,
            prior_tombstone=current.version if current is not None and not live else None,
            client_id="lab",
            issuer="https://issuer.example",
            started_at=started_at,
            server_time=float(int(now())),  # as `Date` says it
        )

    def _tags(self) -> bool:
        return self.habit.capability.find_lost is FindLost.TAG

    async def _stranger(self) -> None:
        """Somebody who writes around the gateway: changes, deletes, and refers to what others wrote."""
        store = self.network.server.store
        for number in range(self.random.randrange(1, 6)):
            await asyncio.sleep(self.random.uniform(0, 30))
            live = list(store.live("Observation"))
            if not live:
                continue
            target = self.random.choice(live)
            kind = self.random.choice(("change", "delete", "refer"))
            id_ = f"x{number:015d}".encode()
            if kind == "change":
                body = observation("amended", id_=target.id, note=f"stranger-{number}")
                sent = request("PUT", f"Observation/{target.id}", body, (b"x-request-id", id_))
            elif kind == "delete":
                sent = request("DELETE", f"Observation/{target.id}", b"", (b"x-request-id", id_))
            else:
                about = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
                body = json.dumps({**about, "derivedFrom": [{"reference": f"Observation/{target.id}"}]}).encode()
                sent = request("POST", "Observation", body, (b"x-request-id", id_))
            await self.network.inner._exchange(sent)

    async def _calm(self, insistent: "list[asyncio.Task[None]]") -> None:
        """Everything runs again and the server answers: from here on the deadline counts."""
        for place, replica in enumerate(self.replicas):
            life = Life(Random(self.random.random()), None, None)
            if replica.life.dead.is_set():
                await self._replace(place, life)
            else:
                replica.life.dies_after = replica.life.pauses_after = replica.life.disk_fails_after = None
                if replica.journal.broken is not None or replica.life.step:
                    await self._replace(place, life)  # with a clock that was set right
        began = now()
        if insistent:
            done, _ = await asyncio.wait(insistent, timeout=_DEADLINE)
            for task in done:
                task.result()
        while now() - began < _DEADLINE + 200:  # 200: who stood still at the end of the trouble wakes up first
            awake = all(now() > replica.life.paused_until + TIMEOUT for replica in self.replicas)
            if awake and not self.network.at_work and await self._all_closed():
                break
            await asyncio.sleep(1)
        self.calm_seconds = now() - began
        entries = await self.replicas[0].journal.list(list(State), 10_000)
        self.ended = {entry.write_id: entry for entry in entries}

    async def _all_closed(self) -> bool:
        counts = await self.replicas[0].journal.counts()
        return not any(counts.states[state] for state in OPEN)

    async def _end(self) -> None:
        for replica in self.replicas:
            await replica.settler.close(0)
            await replica.journal.close()
        if self.onlooker is not None:
            self.onlooker.close()


def status_of(resource: JsonObject | None) -> object:
    """The element that decides."""
    return (resource or {}).get("status")
