"""Two real gateway processes over one journal in PostgreSQL, before one FHIR server."""

import base64
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from gateway.journal.postgres_connection import Target
from gateway.journal.postgres_writer import LEASE_SECONDS
from gateway.sandbox.running import gateway_command
from tests.e2e.postgresql import PASSWORD, PostgreSql
from tests.faults.processes import OPEN, Gateway, Nursery, Site

TAKEOVER = LEASE_SECONDS + 45
_LISTED = "decision_id, write_id, state, coalesce(stored_id, ''), coalesce(reason, '')"


@dataclass(slots=True)
class Replica(Gateway):
    """One of several gateways over a database."""

    database: Target = field(kw_only=True)
    key: bytes = field(kw_only=True)

    def __post_init__(self) -> None:
        Gateway.__post_init__(self)
        configuration = self.folder / "gateway.yaml"
        at = self.database
        journal = (
            f"journal: postgresql://{at.user}@{at.host}:{at.port}/{at.database}\n"
            "journal_password_file: password\njournal_key_file: key"
        )
        configuration.write_text(configuration.read_text().replace("journal: sqlite:journal.db", journal))
        for name, content in (("password", PASSWORD.encode()), ("key", self.key)):
            (self.folder / name).write_bytes(content)
            (self.folder / name).chmod(0o600)

    def verb(self, *arguments: str) -> str:
        """What `fhir-gateway journal` prints."""
        command = [str(gateway_command()), "journal", *arguments, "--config", str(self.folder / "gateway.yaml")]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def logged(self) -> str:
        """Its log so far."""
        return (self.folder / "log").read_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of the journal."""

    decision_id: str
    write_id: str
    state: str
    stored_id: str
    reason: str


@dataclass(slots=True)
class Replicas:
    """Two gateways, one database, one FHIR server."""

    server: PostgreSql
    database: Target
    site: Site
    pair: tuple[Replica, Replica]

    @classmethod
    def made(cls, folder: Path, server: PostgreSql, site: Site, nursery: Nursery) -> "Replicas":
        """Over a fresh database; none is started."""
        database, key = server.database(), base64.b64encode(os.urandom(32))
        first, second = (
            Replica(folder / name, nursery, site, database=database, key=key) for name in ("first", "second")
        )
        return cls(server, database, site.refresh(), (first, second))

    def states(self) -> dict[str, int]:
        """How many entries of the journal are in each state; empty states are left out."""
        rows = self.server.sql("SELECT state, count(*) FROM intent GROUP BY state", database=self.database.database)
        return {state: int(count) for state, _, count in (row.partition("|") for row in rows.splitlines())}

    def entries(self) -> list[Entry]:
        """The whole journal."""
        rows = self.server.sql(f"SELECT {_LISTED} FROM intent", database=self.database.database)
        names = ("decision_id", "write_id", "state", "stored_id", "reason")
        return [Entry(**dict(zip(names, row.split("|", 4), strict=True))) for row in rows.splitlines()]

    def settled(self) -> None:
        """Wait until no write is open."""
        self.pair[1].until(lambda: not self.states().keys() & OPEN, TAKEOVER)

    def unsettled(self) -> list[dict[str, str]]:
        """What `journal list` shows."""
        found: list[dict[str, str]] = json.loads(self.pair[1].verb("list", "-o", "json"))
        return found

    def kill(self) -> None:
        """Both, if they still run."""
        for replica in self.pair:
            replica.kill()
