"""What the benchmark runs: a stub FHIR server and a proxy by nginx, the bare pass-through, an issuer, the gateway."""

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.sandbox.issuer import SandboxIssuer
from gateway.sandbox.running import Child, gateway
from gateway.sandbox.serving import free_port, server

PATIENT = {
    "resourceType": "Patient",
    "id": "ada",
    "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00.000Z"},
    "identifier": [{"system": "https://plan.example/member", "value": "M-1"}],
    "name": [{"family": "Example", "given": ["Ada"]}],
    "birthDate": "1970-01-01",
}
CLAIMS = {"client_id": "lab", "sub": "lab", "scope": "system/Observation.cu", "org_type": "lab"}
_NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-f; uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s;
  {upstream}
  server {{
    listen 127.0.0.1:{port};
    default_type application/fhir+json;
    {location}
  }}
}}
"""
_STUB = """\
location / {{ return 200 '{{}}'; }}
location /fhir/Patient/ada {{ add_header ETag 'W/"1"' always; return 200 '{patient}'; }}
location = /fhir/metadata {{ return 200 '{{"resourceType": "CapabilityStatement", "software": {{"name": "stub"}}}}'; }}
location /fhir/Observation/1/_history/1 {{ add_header ETag 'W/"1"' always; return 200 '{stored}'; }}
location /fhir/Observation {{
      add_header ETag 'W/"1"' always;
      add_header Location 'http://127.0.0.1:{port}/fhir/Observation/1/_history/1' always;
      return 201 '{stored}';
    }}"""
_CONFIGURATION = """\
listen: 127.0.0.1:{port}
public_url: http://127.0.0.1:{port}/fhir
admin: 127.0.0.1:{admin_port}
upstream: {{url: "{origin}/fhir", timeout: {timeout}}}
issuers: [{{issuer: "{issuer}", jwks_uri: "{issuer}/keys", audiences: [bench]}}]
policies: [{policy}]
decision_log: {name}.ndjson
{journal}
"""
# Judged on what the server stored: in mode `audit` the answer is read back, enforced the write is journalled as well.
_AFTER = """\
  - id: stored-for-the-same-patient
    phase: after
    mode: {mode}
    cel: stored.?subject.?reference == resource.?subject.?reference
    deny: {{code: conflict, message: The server filed the result under another patient.}}
