"""The upstream client against raw sockets: what it sends, what it believes."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.saga.ports import AnswerLost, AnswerTooLarge, NotSent, TooLate, Unreachable, UpstreamRequest
from gateway.upstream.client import UpstreamClient
from gateway.upstream.pool import UpstreamConnections
from gateway.upstream.settings import Basic, BearerFile
from tests.upstream.wire import (
    Delivered,
    MakeClient,
    answer,
    listening,
    making,
    replying,
    reset,
    silent,
)

POST = UpstreamRequest(
    method="POST", path="Observation", headers=((b"content-type", b"application/fhir+json"),), body=b'{"a":1.50}'
)
GET = UpstreamRequest(method="GET", path="Observation/a-b.C9", query="x=%7Cy&_id=1")


@pytest.fixture(params=[UpstreamClient, UpstreamConnections])
def client_of(request: pytest.FixtureRequest) -> MakeClient:
    """Both clients keep the same promises."""
    return making(request.param)


def free_port() -> int:
    with socket.socket() as unbound:
        unbound.bind(("127.0.0.1", 0))
        return int(unbound.getsockname()[1])


async def test_the_bytes_are_sent_as_they_are(client_of: MakeClient) -> None:
    async with listening(replying(answer())) as wire, client_of(wire.port) as client:
        await client.send(POST)
        await client.send(GET)
    post, get = wire.delivered
    assert post.line == "POST /fhir/Observation HTTP/1.1"
    assert post.body == b'{"a":1.50}'
    assert post.header(b"accept-encoding") == [b"identity"]
    assert post.header(b"content-type") == [b"application/fhir+json"]
    assert post.header(b"authorization") == post.header(b"cookie") == post.header(b"referer") == []
    assert get.line == "GET /fhir/Observation/a-b.C9?x=%7Cy&_id=1 HTTP/1.1"
    assert get.connection == post.connection


@pytest.mark.parametrize("path", ["a/../b", "a/%2e%2e/b", "a b", 'a"b', "a\\b", "é"])
async def test_a_path_that_would_be_changed_is_not_sent(path: str, client_of: MakeClient) -> None:
    async with listening(replying(answer())) as wire, client_of(wire.port) as client:
        with pytest.raises(NotSent):
            await client.send(UpstreamRequest(method="GET", path=path))
    assert wire.delivered == []


@pytest.mark.parametrize("may", [True, False])
async def test_what_may_no_longer_leave_is_held_back_at_the_last_instant(client_of: MakeClient, may: bool) -> None:
    """Asked once, when everything that had to be waited for is there."""
    asked: list[int] = []

    def may_leave() -> bool:
        asked.append(len(wire.delivered))
        return may

    async with listening(replying(answer())) as wire, client_of(wire.port) as client:
        await client.send(GET)
        if may:
            await client.send(replace(POST, may_leave=may_leave))
        else:
            with pytest.raises(TooLate):
                await client.send(replace(POST, may_leave=may_leave))
        await client.send(GET)
    assert asked == [1]
    assert [each.line.partition(" ")[0] for each in wire.delivered] == ["GET", *["POST"] * may, "GET"]
    assert len({each.connection for each in wire.delivered}) == 1


async def test_a_header_that_cannot_be_sent_stops_the_request(client_of: MakeClient) -> None:
    async with listening(replying(answer())) as wire, client_of(wire.port) as client:
        with pytest.raises(NotSent):
            await client.send(UpstreamRequest(method="GET", path="a", headers=((b"x-a", b"b\r\nc: d"),)))
    assert wire.delivered == []


async def test_headers_come_back_in_order_in_lower_case(client_of: MakeClient) -> None:
    raw = answer("201 Created", b"{}", 'ETag: W/"1"', "X-Two: a", "X-Two: b")
    async with listening(replying(raw)) as wire, client_of(wire.port) as client:
        found = await client.send(POST)
    assert found.status == 201
    assert found.headers[:3] == ((b"etag", b'W/"1"'), (b"x-two", b"a"), (b"x-two", b"b"))
    assert found.header(b"etag") == 'W/"1"'
    assert found.body == b"{}"


async def test_a_header_beyond_ascii_hides_no_other(client_of: MakeClient) -> None:
    raw = answer("200 OK", b"{}", "X-Bad: \xe9", 'ETag: W/"1"')
    async with listening(replying(raw)) as wire, client_of(wire.port) as client:
        found = await client.send(GET)
    assert found.header(b"etag") == 'W/"1"'


async def test_a_refused_connection_is_not_sent(client_of: MakeClient) -> None:
    async with client_of(free_port()) as client:
        with pytest.raises(Unreachable):
            await client.send(POST)
        with pytest.raises(NotSent):
            async with client.stream(GET):
                raise AssertionError("unreachable")


async def test_a_connection_that_is_never_accepted_is_not_sent(client_of: MakeClient) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filling in (first, second):
            filling.setblocking(False)
            filling.connect_ex(full.getsockname())
        async with client_of(full.getsockname()[1], timeout=0.5) as client:
            with pytest.raises(NotSent):
                await client.send(POST)


async def test_an_unknown_name_is_not_sent(client_of: MakeClient) -> None:
    async with client_of(1, url="http://fhir.invalid/fhir/") as client:
        with pytest.raises(NotSent):
            await client.send(POST)


async def test_a_failed_tls_handshake_is_not_sent(client_of: MakeClient) -> None:
    async with listening(None) as wire, client_of(0, url=f"https://127.0.0.1:{wire.port}/fhir/") as client:
        with pytest.raises(NotSent):
            await client.send(POST)
    assert wire.delivered == []


async def test_a_reset_after_the_delivery_is_in_doubt_and_not_repeated(client_of: MakeClient) -> None:
    async with listening(reset) as wire, client_of(wire.port) as client:
        with pytest.raises(AnswerLost) as lost:
            await client.send(POST)
        await asyncio.sleep(0.05)
    assert not lost.value.timed_out
    assert len(wire.delivered) == 1


async def test_a_reset_on_a_used_connection_is_in_doubt_and_not_repeated(client_of: MakeClient) -> None:
    async def once(request: Delivered, writer: asyncio.StreamWriter) -> None:
        if request.body == b"first":
            writer.write(answer())
        else:
            writer.transport.abort()

    async with listening(once) as wire, client_of(wire.port) as client:
        await client.send(UpstreamRequest(method="POST", path="Observation", body=b"first"))
        with pytest.raises(AnswerLost):
            await client.send(POST)
        await asyncio.sleep(0.05)
    assert [each.body for each in wire.delivered] == [b"first", POST.body]
    assert wire.delivered[0].connection == wire.delivered[1].connection


async def test_a_reset_before_the_request_was_read_is_an_error(client_of: MakeClient) -> None:
    """In doubt, unless the client saw it before it wrote."""
    async with listening(None) as wire, client_of(wire.port) as client:
        with pytest.raises((NotSent, AnswerLost)):
            await client.send(POST)
    assert wire.delivered == []


async def test_no_answer_in_time_is_in_doubt(client_of: MakeClient) -> None:
    async with listening(silent) as wire, client_of(wire.port, timeout=5.0) as client:
        with pytest.raises(AnswerLost) as lost:
            await client.send(POST, seconds=0.1)
    assert lost.value.timed_out
    assert len(wire.delivered) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 201 Crea",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_a_broken_answer_is_in_doubt(raw: bytes, client_of: MakeClient) -> None:
    async def cut(request: Delivered, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    async with listening(cut) as wire, client_of(wire.port) as client:
        with pytest.raises(AnswerLost):
            await client.send(POST)
    assert len(wire.delivered) == 1


async def test_a_redirect_is_an_answer(client_of: MakeClient) -> None:
    async def redirect(request: Delivered, writer: asyncio.StreamWriter) -> None:
        writer.write(answer("307 Temporary Redirect", b"", f"Location: http://127.0.0.1:{target.port}/fhir/x"))

    async with (
        listening(replying(answer())) as target,
        listening(redirect) as wire,
        client_of(wire.port) as client,
    ):
        found = await client.send(POST)
    assert found.status == 307
    assert target.delivered == []


async def test_a_cookie_is_not_played_back(client_of: MakeClient) -> None:
    setting = answer("200 OK", b"{}", "Set-Cookie: a=b; Path=/")
    async with listening(replying(setting)) as wire, client_of(wire.port) as client:
        await client.send(GET)
        await client.send(GET)
    assert [each.header(b"cookie") for each in wire.delivered] == [[], []]


async def test_pyreqwest_does_not_undo_a_coding() -> None:
    client_of = making(UpstreamClient)
    raw = answer("200 OK", b"\x1f\x8bnot really", "Content-Encoding: gzip")
    async with listening(replying(raw)) as wire, client_of(wire.port) as client:
        found = await client.send(GET)
    assert found.body == b"\x1f\x8bnot really"
    assert found.header(b"content-encoding") == "gzip"


async def test_a_proxy_from_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, client_of: MakeClient) -> None:
    async with listening(replying(answer())) as proxy, listening(replying(answer())) as wire:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with client_of(wire.port) as client:
            await client.send(GET)
    assert (len(wire.delivered), len(proxy.delivered)) == (1, 0)


async def test_a_huge_answer_is_bounded(client_of: MakeClient) -> None:
    served = 0

    async def flood(request: Delivered, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65_536)
            served += 65_536
            await writer.drain()

    async with listening(flood) as wire, client_of(wire.port, max_answer_bytes=100_000) as client:
        with pytest.raises(AnswerLost):
            await client.send(GET)
        await asyncio.sleep(0.05)
    assert served < 20_000_000


async def test_an_answer_of_exactly_the_limit_passes(client_of: MakeClient) -> None:
    async with listening(replying(answer(body=b"x" * 1000))) as wire:
        async with client_of(wire.port, max_answer_bytes=1000) as client:
            assert len((await client.send(GET)).body) == 1000
        async with client_of(wire.port, max_answer_bytes=999) as client:
            with pytest.raises(AnswerTooLarge):
                await client.send(GET)


async def test_a_full_pool_is_not_sent(client_of: MakeClient) -> None:
    async with listening(silent) as wire, client_of(wire.port, timeout=0.3, max_connections=1) as client:
        first = asyncio.create_task(client.send(POST))
        await asyncio.sleep(0.05)
        with pytest.raises((NotSent, AnswerLost)):
            await client.send(GET)
        with pytest.raises(AnswerLost):
            await first
    assert wire.delivered[0].body == POST.body


async def test_a_stream_comes_piece_by_piece(client_of: MakeClient) -> None:
    async with listening(replying(answer(body=b"x" * 200_000))) as wire, client_of(wire.port) as client:
        async with client.stream(GET) as streamed:
            assert streamed.status == 200
            assert (b"content-length", b"200000") in streamed.headers
            assert sum([len(chunk) async for chunk in streamed.chunks()]) == 200_000
        assert [chunk async for chunk in client.stream(GET).chunks()] == []


async def test_a_stream_that_ends_early_says_so(client_of: MakeClient) -> None:
    async def cut(request: Delivered, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        await writer.drain()
        writer.close()

    async with listening(cut) as wire, client_of(wire.port) as client, client.stream(GET) as streamed:
        with pytest.raises(AnswerLost):
            assert [chunk async for chunk in streamed.chunks()] == []


async def test_own_credentials_are_added_and_read_again(tmp_path: Path, client_of: MakeClient) -> None:
    secret = tmp_path / "secret"
    secret.write_text("one\n")
    async with listening(replying(answer())) as wire:
        async with client_of(wire.port, credentials=BearerFile(token_file=secret)) as client:
            await client.send(GET)
            secret.write_text("two-is-longer\n")
            await client.send(GET)
            secret.unlink()
            with pytest.raises(NotSent):
                await client.send(GET)
        secret.write_text("pass")
        async with client_of(wire.port, credentials=Basic(username="gw", password_file=secret)) as client:
            await client.send(GET)
    assert [each.header(b"authorization") for each in wire.delivered] == [
        [b"Bearer one"],
        [b"Bearer two-is-longer"],
        [b"Basic Z3c6cGFzcw=="],
    ]


async def test_a_client_that_is_not_started_sends_nothing(client_of: MakeClient) -> None:
    async with listening(replying(answer())) as wire, client_of(wire.port) as client:
        await client.close()
        with pytest.raises(NotSent):
            await client.send(GET)
    assert wire.delivered == []
