"""The composition root: a Config in, a wired gateway out. Nothing is decided here."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import httpx
import structlog

from gateway.config import BasicCredentials, BearerCredentials, ClientCredentials, Config
from gateway.errors import GatewayError
from gateway.fhir import shape
from gateway.fhir.resource import BodyLimits
from gateway.identity.authenticator import Authenticator
from gateway.identity.key_fetch import http_client
from gateway.identity.keys import JwksKeys
from gateway.identity.settings import IssuerSettings
from gateway.ingress.decision_id import new_decision_id
from gateway.ingress.endpoint import Bases, Endpoint
from gateway.ingress.responses import Reply, error_reply
from gateway.journal.sqlite import SqliteJournal
from gateway.observe.admin import admin_app
from gateway.observe.decision_log import DecisionLog, installation_key
from gateway.observe.metrics import Metrics
from gateway.pipeline.capabilities import smart_configuration
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.gather import Gatherer
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
from gateway.saga.intent import new_write_id
from gateway.saga.settle import Settler, SettleSettings, crash_point_of
from gateway.upstream import settings as upstream_settings
from gateway.upstream.capability import CapabilityProbe
from gateway.upstream.client import UpstreamClient
from gateway.upstream.lookups import UpstreamLookups
from gateway.upstream.measured import Measured

_log = structlog.get_logger("app")
_DISTRIBUTION = "fhir-policy-gateway"
# Between workers a write by one is not seen by the others' caches, so there every use is revalidated.
_PATIENT_SECONDS = 5.0


def issuers_of(config: Config) -> tuple[IssuerSettings, ...]:
    """The issuers in the words of the identity room."""
    return tuple(
        IssuerSettings(
            issuer=each.issuer,
            audiences=each.audiences,
            jwks_uri=each.jwks_uri,
            algorithms=each.algorithms,
            token_types=each.token_types,
            leeway=each.leeway,
            scopes=each.scopes,
            client_claim=each.claims.client,
            scope_claim=each.claims.scope,
            patient_claim=each.claims.patient,
            allow_insecure=config.allow_insecure,
        )
        for each in config.issuers
    )


def upstream_of(config: Config) -> upstream_settings.UpstreamSettings:
    """The FHIR server in the words of the upstream room."""
    given = config.upstream.credentials
    credentials: upstream_settings.Credentials = upstream_settings.NoCredentials()
    if isinstance(given, BearerCredentials):
        credentials = upstream_settings.BearerFile(token_file=given.token_file)
    elif isinstance(given, BasicCredentials):
        credentials = upstream_settings.Basic(username=given.username, password_file=given.password_file)
    elif isinstance(given, ClientCredentials):
        credentials = upstream_settings.ClientCredentials(
            token_url=given.token_url,
            client_id=given.client_id,
            secret_file=given.client_secret_file,
            scope=given.scope,
        )
    return upstream_settings.UpstreamSettings(
        url=config.upstream.url,
        timeout=config.upstream.timeout,
        max_connections=config.upstream.max_connections,
        credentials=credentials,
    )


def late_after(seconds: float) -> Callable[[], Callable[[], bool]]:
    """Makes a deadline for each decision of phase `after`."""

    def begin() -> Callable[[], bool]:
        late = time.perf_counter() + seconds
        return lambda: time.perf_counter() > late

    return begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What has a life of its own, in the order of its start."""

    config: Config
    metrics: Metrics
    log: DecisionLog
    policies: Policies
    client: UpstreamClient
    probe: CapabilityProbe
    http: httpx.AsyncClient
    keys: JwksKeys
    journal: SqliteJournal
    settler: Settler
    watch: Watch


class Application:
    """One gateway process. `asgi` is the clients' port, `admin` the private one."""

    def __init__(self, parts: Parts, endpoint: Endpoint, record: Callable[[Trace, int, GatewayError | None], None]):
        self._parts = parts
        self._record = record
        self._started = False
        self._stopping = False
        self.asgi = endpoint
        self.admin = admin_app(self, parts.metrics.render)

    def refuse(self, error: GatewayError) -> Reply:
        """The answer to a stream that never becomes a request, recorded like any other."""
        trace = Trace(decision_id=new_decision_id())
        reply = error_reply(error, trace.decision_id)
        self._record(trace, reply.status, error)
        header = (b"x-decision-id", trace.decision_id.encode())
        return Reply(status=reply.status, headers=(*reply.headers, header), body=reply.body, close=True)

    async def start(self) -> None:
        """Open the journal, read keys, go on with what an earlier process left open. Raises JournalUnavailable."""
        parts = self._parts
        parts.log.start()
        await parts.journal.open()
        await parts.policies.keep_in(parts.journal)
        for type_ in parts.policies.current().permitted_types():
            # Element models are compiled on first use: here, not while the first client waits.
            shape.check({"resourceType": type_})
        await parts.client.start()
        await parts.keys.start()
        await parts.probe.refresh()
        await parts.settler.recover()
        await parts.watch.look()
        parts.watch.start()
        self._started = True
        _log.info("gateway.started", revision=parts.policies.current().revision)

    async def stop(self, grace: float) -> None:
        """Finish or journal what is in flight, then close everything."""
        self._stopping = True
        parts = self._parts
        if self._started:
            await parts.watch.stop()
            await parts.settler.close(grace)
        await parts.keys.close()
        await parts.http.aclose()
        await parts.client.close()
        await parts.journal.close()
        parts.log.stop()

    async def reload(self) -> None:
        """Load the policies again; a bad set changes nothing but the metric, the log and /status."""
        await self._parts.policies.reload()

    def started(self) -> bool:
        """Whether start-up completed."""
        return self._started

    def not_ready(self) -> tuple[str, ...]:
        """Why no request should be sent here now (operations.md: never the upstream's health)."""
        parts = self._parts
        reasons = {
            "stopping": self._stopping,
            "keys": not parts.keys.ready,
            "journal": parts.journal.broken is not None,
            "decision_log": not parts.log.accepting,
        }
        return tuple(name for name, holds in reasons.items() if holds)

    def describe(self) -> Mapping[str, object]:
        """For /status."""
        parts = self._parts
        current = parts.policies.current()
        counts = parts.watch.counts
        capability = parts.probe.capability()
        return {
            "version": version(_DISTRIBUTION),
            "started": self._started,
            "not_ready": self.not_ready(),
            "policies": {
                "revision": current.revision,
                "names": [policy.name for policy in current.policies],
                "loaded_at": parts.policies.loaded_at,
                "last_reload_problems": parts.policies.problems,
            },
            "journal": {state.value: count for state, count in counts.states.items()} if counts else None,
            "upstream": {
                "probed": parts.probe.probed,
                "software": capability.software,
                "guarded_delete": capability.guarded_delete.value,
                "find_lost_writes": capability.find_lost.value,
            },
            "unsafe_settings": parts.config.unsafe_settings,
        }


