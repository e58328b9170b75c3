"""The parts that the tests of this room share: a clock to set, an issuer with real keys, its settings."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import hypothesis
from ruamel.yaml import YAML

from gateway.identity.key_set import KeySet, read_key_set
from gateway.identity.principal import Principal
from gateway.identity.settings import ALGORITHMS, IssuerSettings
from gateway.identity.token import verify
from gateway.sandbox.issuer import SandboxIssuer

# The machine may be busy: what a property says does not depend on how long hypothesis takes.
PATIENTLY = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
NOW = 1_750_000_000.0
ISSUER = "https://id.example/realms/push"
AUDIENCE = "https://fhir.example/fhir"
SETTINGS = IssuerSettings(issuer=ISSUER, audiences=(AUDIENCE,), algorithms=ALGORITHMS, leeway=30.0)


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def settings(**changes: Any) -> IssuerSettings:
    """The usual settings with changes."""
    return dataclasses.replace(SETTINGS, **changes)


def keys_of(issuer: SandboxIssuer, algorithms: tuple[str, ...] = ALGORITHMS) -> KeySet:
    """The keys that the issuer publishes, as the gateway reads them."""
    return KeySet(keys=read_key_set(issuer.key_set(), algorithms))


def verified(token: str, issuer: SandboxIssuer, *, now: float = NOW, by: IssuerSettings | None = None) -> Principal:
    """The principal of a token of the one configured issuer."""
    by = by or SETTINGS
    return verify(token, {by.issuer: by}, {by.issuer: keys_of(issuer)}, now)


def client_of(issuer: SandboxIssuer) -> httpx.AsyncClient:
    """An HTTP client that reaches the issuer in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=issuer.app), trust_env=False)


def cases(name: str) -> list[Mapping[str, Any]]:
    """The table `tests/cases/<name>`."""
    path = Path(__file__).parent.parent / "cases" / name
    loaded: list[Mapping[str, Any]] = YAML(typ="safe", pure=True).load(path)
    return loaded
