"""The composition root: a Config in, a wired gateway out. Nothing is decided here."""

import asyncio
import gc
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import httpx
import structlog

from gateway import settings, steady_clock
from gateway.config import Config
from gateway.errors import GatewayError
from gateway.fhir import shape
from gateway.fhir.json import JsonObject
from gateway.identity.authenticator import Authenticator
from gateway.identity.key_fetch import http_client
from gateway.identity.keys import JwksKeys
from gateway.ingress.decision_id import new_decision_id
from gateway.ingress.endpoint import Bases, Endpoint
from gateway.ingress.responses import Reply, error_reply
from gateway.observe.admin import admin_app
from gateway.observe.decision_log import DecisionLog
from gateway.observe.metrics import Metrics
from gateway.pipeline.capabilities import smart_configuration
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.gather import Gatherer
from gateway.pipeline.idempotency import KeyedWrites
from gateway.pipeline.outcome import OutcomeOf
from gateway.pipeline.patients import Patients
from gateway.pipeline.policies import Policies
from gateway.pipeline.read import Reads
from gateway.pipeline.record import Recorder
from gateway.pipeline.request import Trace
from gateway.pipeline.settling import SettleObserver
from gateway.pipeline.statement import Statement
from gateway.pipeline.stored import Reader
from gateway.pipeline.watch import Watch
from gateway.pipeline.write import Writer
from gateway.saga.capability import FindLost
from gateway.saga.intent import new_write_id
from gateway.saga.journal_port import Journal
from gateway.saga.settle import Settler
from gateway.upstream.breaker import Breaker
from gateway.upstream.capability import CapabilityProbe
from gateway.upstream.lookups import UpstreamLookups
from gateway.upstream.measured import Measured
from gateway.upstream.pool import UpstreamConnections
from gateway.upstream.server_clock import ServerClock

_log = structlog.get_logger("app")
_SOUND: JsonObject = {"resourceType": "Basic", "code": {"text": "sound"}}
_DISTRIBUTION = "fhir-policy-gateway"
# Between workers a write by one is not seen by the others' caches, so there every use is revalidated.
_PATIENT_SECONDS = 5.0
_COLLECT_AFTER = (10_000, 10, 10)


def late_after(seconds: float) -> Callable[[], Callable[[], bool]]:
    """Makes a deadline for each decision of phase `after`."""

    def begin() -> Callable[[], bool]:
        late = time.perf_counter() + seconds
        return lambda: time.perf_counter() > late

    return begin


