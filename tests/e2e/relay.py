"""A relay in front of a real server that lets a request through and loses its answer, or loses the request itself."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self


class Relay:
    """Loses the next request whose line begins with `wanted`: its answer, or with `deliver` False all of it."""

    def __init__(self, target_port: int) -> None:
        self._target = target_port
        self._wanted = b""
        self._deliver = True
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.lost = 0

    def lose(self, wanted: str, *, deliver: bool = True) -> None:
        """The next request of this kind."""
        self._wanted, self._deliver = wanted.encode(), deliver

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in [self._listening, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listening.close()

    def _start(self, run: Callable[..., None], *values: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=run, args=values, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        answered = threading.Event()
        with client, socket.create_connection(("127.0.0.1", self._target)) as server, suppress(OSError):
            self._open += [client, server]
            answering = self._start(lambda: _pump(server, client, answered))
            while data := client.recv(65_536):
                if self._wanted and data.startswith(self._wanted):
                    self._wanted = b""
                    self.lost += 1
                    if not self._deliver:
                        break
                    answered.clear()
                    # Nothing more comes out on this side; the server is waited for, so that it has stored.
                    client.shutdown(socket.SHUT_WR)
                    server.sendall(data)
                    answered.wait(10)
                    break
                server.sendall(data)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            answering.join(10)


def _pump(source: socket.socket, target: socket.socket, moved: threading.Event) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            moved.set()
            with suppress(OSError):
                target.sendall(data)
