"""A gateway process under test, and both ways to the FHIR server: through it and directly."""

from collections.abc import Mapping
from pathlib import Path

import httpx

from gateway.sandbox.running import Child, gateway
from gateway.sandbox.serving import free_port
from tests.e2e.servers import Servers

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


class Door:
    """One gateway in front of HAPI. `log`, `decisions` and `journal` are what it writes."""

    def __init__(self, folder: Path, servers: Servers, *, policies: Path = POLICIES) -> None:
        self.folder, self.servers = folder, servers
        self.port, self.admin_port = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}/fhir"
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        self.upstream = servers.hapi.base
        self.log, self.decisions = folder / "gateway.log", folder / "decisions.ndjson"
        self._configuration = folder / "gateway.yaml"
        self._configuration.write_text(
            CONFIGURATION.format(
                port=self.port,
                base=self.base,
                admin_port=self.admin_port,
                upstream=self.upstream,
                issuer=servers.keycloak.issuer,
                audience=AUDIENCE,
                policies=policies,
            )
        )
        self.client = httpx.Client(trust_env=False, timeout=30)
        self.token = servers.keycloak.token()
        self.process = self._child()

    def _child(self, environment: Mapping[str, str] | None = None) -> Child:
        return gateway(self._configuration, admin_port=self.admin_port, log=self.log, environment=environment)

    def start(self, **environment: str) -> None:
        """Starts the gateway (again), with extra environment variables, and waits until it is ready."""
        self.process = self._child(environment)
        self.process.start().wait_ready()

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
        """One request, through the gateway with a token, or directly to HAPI."""
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

    def seen_directly(self, text: str) -> str:
        """What the gateway showed, with the server's own base instead of the gateway's."""
        return text.replace(self.base, self.upstream)