class Application:
    """One gateway process. `asgi` is the clients' port, `admin` the private one."""

    def __init__(
        self,
        *,
        config: Config,
        ports: "Ports",
        settler: Settler,
        watch: Watch,
        endpoint: Endpoint,
        record: Recorder,
    ) -> None:
        self._config = config
        self._ports = ports
        self._settler = settler
        self._watch = watch
        self._record = record
        self._started = False
        self._stopping = False
        self.asgi = endpoint
        self.admin = admin_app(self, ports.metrics.render)

    def refuse(self, error: GatewayError) -> Reply:
        """The answer to a stream that never becomes a request, recorded like any other."""
        trace = Trace(decision_id=new_decision_id())
        reply = error_reply(error, trace.decision_id)
        self._record(trace, reply.status, error)
        header = (b"x-decision-id", trace.decision_id.encode())
        return Reply(status=reply.status, headers=(*reply.headers, header), body=reply.body, close=True)

    async def start(self) -> None:
        """Open the journal, read keys, go on with what an earlier process left open. Raises JournalUnavailable."""
        ports = self._ports
        ports.log.start()
        await ports.client.start()
        # The file is looked through and the others answer while this process has nothing to do: all at once.
        await _together(self._open(), ports.keys.start(), ports.probe.refresh(), asyncio.to_thread(shape.check, _SOUND))
        # Counted before the recovery begins: else its first transaction, and a checkpoint with it, would be waited for.
        await self._watch.look()
        await self._settler.recover()
        self._watch.start()
        self._started = True
        # What was built until here lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        # Of a request little is left but what counting frees; 700 new objects, the usual, are less than one body.
        gc.set_threshold(*_COLLECT_AFTER)
        gc.enable()  # `cli.serve` has switched it off for as long as nothing becomes garbage
        for name in settings.unsafe_of(self._config):
            _log.warning("gateway.unsafe_setting", setting=name)
        _log.info("gateway.started", revision=ports.policies.current().revision)

    async def _open(self) -> None:
        await self._ports.journal.open()
        await self._ports.policies.keep_in(self._ports.journal)

    async def stop(self, grace: float) -> None:
        """Finish or journal what is in flight, then close everything."""
        self._stopping = True
        ports = self._ports
        if self._started:
            await self._watch.stop()
            await self._settler.close(grace)
        await ports.keys.close()
        await ports.http.aclose()
        await ports.client.close()
        await ports.journal.close()
        ports.log.stop()
        ports.metrics.fold()

    async def reload(self) -> None:
        """Load the policies again; a bad set changes nothing but the metric, the log and /status."""
        await self._ports.policies.reload()

    def started(self) -> bool:
        """Whether start-up completed."""
        return self._started

    def not_ready(self) -> tuple[str, ...]:
        """Why no request should be sent here now (operations.md: never the upstream's health)."""
        ports = self._ports
        reasons = {
            "stopping": self._stopping,
            "keys": not ports.keys.ready,
            "journal": ports.journal.broken is not None,
            "decision_log": not ports.log.accepting,
        }
        return tuple(name for name, holds in reasons.items() if holds)

    def describe(self) -> Mapping[str, object]:
        """For /status."""
        ports = self._ports
        current = ports.policies.current()
        counts = self._watch.counts
        capability = ports.probe.capability()
        return {
            "version": version(_DISTRIBUTION),
            "started": self._started,
            "not_ready": self.not_ready(),
            "policies": {
                "revision": current.revision,
                "names": [policy.name for policy in current.policies],
                "loaded_at": ports.policies.loaded_at,
                "last_reload_problems": ports.policies.problems,
            },
            "journal": {state.value: count for state, count in counts.states.items()} if counts else None,
            "upstream": {
                "probed": ports.probe.probed,
                "software": capability.software,
                "guarded_delete": capability.guarded_delete.value,
                "find_lost_writes": capability.find_lost.value,
            },
            "unsafe_settings": settings.unsafe_of(self._config),
        }


async def _together(*parts: Coroutine[Any, Any, object]) -> None:
    """All at once, until each is done. The first that fails ends the others, and what it raised is raised here."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the line reaches the world through, made from the configuration alone."""

    metrics: Metrics
    log: DecisionLog
    policies: Policies
    client: UpstreamConnections
    upstream: Breaker
    server_clock: ServerClock
    probe: CapabilityProbe
    http: httpx.AsyncClient
    keys: JwksKeys
    journal: Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The straight line itself, wired to its ports."""

    dispatcher: Dispatcher
    settler: Settler


def build(config: Config) -> Application:
    """Wire one gateway process. Raises PolicyErrors; opens nothing but the policies and the installation's key."""
    ports = _ports(config)
    line = _line(config, ports)
    recorder = Recorder(metrics=ports.metrics, log=ports.log)
    endpoint = Endpoint(
        line.dispatcher,
        Bases(upstream=_upstream_base(config), public=config.public_url, path=config.base_path.encode()),
        new_decision_id=new_decision_id,
        record=recorder,
        body_limit=config.limits.body,
    )
    watch = Watch(
        policies=ports.policies,
        journal=ports.journal,
        keys=ports.keys,
        issuers=tuple(each.issuer for each in config.issuers),
        probe=ports.probe,
        metrics=ports.metrics,
        backend=settings.backend_of(config),
        reload_changed=config.reload == "watch",
    )
    return Application(
        config=config, ports=ports, settler=line.settler, watch=watch, endpoint=endpoint, record=recorder
    )


