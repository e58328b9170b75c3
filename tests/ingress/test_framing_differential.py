"""Mutated streams: what reaches the application is what a strict reference reads from the same bytes, in order.

The reference is small on purpose: it knows RFC 9112 and the gateway's narrower rules, and stops at the first doubt.
"""

import asyncio
import random
import re
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.ingress.decision_id import new_decision_id
from gateway.ingress.protocol import strict_protocol
from gateway.ingress.refusing import ConnectionRefusals
from tests.ingress.wire import BODY_LIMIT, Recorder

# RFC 9112 sections 2.2 and 3 let a server skip empty lines before a request and take several spaces as one.
_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) +(/[!\x22$-~]*) +HTTP/1\.([01])\Z")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\Z")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[^\r\n]*)?\Z")
_BASE = b"/fhir/"

SEEDS = [
    b"GET /fhir/Patient/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /fhir/Observation HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /fhir/Flag HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\n\r\n",
    b"PUT /fhir/Patient/2?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-Other: 1\r\n\r\n{}",
]
INSERTS = [
    *(b"\r", b"\n", b"\r\n", b" ", b"\t", b"\x00", b"\x0b", b":", b",", b";", b"0", b"5", b"+", b"x", b"#", b"\xff"),
    *(b"\r\n\r\n", b"0\r\n\r\n", b"chunked", b" HTTP/1.0", b"http://evil"),
    *(b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Host: b\r\n", b"Connection: close\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n"),
    *(b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n"),
    b"GET /fhir/smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
]


def reference(data: bytes) -> list[str]:
    """Every request that a strict reader finds before its first doubt."""
    found: list[str] = []
    while data:
        data = data.lstrip(b"\r\n")
        head, separator, rest = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        line = _LINE.match(lines[0])
        headers = [_HEADER.match(text) for text in lines[1:]]
        if not separator or line is None or not all(headers):
            return found
        fields = [(match[1].lower(), match[2]) for match in headers if match]
        body, data = _body(fields, rest)
        if body is None:
            return found
        if line[2].startswith(_BASE):
            path, _, query = line[2][len(_BASE) :].decode().partition("?")
            target = f"{path}?{query}" if query else path
            found.append(" ".join(filter(None, (line[1].decode(), target, body.decode("latin-1")))))
    return found


def _body(fields: list[tuple[bytes, bytes]], rest: bytes) -> tuple[bytes | None, bytes]:
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    if len([name for name, _ in fields if name == b"host"]) != 1 or len(lengths) + len(codings) > 1:
        return None, b""
    if codings:
        return _chunks(rest) if codings == [b"chunked"] else (None, b"")
    length = int(lengths[0]) if lengths and lengths[0].isdigit() else (None if lengths else 0)
    return (None, b"") if length is None or length > len(rest) else (rest[:length], rest[length:])


def _chunks(rest: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        size, separator, rest = rest.partition(b"\r\n")
        match = _CHUNK.match(size)
        if not separator or match is None:
            return None, b""
        length = int(match[1], 16)
        if length == 0:
            return (body, rest[2:]) if rest.startswith(b"\r\n") else (None, b"")
        if rest[length : length + 2] != b"\r\n":
            return None, b""
        body, rest = body + rest[:length], rest[length + 2 :]


def mutated(choice: random.Random) -> bytes:
    stream = b"".join(choice.choice(SEEDS) for _ in range(choice.randint(1, 3)))
    for _ in range(choice.randint(1, 3)):
        at = choice.randrange(len(stream))
        match choice.randrange(4):
            case 0:
                stream = stream[:at] + stream[at + choice.randint(1, 3) :]
            case 1:
                stream = stream[:at] + choice.choice(INSERTS) + stream[at:]
            case 2:
                # At a line's start, where headers and requests are taken for real.
                at = stream.find(b"\r\n", at) + 2
                stream = stream[:at] + choice.choice(INSERTS) + stream[at:]
            case _:
                end = at + choice.randint(1, 30)
                stream = stream[:end] + stream[at:end] + stream[end:]
    return stream


class _Pipe(asyncio.Transport):
    """A connection that remembers what was written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = b""
        self.closing = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def seen_by_the_application(stream: bytes, choice: random.Random) -> list[str]:
    app = Recorder(body_seconds=0.001)
    protocol_class = strict_protocol(ConnectionRefusals(new_decision_id, app.rejected.append))
    config = uvicorn.Config(
        app, http=protocol_class, interface="asgi3", ws="none", lifespan="off", log_config=None, access_log=False,
        proxy_headers=False,
    )  # fmt: skip
    config.load()
    state = ServerState()
    protocol = protocol_class(config=config, server_state=state, app_state={}, _loop=asyncio.get_running_loop())
    pipe = _Pipe()
    protocol.connection_made(pipe)
    cut = choice.randrange(len(stream) + 1)
    for piece in (stream[:cut], stream[cut:]):
        # What arrives after a close is not read: the transport sees to that.
        if piece and not pipe.closing:
            protocol.data_received(piece)
        for _ in range(12):
            await asyncio.sleep(0)
    protocol.connection_lost(None)
    while state.tasks:
        await asyncio.gather(*state.tasks)
    return app.seen


@pytest.mark.parametrize("seed", range(4))
async def test_mutated_streams(seed: int) -> None:
    choice = random.Random(seed)
    reached = 0
    for _ in range(2500):
        stream = mutated(choice)
        seen = await seen_by_the_application(stream, choice)
        expected = reference(stream)
        assert seen == expected[: len(seen)], stream
        reached += len(seen)
    assert reached > 1000


@pytest.mark.parametrize("stream", SEEDS)
async def test_the_reference_and_the_server_agree_on_what_is_right(stream: bytes) -> None:
    assert await seen_by_the_application(stream * 2, random.Random(0)) == reference(stream * 2)
    assert len(reference(stream * 2)) == 2
    assert len(stream) < BODY_LIMIT
