"""Several workers on one port: a supervisor that holds the socket, starts processes and serves the admin port.

The workers are the same command, told their place by one environment variable. They share the clients' socket,
write their metrics into a private folder, and leave a state file there twice a second.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path

import structlog
from prometheus_client import multiprocess

from gateway import exhausted
from gateway.cli.serve_process import (
    GRACE_SECONDS,
    Application,
    Asgi,
    ReadinessGate,
    Signals,
    admin_server,
    run_worker,
)
from gateway.config import Config
from gateway.observe.admin import admin_app
from gateway.observe.metrics import MULTIPROCESS_VARIABLE, render_all_workers

VARIABLE = "_FHIR_GATEWAY_WORKER"

_REPORT_SECONDS = 0.5
_STALE_SECONDS = 5.0
_FIRST_BACKOFF, _LAST_BACKOFF = 0.5, 30.0
_HEALTHY_SECONDS = 60.0
_CHECK_SECONDS = 120.0

_log = structlog.get_logger("workers")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlace:
    """What a worker is told: its number, the inherited socket, the shared folder, its supervisor's process id."""

    index: int = 0
    descriptor: int = -1
    folder: str = ""
    supervisor: int = 0
    only_check: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "WorkerPlace | None":
        """The place of this process, or None when it is no worker."""
        text = environ.get(VARIABLE)
        return None if text is None else cls(**json.loads(text))

    def environment(self) -> dict[str, str]:
        """The environment of the worker."""
        environ = {**os.environ, VARIABLE: json.dumps(asdict(self))}
        if self.folder:
            environ[MULTIPROCESS_VARIABLE] = str(Path(self.folder, "metrics"))
        return environ


def _command(config: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "gateway.cli", "serve", "--config", str(config))


def check_in_a_process_of_its_own(config: Path) -> int:
    """Whether workers could start: the exit code of loading everything, once, where its memory is given back."""
    place = WorkerPlace(only_check=True)
    done = subprocess.run(_command(config), env=place.environment(), timeout=_CHECK_SECONDS, check=False)  # noqa: S603 (our own command)
    return done.returncode


async def run_one_of_several(app: Application, settings: Config, place: WorkerPlace) -> None:
    """One worker, until SIGTERM or until its supervisor is gone."""
    gate = ReadinessGate(app.admin)

    def opened(is_open: bool) -> None:
        gate.is_open = is_open

    exhausted.watch(asyncio.get_running_loop())
    reporting = asyncio.create_task(_report(gate, place))
    try:
        clients = socket.socket(fileno=place.descriptor)
        await run_worker(app, clients, None, tls=settings.listen.tls, on_ready=opened)
    finally:
        reporting.cancel()


async def _report(admin: Asgi, place: WorkerPlace) -> None:
    target = Path(place.folder, f"worker-{place.index}.json")
    fresh = target.with_suffix(".new")
    while True:
        started, _ = await _ask(admin, "/startupz")
        ready, _ = await _ask(admin, "/readyz")
        _, described = await _ask(admin, "/status")
        state = {
            "started": started == HTTPStatus.OK,
            "ready": ready == HTTPStatus.OK,
            "at": time.time(),
            "process": os.getpid(),
            "status": json.loads(described),
        }
        fresh.write_text(json.dumps(state))
        fresh.rename(target)
        if os.getppid() != place.supervisor:
            _log.error("worker.orphaned")
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(_REPORT_SECONDS)


async def _ask(admin: Asgi, path: str) -> tuple[int, bytes]:
    """One GET on the admin application, without a socket."""
    status = 0
    body = bytearray()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Mapping[str, object]) -> None:
        nonlocal status
        if isinstance(code := message.get("status"), int):
            status = code
        if isinstance(piece := message.get("body"), bytes):
            body.extend(piece)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
    }
    await admin(scope, receive, send)
    return status, bytes(body)


class _AllWorkers:
    """The state of every worker, read from their files: what the supervisor's admin port says."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._was_started = False

    def _states(self) -> list[dict[str, object]]:
        states: list[dict[str, object]] = []
        for index in range(self._count):
            state: dict[str, object] = {"ready": False}
            with contextlib.suppress(OSError, ValueError):
                read = json.loads((self._folder / f"worker-{index}.json").read_text())
                if time.time() - read["at"] < _STALE_SECONDS:
                    state = read
            states.append({"worker": index, **state})
        return states

    def started(self) -> bool:
        self._was_started = self._was_started or all(state.get("started") is True for state in self._states())
        return self._was_started

    def not_ready(self) -> tuple[str, ...]:
        return tuple(f"worker-{state['worker']}" for state in self._states() if state["ready"] is not True)

    def describe(self) -> Mapping[str, object]:
        return {"workers": self._states()}


class _Crew:
    """The worker processes: one task each, which starts its worker again when it dies."""

    def __init__(self, config: Path, folder: Path, clients: socket.socket) -> None:
        self._config = config
        self._folder = folder
        self._clients = clients
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()

    async def keep(self, index: int) -> None:
        """Keep one place filled until the crew stops."""
        backoff = _FIRST_BACKOFF
        while not self._stopping.is_set():
            began = time.monotonic()
            worker = await self._start(index)
            code = await worker.wait()
            del self._running[index]
            multiprocess.mark_process_dead(worker.pid, str(self._folder / "metrics"))  # type: ignore[no-untyped-call]
            if self._stopping.is_set():
                return
            (self._folder / f"worker-{index}.json").unlink(missing_ok=True)
            _log.error("worker.died", worker=index, code=code)
            if time.monotonic() - began > _HEALTHY_SECONDS:
                backoff = _FIRST_BACKOFF
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LAST_BACKOFF)

    async def _start(self, index: int) -> asyncio.subprocess.Process:
        descriptor = self._clients.fileno()
        place = WorkerPlace(index=index, descriptor=descriptor, folder=str(self._folder), supervisor=os.getpid())
        worker = await asyncio.create_subprocess_exec(
            *_command(self._config), env=place.environment(), pass_fds=(descriptor,)
        )
        self._running[index] = worker
        return worker

    async def hang_up(self) -> None:
        """Have every worker load the policies again."""
        self._signal(signal.SIGHUP)

    async def stop(self, keepers: list["asyncio.Task[None]"]) -> None:
        """Let every worker finish what it has in flight; end those that do not."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=GRACE_SECONDS + 10)
        if late:
            self._signal(signal.SIGKILL)
            await asyncio.wait(late, timeout=5)

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                worker.send_signal(number)


async def supervise(settings: Config, config: Path, clients: socket.socket, admin: socket.socket) -> None:
    """Run `settings.workers` workers until SIGTERM."""
    exhausted.watch(asyncio.get_running_loop())
    folder = Path(tempfile.mkdtemp(prefix="fhir-gateway-"))
    try:
        (folder / "metrics").mkdir()
        crew = _Crew(config, folder, clients)
        signals = Signals(crew.hang_up)
        status = _AllWorkers(folder, settings.workers)
        private = admin_server(admin_app(status, lambda: render_all_workers(folder / "metrics")))
        serving = asyncio.create_task(private.serve(sockets=[admin]))
        keepers = [asyncio.create_task(crew.keep(index)) for index in range(settings.workers)]
        await signals.stop.wait()
        _log.info("supervisor.stopping")
        await crew.stop(keepers)
        private.should_exit = True
        await serving
    finally:
        shutil.rmtree(folder, ignore_errors=True)
