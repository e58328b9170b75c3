"""One serving process: two uvicorn servers in one loop, and the application's life around them."""

import asyncio
import contextlib
import resource
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, MutableMapping
from typing import Any, Final, Protocol

import structlog
import uvicorn

from gateway import exhausted
from gateway.config import Address, Tls
from gateway.errors import GatewayError
from gateway.ingress.protocol import strict_protocol
from gateway.ingress.responses import Reply

Asgi = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]

GRACE_SECONDS = 30.0
KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
# HTTP and nothing else; the gateway logs by itself.
PLAIN: Final[Mapping[str, Any]] = {
    "interface": "asgi3",
    "ws": "none",
    "lifespan": "off",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    # Forwarded headers are never believed: nothing is decided on a peer's address.
    "proxy_headers": False,
}

_log = structlog.get_logger("serve")


class Application(Protocol):
    """What `gateway.app.build` makes."""

    @property
    def asgi(self) -> Asgi:
        """The clients' port."""

    @property
    def admin(self) -> Asgi:
        """The admin port."""

    def refuse(self, error: GatewayError) -> Reply:
        """The answer to a stream that never becomes a request."""

    async def start(self) -> None: ...

    async def stop(self, grace: float) -> None: ...

    async def reload(self) -> None: ...


def forbid_core_dumps() -> None:
    """A core dump would hold payloads, tokens and keys. For this process and its workers, whoever started it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def bind(address: Address) -> socket.socket:
    """A bound socket that does not listen yet. Raises OSError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address.host, address.port))
    except OSError:
        bound.close()
        raise
    bound.set_inheritable(True)
    return bound


class QuietServer(uvicorn.Server):
    """Leaves signals to whoever runs two servers in one loop, and says when its port is open."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def clients_server(app: Application, tls: Tls | None, *, grace: float) -> QuietServer:
    """The server of the clients' port."""
    files: dict[str, Any] = {}
    if tls is not None:
        files = {"ssl_certfile": str(tls.certificate_file), "ssl_keyfile": str(tls.key_file)}
        if tls.client_ca_file is not None:
            files |= {"ssl_ca_certs": str(tls.client_ca_file), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return QuietServer(
        uvicorn.Config(
            app.asgi,
            http=strict_protocol(app.refuse),
            loop="uvloop",
            backlog=_BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(grace),
            **PLAIN,
            **files,
        )
    )


def admin_server(app: Asgi) -> QuietServer:
    """The server of the admin port."""
    return QuietServer(
        uvicorn.Config(
            app,
            http="httptools",
            timeout_graceful_shutdown=1,
            **PLAIN,
        )
    )


class ReadinessGate:
    """Holds /readyz back while the clients' port is not open: before the start is complete, and from the stop on."""

    def __init__(self, admin: Asgi) -> None:
        self._admin = admin
        self.is_open = False

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer 503 for /readyz while closed; pass everything else on."""
        if self.is_open or scope["type"] != "http" or scope["path"] != "/readyz":
            await self._admin(scope, receive, send)
            return
        body = b"the clients' port is not open\n"
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Signals:
    """SIGTERM and SIGINT as an event, SIGHUP as a call."""

    def __init__(self, on_hangup: Callable[[], Awaitable[None]]) -> None:
        self.stop = asyncio.Event()
        self._on_hangup = on_hangup
        self._reloads: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _hang_up(self) -> None:
        async def reload() -> None:
            await self._on_hangup()

        task = asyncio.get_running_loop().create_task(reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)


async def run_worker(
    app: Application,
    clients: socket.socket,
    admin: socket.socket | None,
    *,
    tls: Tls | None,
    grace: float = GRACE_SECONDS,
    on_ready: Callable[[bool], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM: start, open the clients' port, stop accepting, finish what is in flight, stop.

    `admin` is None in a worker of several, whose supervisor serves that port. `on_ready` is told when the
    clients' port opens and closes.
    """
    exhausted.watch(asyncio.get_running_loop())
    signals = Signals(app.reload)
    gate = ReadinessGate(app.admin)
    private = admin_server(gate)
    serving_admin = asyncio.create_task(private.serve(sockets=[admin])) if admin is not None else None
    try:
        if not await _started(app, signals.stop):
            return
        public = clients_server(app, tls, grace=grace)
        serving = asyncio.create_task(public.serve(sockets=[clients]))
        await _first(public.listening.wait(), serving)
        gate.is_open = True
        on_ready(True)
        _log.info("gateway.listening", clients=_name(clients), admin=_name(admin))
        await _first(signals.stop.wait(), serving)
        gate.is_open = False
        on_ready(False)
        _log.info("gateway.stopping")
        public.should_exit = True
        await serving
        await app.stop(grace)
        _log.info("gateway.stopped")
    finally:
        private.should_exit = True
        if serving_admin is not None:
            await serving_admin


async def _started(app: Application, stop: asyncio.Event) -> bool:
    """Start the application; False when a signal came first."""
    starting = asyncio.create_task(app.start())
    await _first(stop.wait(), starting)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        await app.stop(0.0)
        return False
    await starting
    return True


async def _first(event: Coroutine[Any, Any, bool], task: "asyncio.Task[None]") -> None:
    """Wait for an event, or for a task that ends before it."""
    waiting = asyncio.create_task(event)
    await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _name(bound: socket.socket | None) -> str | None:
    if bound is None:
        return None
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
