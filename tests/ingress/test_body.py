"""Bodies are read whole, bounded in bytes and time."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from gateway.errors import BadFraming, RequestTimedOut, TooLarge
from gateway.ingress.body import BodyReader, Receive
from gateway.ingress.framing import RequestHead
from gateway.ingress.lingering import linger


def head(length: int | None, *, expects_continue: bool = False) -> RequestHead:
    return RequestHead(
        method="POST", path=b"", query=b"", headers={}, content_length=length, expects_continue=expects_continue
    )


def arriving(*pieces: bytes, ends: bool = True, gone: bool = False) -> Receive:
    messages: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": not ends or number < len(pieces) - 1}
        for number, piece in enumerate(pieces)
    ]
    if gone:
        messages.append({"type": "http.disconnect"})

    async def receive() -> MutableMapping[str, Any]:
        if not messages:
            await asyncio.sleep(60)
        return messages.pop(0)

    return receive


async def test_pieces_are_joined() -> None:
    reader = BodyReader(arriving(b"{", b"}"), head(2), limit=10, seconds=1)
    assert await reader.read() == b"{}"
    assert not reader.must_close


async def test_no_body_is_not_waited_for() -> None:
    reader = BodyReader(arriving(), head(0), limit=10, seconds=1)
    assert await reader.read() == b""
    assert not reader.must_close


async def test_a_declared_length_past_the_limit_is_refused_unread() -> None:
    reader = BodyReader(arriving(), head(11), limit=10, seconds=1)
    with pytest.raises(TooLarge):
        await reader.read()


async def test_a_chunked_body_is_counted() -> None:
    reader = BodyReader(arriving(b"12345", b"123456", ends=False), head(None), limit=10, seconds=1)
    with pytest.raises(TooLarge):
        await reader.read()
    assert reader.must_close


async def test_exactly_the_limit_is_read() -> None:
    assert await BodyReader(arriving(b"1234567890"), head(None), limit=10, seconds=1).read() == b"1234567890"


async def test_a_slow_body_times_out() -> None:
    reader = BodyReader(arriving(b"1", ends=False), head(10), limit=10, seconds=0.02)
    with pytest.raises(RequestTimedOut):
        await reader.read()


async def test_a_client_that_goes_away() -> None:
    reader = BodyReader(arriving(b"1", ends=False, gone=True), head(10), limit=10, seconds=1)
    with pytest.raises(BadFraming):
        await reader.read()


@pytest.mark.parametrize(
    ("length", "expects", "closes"),
    [(0, False, False), (1000, False, False), (100_000, False, True), (None, False, True), (10, True, True)],
)
def test_when_an_unread_body_ends_the_connection(length: int | None, expects: bool, closes: bool) -> None:
    reader = BodyReader(arriving(), head(length, expects_continue=expects), limit=10, seconds=1)
    assert reader.must_close is closes


@pytest.mark.parametrize(
    ("receive", "waits"),
    [
        pytest.param(arriving(b"a", b"b"), False, id="the body ends"),
        pytest.param(arriving(b"a", ends=False, gone=True), False, id="the client goes"),
        pytest.param(arriving(b"a", ends=False), True, id="nothing more comes"),
    ],
)
async def test_lingering_ends_with_the_body_the_client_or_the_patience(receive: Receive, waits: bool) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await linger(receive)
    took = loop.time() - started
    assert (took > 0.45) is waits


async def test_lingering_is_bounded_in_bytes() -> None:
    received = 0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal received
        received += 10_000_000
        return {"type": "http.request", "body": bytes(10_000_000), "more_body": True}

    await linger(receive)
    assert received == 50_000_000