def _ports(config: Config) -> Ports:
    metrics = Metrics(shape.resource_types(config.upstream.fhir_version))
    metrics.build_info(version(_DISTRIBUTION))
    metrics.unsafe_settings(settings.unsafe_of(config))
    name, backend = f"{os.uname().nodename}-{os.getpid()}", settings.backend_of(config)
    client = UpstreamConnections(settings.upstream_of(config))
    server_clock = ServerClock()
    upstream = Breaker(Measured(client, metrics, server_clock), settings.breaker_of(config), metrics)
    with ThreadPoolExecutor(1, "certificates") as aside:
        # OpenSSL reads the authorities' certificates, and needs no interpreter for it.
        client_of_issuers = aside.submit(http_client)
        policies = Policies(config.policies, config.upstream.fhir_version, metrics)
    http = client_of_issuers.result()
    base = _upstream_base(config)
    wanted = config.upstream.find_lost_writes
    return Ports(
        metrics=metrics,
        log=DecisionLog(
            config.decision_log,
            metrics,
            key=settings.pseudonym_key_of(config),
            instance=name,
            version=version(_DISTRIBUTION),
        ),
        policies=policies,
        client=client,
        upstream=upstream,
        server_clock=server_clock,
        probe=CapabilityProbe(
            upstream, settings.limits_of(config), base=base, wanted=wanted, kept=settings.capability_of(config)
        ),
        http=http,
        keys=JwksKeys(settings.issuers_of(config), http),
        journal=settings.journal_of(config, name, lambda seconds: metrics.journal_commit(backend, seconds)),
    )


def _line(config: Config, ports: Ports) -> Line:
    limits, bases = settings.limits_of(config), (config.public_url, _upstream_base(config))
    patients = Patients(
        ports.upstream,
        time.monotonic,
        ports.metrics,
        fresh_for=_PATIENT_SECONDS if config.workers == 1 else 0.0,
        limits=limits,
    )
    gatherer = Gatherer(
        upstream=ports.upstream,
        patients=patients,
        bases=bases,
        most_patients=config.limits.patients_per_write,
        limits=limits,
    )
    reader = Reader(
        upstream=ports.upstream,
        gatherer=gatherer,
        limits=limits,
        recorded=ports.policies.recorded,
        late=late_after(config.limits.decision_time),
    )
    settler = Settler(
        ports.upstream,
        ports.journal,
        reader.verify,
        steady_clock.now,
        settings.settle_of(config),
        lookups=UpstreamLookups(ports.upstream, limits, base=_upstream_base(config)),
        capability=ports.probe.capability,
        observer=SettleObserver(ports.metrics),
    )
    keyed = KeyedWrites(
        journal=ports.journal,
        upstream=ports.upstream,
        secrets=settings.idempotency_secrets_of(config),
        policies=ports.policies.recalled,
    )
    writer = Writer(
        upstream=ports.upstream,
        keyed=keyed,
        gatherer=gatherer,
        patients=patients,
        settler=settler,
        reader=reader,
        policies=ports.policies.current,
        limits=limits,
        decision_seconds=config.limits.decision_time,
        recording=lambda: ports.log.accepting,
        guarded_update=lambda: ports.probe.capability().guarded_update,
        assigns_ids=lambda: ports.probe.capability().find_lost is FindLost.ASSIGNED_ID,
        server_time=ports.server_clock.now,
        journals_all=config.journal_writes == "all",
        tags_writes=lambda: ports.probe.capability().find_lost is FindLost.TAG,
        new_write_id=new_write_id,
    )
    reads = Reads(upstream=ports.upstream, bases=bases, limits=limits, forwarded=config.reads == "forward")
    return Line(dispatcher=_dispatcher(config, ports, reads, writer), settler=settler)


def _dispatcher(config: Config, ports: Ports, reads: Reads, writer: Writer) -> Dispatcher:
    issuers = settings.issuers_of(config)
    statement = Statement(
        upstream=ports.upstream,
        public_url=config.public_url,
        writes=lambda: _permitted(ports.policies),
        revision=lambda: ports.policies.current().revision,
        reads=config.reads == "forward",
        clock=time.monotonic,
    )
    return Dispatcher(
        authenticator=Authenticator(issuers, ports.keys),
        reads=reads,
        writer=writer,
        outcomes=OutcomeOf(journal=ports.journal),
        capabilities=statement.read,
        smart_configuration=lambda: smart_configuration(
            [ports.keys.metadata(each.issuer) or {"issuer": each.issuer} for each in issuers],
            algorithms=issuers[0].algorithms,
        ),
        now=time.time,
    )


def _upstream_base(config: Config) -> str:
    return config.upstream.url.rstrip("/")


def _permitted(policies: Policies) -> dict[str, Sequence[str]]:
    found = policies.current().permitted_types()
    return {type_: sorted(code.value for code in codes) for type_, codes in found.items()}
