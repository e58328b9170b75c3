"""One connection to PostgreSQL that keeps the journal's promises, or none."""

from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from gateway.journal.postgres_together import PostgresConnection
from gateway.journal.statements import migrations
from gateway.saga.journal_port import JournalUnavailable

_MIGRATING = 0x66706779  # an advisory lock of our own: "fpgy"
_DURABLE = ("on", "remote_apply")
# A server that is gone without a word is noticed within ten seconds, a statement that waits, within five.
_OPTIONS = (
    "-c statement_timeout=5s -c lock_timeout=2s -c idle_in_transaction_session_timeout=10s "
    r"-c default_transaction_isolation=read\ committed -c timezone=UTC"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the database is. `options` are libpq's of TLS (sslmode, sslrootcert, sslcert, sslkey).

    The password is read anew for each connection, so it may be changed while the gateway runs.
    """

    host: str
    port: int
    user: str
    database: str
    options: tuple[tuple[str, str], ...] = ()
    password_file: Path | None = None


def connected(target: Target) -> PostgresConnection:
    """A connection whose commits are on disk. Raises psycopg.Error or JournalUnavailable."""
    where = make_conninfo(
        host=target.host,
        port=target.port,
        user=target.user,
        dbname=target.database,
        password=_password(target.password_file),
        application_name="fhir-gateway",
        options=_OPTIONS,
        connect_timeout=3,
        keepalives_idle=4,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        target_session_attrs="read-write",
        **dict(target.options),
    )
    connection = PostgresConnection.connect(where, autocommit=True, row_factory=dict_row)
    try:
        _verify(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def migrated(connection: PostgresConnection) -> None:
    """Bring the schema to this program's version, in one transaction. Raises JournalUnavailable when it is newer."""
    known = migrations("postgresql")[-1].version
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATING,))  # another process may do the same
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
        found = connection.execute("SELECT max(version) AS version FROM schema_version").fetchone()
        version = int((found or {}).get("version") or 0)
        if version > known:
            raise JournalUnavailable(f"its schema {version} is newer than this program's {known}")
        for migration in migrations("postgresql"):
            if migration.version > version:
                connection.execute(migration.script.encode())
                connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (migration.version,))


def _password(file: Path | None) -> str | None:
    """The one line of the file. What libpq would cut off or leave out in silence is refused."""
    if file is None:
        return None
    try:
        password = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        raise JournalUnavailable(f"its password cannot be read: {type(error).__name__}") from error
    if not password:
        raise JournalUnavailable("its password file is empty")
    if len(password.splitlines()) > 1 or "\0" in password:
        raise JournalUnavailable("its password file has more than one line")
    return password


def _verify(connection: PostgresConnection) -> None:
    for name, allowed in (("fsync", ("on",)), ("synchronous_commit", _DURABLE)):
        found = connection.execute("SELECT current_setting(%s) AS value", (name,)).fetchone()
        if found is None or found["value"] not in allowed:
            raise JournalUnavailable(f"the database runs with {name} = {found and found['value']}")
