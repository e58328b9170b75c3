"""Child processes of the demo and of the end-to-end tests: started, waited for, ended by their own pid."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx

from gateway.sandbox.serving import free_port


class NotStarted(Exception):
    """A child that ended, or did not answer in time; the text ends with the last lines of its log."""


class Child:
    """One process with its log file. `ready` is the URL that answers 200 once it can be used."""

    def __init__(
        self, command: Sequence[str | Path], *, log: Path, ready: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        self.ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Starts the process, its output appended to the log; does not wait."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 # our own commands
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment
            )
        return self

    def wait_ready(self, seconds: float = 30) -> Self:
        """Waits until `ready` answers 200. Raises NotStarted."""
        deadline = time.monotonic() + seconds
        with httpx.Client(trust_env=False, timeout=5) as client:
            while time.monotonic() < deadline:
                if self.exit_code is not None:
                    raise NotStarted(f"exit code {self.exit_code}\n{self.last_lines()}")
                try:
                    if client.get(self.ready).status_code == httpx.codes.OK:
                        return self
                except httpx.TransportError:
                    pass
                time.sleep(0.02)
        raise NotStarted(f"no answer at {self.ready}\n{self.last_lines()}")

    @property
    def pid(self) -> int:
        """The process id. Raises NotStarted before `start`."""
        if self._process is None:
            raise NotStarted("not started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs; a signal shows as its negative number."""
        return None if self._process is None else self._process.poll()

    def last_lines(self, count: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-count:])

    def stop(self, seconds: float = 15) -> int | None:
        """SIGTERM, and SIGKILL when that is not heeded in time. Returns the exit code."""
        return self._end(signal.SIGTERM, seconds)

    def kill(self) -> int | None:
        """SIGKILL: no chance to tidy up."""
        return self._end(signal.SIGKILL, 15)

    def wait(self, seconds: float) -> int:
        """Waits for it to end by itself. Raises subprocess.TimeoutExpired."""
        if self._process is None:
            raise NotStarted("not started")
        return self._process.wait(seconds)

    def _end(self, how: signal.Signals, seconds: float) -> int | None:
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(seconds)
        return self._process.returncode


def gateway_command() -> Path:
    """`fhir-gateway` beside the interpreter that runs this."""
    return Path(sys.executable).parent / "fhir-gateway"


def gateway(configuration: Path, *, admin_port: int, log: Path, environment: Mapping[str, str] | None = None) -> Child:
    """A gateway for a configuration file; not started yet."""
    command = (gateway_command(), "serve", "--config", configuration)
    return Child(command, log=log, ready=f"http://127.0.0.1:{admin_port}/readyz", environment=environment)


def sandbox(folder: Path, *, audience: str, load: Sequence[Path] = (), lifetime: int = 300) -> tuple[Child, str, str]:
    """A sandbox with issuer and switches, not started yet; its FHIR base and its issuer."""
    port, issuer_port = free_port(), free_port()
    base, issuer = f"http://127.0.0.1:{port}/fhir", f"http://127.0.0.1:{issuer_port}"
    command: list[str | Path] = [sys.executable, "-m", "gateway.sandbox", "--control", "--port", str(port)]
    command += ["--issuer-port", str(issuer_port), "--audience", audience, "--lifetime", str(lifetime)]
    if load:
        command += ["--load", *load]
    return Child(command, log=folder / "sandbox.log", ready=f"{base}/metadata"), base, issuer
