"""A gateway process under test, and both ways to the FHIR server: through it and directly."""

import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from gateway.sandbox.running import Child, gateway
from gateway.sandbox.serving import free_port
from tests.e2e.servers import Issuer

POLICIES = Path(__file__).parent / "policies"
AUDIENCE = "http://gateway.example/fhir"
CONFIGURATION = """\
listen: 127.0.0.1:{port}
public_url: {base}
admin: 127.0.0.1:{admin_port}
upstream: {{url: "{upstream}", timeout: 20s}}
issuers:
  - issuer: {issuer}
    audiences: ["{audience}"]
    token_types: [at+jwt]
    leeway: 1s
policies: ["{policies}"]
journal: sqlite:journal.db
decision_log: decisions.ndjson
"""
FHIR_JSON = "application/fhir+json"
TOKEN_SECONDS = 120.0  # of the 300 that both issuers give


class Door:
    """One gateway in front of a FHIR server. `log`, `decisions` and `journal` are what it writes."""

    def __init__(self, folder: Path, upstream: str, issuer: Issuer, *, policies: Path = POLICIES) -> None:
        self.folder, self.upstream, self.issuer = folder, upstream, issuer
        self.port, self.admin_port = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}/fhir"
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        self.log, self.decisions, self.journal = (
            folder / name for name in ("gateway.log", "decisions.ndjson", "journal.db")
        )
        self._configuration = folder / "gateway.yaml"
        self._configuration.write_text(
            CONFIGURATION.format(
                port=self.port,
                base=self.base,
                admin_port=self.admin_port,
                upstream=self.upstream,
                issuer=issuer.issuer,
                audience=AUDIENCE,
                policies=policies,
            )
        )
        self.client = httpx.Client(trust_env=False, timeout=30)
        self._token, self._token_until = "", 0.0
        self.process = self._child()

    def _child(self, environment: Mapping[str, str] | None = None) -> Child:
        return gateway(self._configuration, admin_port=self.admin_port, log=self.log, environment=environment)

    def start(self, **environment: str) -> None:
        """Starts the gateway (again), with extra environment variables, and waits until it is ready."""
        self.process = self._child(environment)
        self.process.start().wait_ready()

    @property
    def token(self) -> str:
        """A token that is good for a while yet: a run of all tests takes longer than one lasts."""
        if time.monotonic() > self._token_until:
            self._token, self._token_until = self.issuer.token(), time.monotonic() + TOKEN_SECONDS
        return self._token

    def close(self) -> int | None:
        """Stops the gateway; its exit code."""
        self.client.close()
        return self.process.stop()

    def ask(
        self,
        method: str,
        path: str,
        *,
        content: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        upstream: bool = False,
    ) -> httpx.Response:
        """One request, through the gateway with a token, or directly to the FHIR server."""
        # No coding: each side would compress as it likes, and bodies are compared byte for byte.
        sent = {"accept": FHIR_JSON, "accept-encoding": "identity", **(headers or {})}
        if content is not None:
            sent.setdefault("content-type", FHIR_JSON)
        if not upstream:
            sent.setdefault("authorization", f"Bearer {self.token if token is None else token}")
        base = self.upstream if upstream else self.base
        url = f"{base}/{path}" if path else base
        return self.client.request(method, url, content=content, headers=sent)

    def both(
        self, method: str, path: str, *, content: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[httpx.Response, httpx.Response]:
        """The same request directly and through the gateway."""
        direct = self.ask(method, path, content=content, headers=headers, upstream=True)
        return direct, self.ask(method, path, content=content, headers=headers)

    def configuration(self) -> Path:
        """Its configuration file."""
        return self._configuration

    def open_writes(self) -> int:
        """How many writes are not settled, by /status; 1 when the gateway does not know."""
        counts = self.client.get(f"{self.admin}/status").json()["journal"]
        return 1 if counts is None else sum(counts.get(state, 0) for state in ("intended", "stored", "compensating"))

    def settled(self, seconds: float = 20) -> None:
        """Waits until no write is open. Raises AssertionError with the end of the log."""
        deadline = time.monotonic() + seconds
        while self.open_writes():
            assert time.monotonic() < deadline, self.process.last_lines()
            time.sleep(0.1)

    def seen_directly(self, text: str) -> str:
        """What the gateway showed, with the server's own base instead of the gateway's."""
        return text.replace(self.base, self.upstream)