def build(config: Config) -> Application:
    """Wire one gateway process. Raises PolicyErrors; opens nothing but the policies and the installation's key."""
    metrics = Metrics(shape.resource_types("R4"))
    metrics.build_info(version(_DISTRIBUTION))
    metrics.unsafe_settings(config.unsafe_settings)
    policies = Policies(config.policies, config.upstream.fhir_version, metrics)
    log = DecisionLog(
        config.decision_log,
        metrics,
        key=installation_key(config.journal.path.with_name(f"{config.journal.path.name}.key")),
        instance=f"{os.uname().nodename}-{os.getpid()}",
        version=version(_DISTRIBUTION),
    )
    limits = BodyLimits(bytes=config.limits.body, depth=config.limits.depth)
    client = UpstreamClient(upstream_of(config))
    upstream = Measured(client, metrics)
    upstream_base = config.upstream.url.rstrip("/")
    bases = (config.public_url, upstream_base)
    probe = CapabilityProbe(upstream, limits, base=upstream_base, wanted=config.upstream.find_lost_writes)
    http = http_client()
    issuers = issuers_of(config)
    keys = JwksKeys(issuers, http)
    journal = SqliteJournal(config.journal.path, f"{os.uname().nodename}-{os.getpid()}")
    patients = Patients(
        upstream,
        time.monotonic,
        metrics,
        fresh_for=_PATIENT_SECONDS if config.workers == 1 else 0.0,
        limits=limits,
    )
    gatherer = Gatherer(
        upstream=upstream,
        patients=patients,
        bases=bases,
        most_patients=config.limits.patients_per_write,
        limits=limits,
    )
    reader = Reader(
        upstream=upstream,
        gatherer=gatherer,
        limits=limits,
        recorded=policies.recorded,
        late=late_after(config.limits.decision_time),
    )
    settler = Settler(
        upstream,
        journal,
        reader.verify,
        time.time,
        SettleSettings(
            live_wait=config.upstream.timeout,
            late_apply=config.upstream.timeout + 5.0,
            limits=limits,
            crash_at=crash_point_of(os.environ),
        ),
        lookups=UpstreamLookups(upstream, limits, base=upstream_base),
        capability=probe.capability,
        observer=SettleObserver(metrics),
    )
    watch = Watch(
        policies=policies,
        journal=journal,
        keys=keys,
        issuers=tuple(each.issuer for each in issuers),
        probe=probe,
        metrics=metrics,
        reload_changed=config.reload == "watch",
        journal_broken=lambda: journal.broken,
    )
    statement = Statement(
        upstream=upstream,
        public_url=config.public_url,
        writes=lambda: _permitted(policies),
        revision=lambda: policies.current().revision,
        reads=config.reads == "forward",
        clock=time.monotonic,
    )
    recorder = Recorder(metrics=metrics, log=log)
    dispatcher = Dispatcher(
        authenticator=Authenticator(issuers, keys),
        reads=Reads(upstream=upstream, bases=bases, limits=limits, forwarded=config.reads == "forward"),
        writer=Writer(
            upstream=upstream,
            gatherer=gatherer,
            patients=patients,
            settler=settler,
            reader=reader,
            policies=policies.current,
            limits=limits,
            decision_seconds=config.limits.decision_time,
            new_write_id=new_write_id,
        ),
        outcomes=OutcomeOf(journal=journal),
        capabilities=statement.read,
        smart_configuration=lambda: smart_configuration(
            [keys.metadata(each.issuer) or {"issuer": each.issuer} for each in issuers],
            algorithms=issuers[0].algorithms,
        ),
        now=time.time,
    )
    endpoint = Endpoint(
        dispatcher,
        Bases(upstream=upstream_base, public=config.public_url, path=config.base_path.encode()),
        new_decision_id=new_decision_id,
        record=recorder,
        body_limit=config.limits.body,
    )
    parts = Parts(
        config=config,
        metrics=metrics,
        log=log,
        policies=policies,
        client=client,
        probe=probe,
        http=http,
        keys=keys,
        journal=journal,
        settler=settler,
        watch=watch,
    )
    return Application(parts, endpoint, recorder)


def _permitted(policies: Policies) -> dict[str, Sequence[str]]:
    found = policies.current().permitted_types()
    return {type_: sorted(code.value for code in codes) for type_, codes in found.items()}