"""


def result() -> dict[str, object]:
    """An Observation of about 1.5 kB."""
    coding = [
        {"system": "http://loinc.org", "code": f"{number}-4", "display": f"Hemoglobin A1c in blood, form {number}"}
        for number in range(4548, 4554)
    ]
    kind = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [kind]}],
        "code": {"coding": coding, "text": "HbA1c"},
        "subject": {"reference": "Patient/ada"},
        "effectiveDateTime": "2026-01-15T08:30:00Z",
        "issued": "2026-01-15T09:30:00.000Z",
        "performer": [{"display": "Example Laboratory"}],
        "valueQuantity": {"value": 6.1, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
        "note": [{"text": "Taken fasting. " * 12}],
        "referenceRange": [{"low": {"value": 4.0, "unit": "%"}, "high": {"value": 6.0, "unit": "%"}}],
    }


def policy(rules: int, after: str | None = None) -> str:
    """A policy with a number of CEL rules, all of which hold, over different elements. `after`: a mode for one more."""
    expressions = (
        "patient.identifier.exists(i, has(i.system) && i.system == 'https://plan.example/member')",
        "resource.status in ['final', 'amended', 'corrected']",
        "!resource.meta.security.exists(s, has(s.code) && s.code in ['R', 'V'])",
        "resource.category.exists(c, c.coding.exists(d, has(d.code) && d.code == 'laboratory'))",
        "resource.code.coding.size() >= {number} % 3",
        "has(resource.valueQuantity) && resource.valueQuantity.unit != 'u{number}'",
        "resource.?subject.?reference.orValue('').startsWith('Patient/')",
        "resource.performer.size() < 100 + {number}",
        "resource.?effectiveDateTime.orValue('') > '2000-01-{number:02d}'",
        "claims.client_id != 'nobody-{number}'",
    )
    lines = [
        "policy: bench",
        "title: The benchmark's",
        "owner: nobody",
        "permit: [create, update]",
        "resources: [Observation]",
    ]
    lines += ["patient: required", *(["rules:"] if rules else [])]
    for number in range(rules):
        cel = expressions[number % len(expressions)].format(number=number)
        lines += [f"  - id: rule-{number}", f"    cel: {json.dumps(cel)}"]
        lines += [f"    deny: {{code: business-rule, message: Rule {number} did not hold.}}"]
    return "\n".join(lines) + "\n" + (_AFTER.format(mode=after) if after else "")


def _nginx(folder: Path, name: str, port: int, *, location: str, upstream: str = "") -> Child:
    path = folder / f"{name}.conf"
    path.write_text(_NGINX.format(folder=folder, name=name, port=port, location=location, upstream=upstream))
    return Child(["nginx", "-p", folder, "-c", path], log=folder / f"{name}.out", ready=f"http://127.0.0.1:{port}/")


def stub(folder: Path) -> tuple[Child, str]:
    """A FHIR server that stores nothing and answers at once; and its origin."""
    port = free_port()
    stored = {"resourceType": "Observation", "id": "1", "meta": {"versionId": "1"}} | result()
    location = _STUB.format(port=port, patient=json.dumps(PATIENT), stored=json.dumps(stored))
    origin = f"http://127.0.0.1:{port}"
    return _nginx(folder, "stub", port, location=location), origin


def nginx_proxy(folder: Path, origin: str) -> tuple[Child, str]:
    """nginx as a proxy with kept-alive connections to the stub."""
    port = free_port()
    upstream = f"upstream fhir {{ server {origin.removeprefix('http://')}; keepalive 64; }}"
    location = "location / { proxy_pass http://fhir; proxy_http_version 1.1; proxy_set_header Connection ''; }"
    url = f"http://127.0.0.1:{port}"
    return _nginx(folder, "proxy", port, location=location, upstream=upstream), url


def bare(folder: Path, origin: str) -> tuple[Child, str]:
    """The bare pass-through."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.passthrough", str(port), origin]
    url = f"http://127.0.0.1:{port}"
    return Child(command, log=folder / "bare.log", ready=f"{url}/"), url


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """A gateway to be run: its policy, the lines of its configuration that say where the journal is, and how long
    the FHIR server may take."""

    name: str
    policy: str
    journal: str
    timeout: str = "30s"


def plain(rules: int) -> Judging:
    """A number of rules before the write, and none after it."""
    name = f"gateway-{rules}"
    return Judging(name=name, policy=policy(rules), journal=f"journal: sqlite:{name}.db")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A gateway that was not started yet, and where it will be."""

    child: Child
    url: str
    admin: str


def judging(folder: Path, origin: str, issuer: str, made: Judging) -> Running:
    """The gateway, configured."""
    port, admin_port, name = free_port(), free_port(), made.name
    (folder / f"{name}-policy.yaml").write_text(made.policy)
    configuration = folder / f"{name}.yaml"
    configuration.write_text(
        _CONFIGURATION.format(
            port=port, admin_port=admin_port, origin=origin, issuer=issuer, name=name, policy=f"{name}-policy.yaml",
            journal=made.journal, timeout=made.timeout,
        )
    )  # fmt: skip
    child = gateway(configuration, admin_port=admin_port, log=folder / f"{name}.log")
    return Running(child=child, url=f"http://127.0.0.1:{port}", admin=f"http://127.0.0.1:{admin_port}")


@contextmanager
def issuer() -> Iterator[SandboxIssuer]:
    """An issuer in this process: its keys mint the benchmark's tokens."""
    port = free_port()
    one = SandboxIssuer(f"http://127.0.0.1:{port}", audience="bench", lifetime=3600)
    serving = server(one.app, port)
    thread = threading.Thread(target=serving.run, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        serving.should_exit = True
        thread.join(5)


def tokens(one: SandboxIssuer, path: Path, count: int) -> Path:
    """A file with a token a line."""
    lines: Sequence[str] = [one.mint(CLAIMS) for _ in range(count)]
    path.write_text("\n".join(lines) + "\n")
    return path
