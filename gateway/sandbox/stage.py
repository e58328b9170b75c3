"""Plays the story: real processes on loopback ports, and the server's own word for what it holds."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from gateway.fhir.json import JsonObject
from gateway.sandbox import content, story
from gateway.sandbox.running import Child, NotStarted, gateway, sandbox
from gateway.sandbox.serving import free_port
from gateway.sandbox.story import Held, Push

_RECOVERY_SECONDS = 20.0
_CONFIGURATION = """\
listen: 127.0.0.1:{port}
public_url: {base}
admin: 127.0.0.1:{admin_port}
upstream: {{url: "{upstream}"}}
issuers:
  - issuer: {issuer}
    jwks_uri: {issuer}/keys
    audiences: ["{base}"]
policies: [{policies}]
journal: sqlite:journal.db
decision_log: decisions.ndjson
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a push ended. `status` is None when the connection broke; `reasons` are the issues' texts with the rules that
    they name; `seen` is what the server holds, in words.
    """

    push: Push
    status: int | None
    reasons: tuple[tuple[str, str], ...]
    held: Held | None
    seen: str
    curl: str

    @property
    def as_told(self) -> bool:
        """Whether it ended as the story tells."""
        named = all(any(rule.endswith(f"/{wanted}") for _, rule in self.reasons) for wanted in self.push.rules)
        return self.status == self.push.status and self.held is self.push.held and named


class Stage:
    """The three processes and a client. Use `open_stage`."""

    def __init__(self, folder: Path, policies: Sequence[Path]) -> None:
        self.folder = folder
        self.port, self.admin_port = free_port(), free_port()
        self.base = f"http://127.0.0.1:{self.port}/fhir"
        held = [self._write(f"held-{resource['id']}.json", resource) for resource in story.held()]
        self.sandbox, self.upstream, self.issuer = sandbox(folder, audience=self.base, load=held, lifetime=3600)
        self.configuration = folder / "gateway.yaml"
        self.configuration.write_text(
            _CONFIGURATION.format(
                port=self.port,
                admin_port=self.admin_port,
                base=self.base,
                upstream=self.upstream,
                issuer=self.issuer,
                policies=", ".join(json.dumps(str(path)) for path in policies),
            )
        )
        self.gateway = gateway(self.configuration, admin_port=self.admin_port, log=folder / "gateway.log")
        self.client = httpx.Client(trust_env=False, timeout=30)
        self.token = ""

    @property
    def children(self) -> tuple[Child, ...]:
        """The processes, in the order in which they are stopped."""
        return self.gateway, self.sandbox

    def start(self) -> None:
        """Starts sandbox and gateway side by side and fetches a token. Raises NotStarted."""
        for child in self.children:
            child.start()
        self.sandbox.wait_ready()
        form = {"grant_type": "client_credentials", "client_id": "lab", "client_secret": "lab-secret"}
        answer = self.client.post(
            f"{self.issuer}/token", data={**form, "scope": "system/Observation.cu system/DiagnosticReport.cu"}
        )
        self.token = answer.raise_for_status().json()["access_token"]
        (self.folder / "token").write_text(self.token)
        self._quirks(moves_subject_to=f"Patient/{story.OTHER_MEMBER}", moves_when_tagged=story.MOVED)
        self.gateway.wait_ready()

    def play(self, push: Push) -> Ended:
        """One push, and what the server holds afterwards."""
        after = self._last_event()
        body = self._write(f"{push.name}.json", push.body)
        answer = self._killed(push, after) if push.gateway_killed else self._push(push.body)
        held, seen = self._held(after)
        issues = _issues(answer) if answer is not None and not answer.is_success else ()
        return Ended(
            push=push,
            status=None if answer is None else answer.status_code,
            reasons=issues,
            held=held,
            seen=seen,
            curl=(
                f"curl -si {self.base}/Observation -H 'Content-Type: application/fhir+json' "
                f'-H "Authorization: Bearer $(cat {self.folder}/token)" -d @{body}'
            ),
        )

    def _push(self, body: JsonObject) -> httpx.Response | None:
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/fhir+json"}
        try:
            return self.client.post(f"{self.base}/Observation", content=content.body_of(body), headers=headers)
        except httpx.TransportError:
            return None

    def _killed(self, push: Push, after: int) -> httpx.Response | None:
        """Pushes, kills the gateway once the server has stored the write, and starts it again."""
        # The server answers the read-back late, so that there is a moment to kill in.
        self._quirks(read_late=30, read_late_of="Observation")
        with ThreadPoolExecutor(1) as pool:
            pushed = pool.submit(self._push, push.body)
            self._until(lambda: bool(self._changes(after)), _RECOVERY_SECONDS)
            self.gateway.kill()
            answer = pushed.result(_RECOVERY_SECONDS)
        self._quirks(read_late=0)
        self.gateway.start().wait_ready()
        self._until(lambda: any(event["effect"] == "deleted" for event in self._changes(after)), _RECOVERY_SECONDS)
        return answer

    def _held(self, after: int) -> tuple[Held | None, str]:
        """By the server's own log and a read, not through the gateway."""
        changes = self._changes(after)
        if not changes:
            return Held.NOTHING, Held.NOTHING.value
        target = str(changes[0]["target"])
        status = self.client.get(f"{self.upstream}/{target}").status_code
        subject = self.client.get(f"{self.upstream}/{target}/_history/1").json().get("subject", {}).get("reference")
        effects = ", ".join(str(event["effect"]) for event in changes)
        seen = f"{target} for {subject}: {effects}; GET says {status}"
        if status == httpx.codes.GONE:
            return Held.REMOVED, seen
        return (Held.STORED, seen) if status == httpx.codes.OK else (None, seen)

    def _changes(self, after: int) -> list[JsonObject]:
        events = self.client.get(f"{self._control}/events", params={"after": after}).json()
        return [event for event in events if event["effect"] != "none"]

    def _last_event(self) -> int:
        return len(self.client.get(f"{self._control}/events").json())

    def _quirks(self, **switches: str | float) -> None:
        self.client.patch(f"{self._control}/quirks", json=switches).raise_for_status()

    @property
    def _control(self) -> str:
        return self.upstream.removesuffix("/fhir") + "/__sandbox"

    def _write(self, name: str, resource: JsonObject) -> Path:
        path = self.folder / name
        path.write_bytes(content.body_of(resource))
        return path

    @staticmethod
    def _until(happened: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def _issues(answer: httpx.Response) -> tuple[tuple[str, str], ...]:
    try:
        outcome = answer.json()
    except ValueError:
        return ()
    return tuple(
        (str(issue.get("details", {}).get("text", issue.get("code"))), str(issue.get("diagnostics", "")))
        for issue in outcome.get("issue", [])
    )


@contextmanager
def open_stage(folder: Path, policies: Sequence[Path]) -> Iterator[Stage]:
    """A started stage; every process of it is ended at the end. Raises NotStarted."""
    stage = Stage(folder, policies)
    try:
        stage.start()
        yield stage
    finally:
        for child in stage.children:
            child.stop()
        stage.client.close()


__all__ = ["Ended", "NotStarted", "Stage", "open_stage"]
