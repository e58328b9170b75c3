"""A real server with the strict protocol and a small application, and raw connections to it."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn

from gateway.cli.serve_process import PLAIN
from gateway.errors import GatewayError
from gateway.ingress import framing
from gateway.ingress.body import BodyReader, Receive
from gateway.ingress.decision_id import new_decision_id
from gateway.ingress.protocol import WireLimits, strict_protocol
from gateway.ingress.refusing import ConnectionRefusals
from gateway.ingress.responses import PLAIN_JSON, Reply, Send, closing, error_reply, send_reply

BODY_LIMIT = 1500


@dataclass(slots=True)
class Recorder:
    """The application: reads what framing lets through, remembers it, answers with it."""

    seen: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    delay: float = 0.0
    body_seconds: float = 0.6

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        body: BodyReader | None = None
        decision_id = new_decision_id()
        try:
            head = framing.examine(
                method=scope["method"],
                raw_path=scope["raw_path"],
                query=scope["query_string"],
                http_version=scope["http_version"],
                raw_headers=scope["headers"],
                base_path=b"/fhir",
            )
            body = BodyReader(receive, head, limit=BODY_LIMIT, seconds=self.body_seconds)
            content = await body.read()
            target = head.path.decode() + ("?" + head.query.decode() if head.query else "")
            await asyncio.sleep(self.delay)
            self.seen.append(" ".join(filter(None, (head.method, target, content.decode("latin-1")))))
            reply = Reply(status=200, headers=(PLAIN_JSON,), body=b"{}")
        except GatewayError as error:
            reply = error_reply(error, decision_id)
        if body is not None and body.must_close:
            reply = closing(reply)
        await send_reply(send, reply, decision_id, receive)


@dataclass(frozen=True, slots=True)
class Answer:
    """One response off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A raw connection; closes with its `with` block."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> Answer | None:
        """The next response, or None at the end of the connection."""
        line = self._stream.readline()
        if not line:
            return None
        headers: dict[str, str] = {}
        while (header := self._stream.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = self._stream.read(int(headers.get("content-length", "0")))
        return Answer(int(line.split()[1]), headers, body)

    def answers(self) -> list[Answer]:
        """Every response until the end of the connection."""
        found = []
        while (answer := self.answer()) is not None:
            found.append(answer)
        return found

    def rest(self) -> bytes:
        """Whatever comes until the end of the connection."""
        return self._stream.read()


@dataclass(frozen=True, slots=True)
class Wire:
    """A running server."""

    port: int
    app: Recorder

    def connect(self) -> Connection:
        return Connection(self.port)


@contextlib.contextmanager
def serving(*, head_seconds: float = 0.5, app: Recorder | None = None) -> Iterator[Wire]:
    recorder = app or Recorder()
    refusals = ConnectionRefusals(new_decision_id, recorder.rejected.append)
    config = uvicorn.Config(
        recorder,
        http=strict_protocol(refusals, WireLimits(head_seconds=head_seconds)),
        loop="uvloop",
        **PLAIN,
    )
    server = uvicorn.Server(config)
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield Wire(bound.getsockname()[1], recorder)
    finally:
        server.should_exit = True
        thread.join(5)
