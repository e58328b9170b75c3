"""Real gateway processes before a real sandbox process, and what the sandbox's log says about them."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.sandbox.running import Child, sandbox
from gateway.sandbox.serving import free_port

AUDIENCE = "http://gateway.example/fhir"
FHIR = "application/fhir+json"
MUST_NOT_STAY = "must not stay"
MEMBER = {"resourceType": "Patient", "id": "member"}
OPEN = {"intended", "stored", "compensating"}
_POLICY = f"""
policy: push
title: Results of members, but not what must not stay
permit: [create, update]
resources: [Observation]
rules:
  - id: final
    fhirpath: status = 'final'
    deny: {{code: business-rule, at: status, message: Only final results.}}
  - id: may-stay
    phase: after
    fhirpath: note.text.where($this = '{MUST_NOT_STAY}').empty()
    deny: {{code: business-rule, at: note, message: This must not stay.}}
"""
_CONFIGURATION = """\
listen: 127.0.0.1:{port}
public_url: {base}
admin: 127.0.0.1:{admin}
upstream: {{url: "{upstream}", timeout: {timeout}}}
issuers:
  - issuer: {issuer}
    audiences: ["{audience}"]
    token_types: [at+jwt]
policies: [policies/]
journal: sqlite:journal.db
decision_log: decisions.ndjson
"""


class Nursery:
    """The process that gateways are forked from."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def _ask(self, question: Mapping[str, object]) -> int | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            answer: int | None = json.loads(self._process.stdout.readline())
            return answer

    def start(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> int:
        pid = self._ask({"start": arguments, "env": dict(environment), "log": str(log)})
        assert pid is not None
        return pid

    def exit_code(self, pid: int) -> int | None:
        return self._ask({"wait": pid})

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class Site:
    """A FHIR server with one member, and who gives tokens for a gateway before it."""

    timeout = "1s"  # what a gateway gives the server for an answer

    def __init__(self, base: str, issuer: str, token_url: str) -> None:
        self.base, self.issuer, self._token_url = base, issuer, token_url
        self.client = httpx.Client(trust_env=False, timeout=30)
        self.token = ""

    def refresh(self) -> "Site":
        """A fresh token."""
        form = {"grant_type": "client_credentials", "client_id": "lab", "client_secret": "lab-secret"}
        answer = self.client.post(self._token_url, data={**form, "scope": "system/*.cu system/*.rs"})
        self.token = str(answer.raise_for_status().json()["access_token"])
        return self

    def close(self) -> None:
        self.client.close()

    def put(self, id_: str, status: str) -> None:
        """Somebody writes around the gateway."""
        body = observation(status, id=id_)
        url = f"{self.base}/Observation/{id_}"
        self.client.put(url, content=body, headers={"content-type": FHIR}).raise_for_status()

    def current(self, path: str) -> dict[str, Any] | None:
        """The current version, or None when there is none."""
        answer = self.client.get(f"{self.base}/{path}")
        found: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
        return found


class Hospital(Site):
    """One sandbox with an issuer, shared by the tests of a worker."""

    def __init__(self, folder: Path) -> None:
        held = folder / "member.json"
        held.write_text(json.dumps(MEMBER))
        child, base, issuer = sandbox(folder, audience=AUDIENCE, load=[held], lifetime=3600)
        self.child: Child = child
        self.child.start().wait_ready()
        super().__init__(base, issuer, f"{issuer}/token")
        self.refresh()

    def close(self) -> None:
        super().close()
        self.child.stop()

    def events(self) -> list[dict[str, Any]]:
        """Every request that reached the server, in order."""
        url = f"{self.base.removesuffix('/fhir')}/__sandbox/events"
        found: list[dict[str, Any]] = self.client.get(url).json()
        return found


@dataclass(slots=True)
class Gateway:
    """One gateway after another over one journal."""

    folder: Path
    nursery: Nursery
    site: Site
    pid: int = 0
    base: str = ""
    admin: str = ""

    def __post_init__(self) -> None:
        (self.folder / "policies").mkdir(parents=True)
        (self.folder / "policies/push.yaml").write_text(_POLICY)
        port, admin = free_port(), free_port()
        self.base, self.admin = f"http://127.0.0.1:{port}/fhir", f"http://127.0.0.1:{admin}"
        (self.folder / "gateway.yaml").write_text(
            _CONFIGURATION.format(
                port=port,
                base=self.base,
                admin=admin,
                upstream=self.site.base,
                timeout=self.site.timeout,
                issuer=self.site.issuer,
                audience=AUDIENCE,
            )
        )

    def start(self, **environment: str) -> "Gateway":
        """A new process; returns when it is ready."""
        self.launch(**environment)
        self.until(self._ready)
        return self

    def launch(self, **environment: str) -> None:
        """A new process; does not wait."""
        arguments = ["serve", "--config", str(self.folder / "gateway.yaml")]
        self.pid = self.nursery.start(arguments, environment, self.folder / "log")

    def _ready(self) -> bool:
        assert self.nursery.exit_code(self.pid) is None, (self.folder / "log").read_text()[-3000:]
        try:
            return self.site.client.get(f"{self.admin}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        """Wait; the end of the gateway's log is in the AssertionError."""
        deadline = time.monotonic() + seconds
        while not condition():
            log = self.folder / "log"
            assert time.monotonic() < deadline, log.read_text()[-3000:] if log.exists() else "no log"
            time.sleep(0.01)

    def ended(self) -> int:
        """The exit code, waited for."""
        self.until(lambda: self.nursery.exit_code(self.pid) is not None)
        code = self.nursery.exit_code(self.pid)
        assert code is not None
        return code

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if self.nursery.exit_code(self.pid) is None:
            os.kill(self.pid, signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.pid and self.nursery.exit_code(self.pid) is None:
            os.kill(self.pid, signal.SIGKILL)
            self.ended()

    def push(self, method: str, path: str, body: bytes, **headers: str) -> httpx.Response | None:
        """One write; None when the connection broke."""
        sent = {"authorization": f"Bearer {self.site.token}", "content-type": FHIR, **headers}
        try:
            with httpx.Client(trust_env=False, timeout=30) as client:
                return client.request(method, f"{self.base}/{path}", content=body, headers=sent)
        except httpx.TransportError:
            return None

    def states(self) -> dict[str, int]:
        """How many entries of the journal are in each state; empty states are left out."""
        with contextlib.closing(sqlite3.connect(self.folder / "journal.db", timeout=10)) as connection:
            return dict(connection.execute("SELECT state, count(*) FROM intent GROUP BY state"))

    def settled(self, seconds: float = 40.0) -> None:
        """Wait until no write is open."""
        self.until(lambda: not self.states().keys() & OPEN, seconds)


def observation(status: str = "final", *, note: str = "", **more: object) -> bytes:
    """A result of the one Patient."""
    body: dict[str, object] = {"resourceType": "Observation", **more, "status": status, "code": {"text": "x"}}
    body["subject"] = {"reference": "Patient/member"}
    if note:
        body["note"] = [{"text": note}]
    return json.dumps(body).encode()
