"""Real servers from packages, each on a free loopback port: HAPI, Keycloak, Prometheus."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from gateway.sandbox.running import Child
from gateway.sandbox.serving import free_port

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
ALL = "system/*.cu system/*.rs"
START_SECONDS = 600  # the first start of a machine fetches and builds


class Issuer(Protocol):
    """Who gives tokens: `issuer` is its name."""

    @property
    def issuer(self) -> str: ...

    def token(self, client: str = "lab", scope: str = ALL) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Hapi:
    """A running HAPI. `base` is its FHIR base."""

    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keycloak:
    """A running Keycloak with the realm `push`. `issuer` is the realm's name."""

    issuer: str

    def token(self, client: str = "lab", scope: str = ALL) -> str:
        """An access token for one of the realm's clients; its secret is its name and `-secret`."""
        return _token(f"{self.issuer}/protocol/openid-connect/token", client, scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxTokens:
    """The sandbox's issuer, which knows the same clients."""

    issuer: str

    def token(self, client: str = "lab", scope: str = ALL) -> str:
        """An access token."""
        return _token(f"{self.issuer}/token", client, scope)


def _token(url: str, client: str, scope: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": client, "client_secret": f"{client}-secret"}
    answer = httpx.post(url, data={**form, "scope": scope}, trust_env=False, timeout=30)
    token: str = answer.raise_for_status().json()["access_token"]
    return token


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Everything that the tests of one run share."""

    hapi: Hapi
    keycloak: Keycloak


def start(kind: str, port: int, stack: ExitStack) -> None:
    """Starts one of deploy/*, and ends it with `stack`. Raises CalledProcessError with the end of its log."""
    stack.callback(stop, kind, port)
    started = subprocess.run(
        [DEPLOY / kind / "start.sh", str(port)], capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    assert started.returncode == 0, f"{kind}: {started.stderr}"


def stop(kind: str, port: int) -> None:
    """Ends what `start` started."""
    subprocess.run([DEPLOY / kind / "stop.sh", str(port)], check=True, capture_output=True)


def start_all(stack: ExitStack) -> Servers:
    """HAPI and Keycloak side by side."""
    hapi_port, keycloak_port = free_port(), free_port()
    with ThreadPoolExecutor(2) as pool:
        for started in [
            pool.submit(start, "hapi", hapi_port, stack),
            pool.submit(start, "keycloak", keycloak_port, stack),
        ]:
            started.result()
    return Servers(
        hapi=Hapi(base=f"http://127.0.0.1:{hapi_port}/fhir"),
        keycloak=Keycloak(issuer=f"http://127.0.0.1:{keycloak_port}/realms/push"),
    )


def prometheus(folder: Path, target: str) -> tuple[Child, str]:
    """A Prometheus that scrapes one target every second, not started yet; and its URL."""
    port = free_port()
    rules = sorted((DEPLOY / "prometheus").glob("*.yaml"))
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{', '.join(str(path) for path in rules)}]\n"
        f"scrape_configs: [{{job_name: fhir-gateway, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    url = f"http://127.0.0.1:{port}"
    return Child(command, log=folder / "prometheus.log", ready=f"{url}/-/ready", environment=dict(os.environ)), url
