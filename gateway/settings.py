"""The configuration in the words of each room: one frozen value of settings for each."""

import hmac
import os
from collections.abc import Callable
from pathlib import Path

from gateway.config import (
    BasicCredentials,
    BearerCredentials,
    ClientCredentials,
    Config,
    ConfigErrors,
    ConfigProblem,
    SqliteFile,
)
from gateway.fhir.resource import BodyLimits
from gateway.identity.settings import IssuerSettings
from gateway.journal.sealing import derived_key, derived_keys
from gateway.journal.sqlite import SqliteJournal
from gateway.observe.decision_log import installation_key
from gateway.saga.journal_port import Journal
from gateway.saga.settle import SettleSettings, crash_point_of
from gateway.upstream import capability_file
from gateway.upstream import settings as upstream_settings
from gateway.upstream.breaker import BreakerSettings
from gateway.upstream.capability import Capability
from gateway.upstream.probes_harmless import Software

# How much longer than its own time-out the server may still be at work on a write.
_LATE_SECONDS = 5.0
_LONGEST_WAIT = 5.0  # for an exchange to come free; a write that waits has not left yet


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


def breaker_of(config: Config) -> BreakerSettings:
    """How many requests the FHIR server is asked at once, and how many may wait."""
    upstream = config.upstream
    longest = min(_LONGEST_WAIT, upstream.timeout)
    return BreakerSettings(at_once=upstream.max_connections, waiting=upstream.max_waiting, longest_wait=longest)


def capability_of(config: Config) -> tuple[Software, Capability] | None:
    """What a doctor found out about the server. Raises ConfigErrors."""
    path = config.upstream.capability_file
    if path is None:
        return None
    try:
        software, capability = capability_file.read(path)
    except capability_file.BadCapabilityFile as error:
        raise _wrong(path, str(error)) from None
    if config.upstream.purge == "expunge" and not capability.purges:
        raise _wrong(path, "the server was found unable to purge history: set upstream.purge to none")
    return software, capability


def _wrong(path: Path, message: str) -> ConfigErrors:
    return ConfigErrors((ConfigProblem(file=str(path), line=1, column=1, message=message),))


def limits_of(config: Config) -> BodyLimits:
    """How large and deep a body may be."""
    return BodyLimits(bytes=config.limits.body, depth=config.limits.depth)


def settle_of(config: Config) -> SettleSettings:
    """How writes are settled."""
    return SettleSettings(
        live_wait=config.upstream.timeout,
        late_apply=breaker_of(config).longest_wait + config.upstream.timeout + _LATE_SECONDS,
        limits=limits_of(config),
        purge=config.upstream.purge == "expunge",
        crash_at=crash_point_of(os.environ),
    )


def unsafe_of(config: Config) -> tuple[str, ...]:
    """The overrides of safety in force, for log, metrics and /status (PROMISES 13)."""
    crash = crash_point_of(os.environ)
    return config.unsafe_settings if crash is None else (*config.unsafe_settings, f"crash at {crash.value}")


def journal_of(config: Config, name: str, committed: Callable[[float], None] | None = None) -> Journal:
    """The journal that is configured, not open yet. `name` tells its owners apart in logs."""
    place = config.journal
    if isinstance(place, SqliteFile):
        return SqliteJournal(place.path, name, committed=committed, key_file=config.journal_key_file)
    # psycopg takes a tenth of a start: it is for those who have a database. Imported here, which is before anything
    # is opened, so that an installation without it is found out at once.
    from gateway.journal.postgres import PostgresJournal  # noqa: PLC0415
    from gateway.journal.postgres_connection import Target  # noqa: PLC0415

    target = Target(
        host=place.host,
        port=place.port,
        user=place.user,
        database=place.database,
        options=place.options,
        password_file=config.journal_password_file,
    )
    assert config.journal_key_file is not None  # noqa: S101 (config.load refuses a database without it)
    return PostgresJournal(target, name, key_file=config.journal_key_file, committed=committed)


def backend_of(config: Config) -> str:
    """What the journal is kept in, as the metrics call it."""
    return "sqlite" if isinstance(config.journal, SqliteFile) else "postgresql"


def pseudonym_key_of(config: Config) -> bytes:
    """The key of the hashes in the decision log: the same for all who share a journal. Raises OSError, ValueError."""
    place = config.journal
    if isinstance(place, SqliteFile):
        return installation_key(place.path.with_name(f"{place.path.name}.key"))
    assert config.journal_key_file is not None  # noqa: S101 (config.load refuses a database without it)
    return derived_key(config.journal_key_file, "decision log")


def idempotency_secrets_of(config: Config) -> tuple[bytes, ...]:
    """What keys the hashes of Idempotency-Keys in the journal, newest first. Raises OSError, ValueError."""
    if isinstance(config.journal, SqliteFile):
        return (hmac.digest(pseudonym_key_of(config), b"idempotency", "sha256"),)
    assert config.journal_key_file is not None  # noqa: S101 (config.load refuses a database without it)
    return derived_keys(config.journal_key_file, "idempotency")
