"""Connections of our own, where they promise more than any client: what left, what came, what is used again."""

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.saga.ports import AnswerLost, NotSent, Overloaded, Unreachable, UpstreamRequest
from gateway.upstream.pool import UpstreamConnections
from gateway.upstream.settings import UpstreamSettings
from tests.upstream.certificate import contexts
from tests.upstream.wire import Client, Delivered, Reply, Wire, answer, client_of, listening, replying, silent

POST = UpstreamRequest(method="POST", path="Observation", body=b'{"a":1.50}')
GET = UpstreamRequest(method="GET", path="Observation/1")
HEAD = UpstreamRequest(method="HEAD", path="Observation/1")
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a scenario on each kind of loop."""
    chosen: Run = request.param
    return chosen


def asked(number: int) -> UpstreamRequest:
    return UpstreamRequest(method="GET", path=f"Basic/{number}")


async def echo(request: Delivered, writer: asyncio.StreamWriter) -> None:
    """Answers with the target that was asked for."""
    writer.write(answer(body=request.line.split()[1].encode()))


def then(*replies: Reply) -> Reply:
    """One reply after another; the last for all that follow."""
    left = list(replies)

    async def reply(request: Delivered, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, writer)

    return reply


async def read_whole(client: Client, request: UpstreamRequest = GET) -> bytes:
    async with client.stream(request) as streamed:
        return b"".join([chunk async for chunk in streamed.chunks()])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (what is waited for is told by counts alone)
            await asyncio.sleep(0.005)


def test_many_at_once_get_each_their_own_answer(run: Run) -> None:
    async def scenario() -> None:
        async with listening(echo) as wire, client_of(wire.port, max_connections=4) as client:
            found = await asyncio.gather(*(client.send(asked(number)) for number in range(200)))
        assert [each.body for each in found] == [b"/fhir/Basic/%d" % number for number in range(200)]
        assert wire.connections == 4

    run(scenario())


def test_raw_headers_in_order(run: Run) -> None:
    async def scenario() -> None:
        raw = answer("200 OK", b"{}", "X-B: \xe9", "X-A:  a ")
        async with listening(replying(raw)) as wire, client_of(wire.port) as client:
            found = await client.send(GET)
        assert found.headers == ((b"x-b", b"\xe9"), (b"x-a", b"a"), (b"content-length", b"2"))
        assert found.header(b"x-b") == "\xe9"

    run(scenario())


@pytest.mark.parametrize(
    "last", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON", b"HTTP/1.1 408 T\r\n\r\n"]
)
def test_what_came_while_idle_ends_the_connection_before_its_next_use(run: Run, last: bytes) -> None:
    """An end, an answer nobody asked for: the next request goes out on another connection, and is not in doubt."""

    async def leave(request: Delivered, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(body=b"first"))
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(last)
        if not last:
            writer.close()

    async def scenario() -> None:
        async with listening(then(leave, echo)) as wire, client_of(wire.port) as client:
            assert (await client.send(POST)).body == b"first"
            await asyncio.sleep(0.04)
            assert (await client.send(asked(2))).body == b"/fhir/Basic/2"
        assert [each.connection for each in wire.delivered] == [1, 2]

    run(scenario())


def test_what_the_loop_has_not_seen_yet_is_asked_of_the_kernel(run: Run) -> None:
    """The server hangs up while this program is busy: the next write must not go into a dead connection."""

    async def scenario() -> None:
        async with raw_server() as (port, talk), client_of(port) as client:
            sending = asyncio.create_task(client.send(GET))
            one = await talk()
            one[1].write(answer(body=b"first"))
            assert (await sending).body == b"first"
            one[1].transport.abort()  # the server's side is closed at once, or in the next turn of this loop
            sending = asyncio.create_task(client.send(POST))
            two = await talk()
            two[1].write(answer(body=b"second"))
            assert (await sending).body == b"second"
            two[1].transport.abort()

    run(scenario())


@contextlib.asynccontextmanager
async def raw_server() -> AsyncIterator[
    tuple[int, Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]]
]:
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        accepted.put_nowait((reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], accepted.get
    finally:
        server.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        answer(body=b"a") + answer(body=b"POISON"),
    ],
)
def test_a_doubtful_answer_closes_the_connection(run: Run, raw: bytes) -> None:
    async def scenario() -> None:
        async with listening(then(replying(raw), echo)) as wire, client_of(wire.port) as client:
            with pytest.raises(AnswerLost) as lost:
                await client.send(POST)
            assert not lost.value.timed_out
            assert (await client.send(asked(2))).body == b"/fhir/Basic/2"
        assert [each.connection for each in wire.delivered] == [1, 2]
        async with listening(replying(raw)) as wire, client_of(wire.port) as client:
            with pytest.raises(AnswerLost):
                await read_whole(client)

    run(scenario())


def test_head_and_304_leave_the_connection_in_use(run: Run) -> None:
    async def scenario() -> None:
        plain = replying(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        unchanged = replying(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n")
        async with listening(then(plain, unchanged, echo)) as wire, client_of(wire.port) as client:
            assert (await client.send(HEAD)).body == b""
            assert (await client.send(GET)).status == 304
            assert (await client.send(asked(3))).body == b"/fhir/Basic/3"
        assert wire.connections == 1

    run(scenario())


def test_a_body_up_to_the_end_of_the_connection(run: Run) -> None:
    async def closing(request: Delivered, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"cd")
        writer.close()
        await writer.wait_closed()

    async def scenario() -> None:
        async with listening(closing) as wire, client_of(wire.port) as client:
            assert (await client.send(GET)).body == b"abcd"
            assert await read_whole(client) == b"abcd"
        assert wire.connections == 2

    run(scenario())


def test_an_answer_before_the_whole_request_was_taken_ends_the_connection(run: Run) -> None:
    """Such as a 413: what is left of the request must not stand before the next one."""

    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer("413 Content Too Large" if b"POST" in head else "200 OK"))
        await done.wait()
        writer.transport.abort()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1_000)
        async with client_of(server.sockets[0].getsockname()[1]) as client:
            large = UpstreamRequest(method="POST", path="Observation", body=b"x" * 20_000_000)
            assert (await client.send(large)).status == 413
            assert (await client.send(GET)).status == 200
        server.close()
        done.set()
        await asyncio.sleep(0.05)
        assert connections == 2

    done = asyncio.Event()
    run(scenario())


def test_a_slow_reader_holds_the_server_back(run: Run) -> None:
    size, served = 30_000_000, 0

    async def flood(request: Delivered, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while served < size:
            writer.write(b"x" * 100_000)
            served += 100_000
            await writer.drain()

    async def scenario() -> None:
        async with listening(flood) as wire, client_of(wire.port) as client, client.stream(GET) as streamed:
            await asyncio.sleep(0.3)
            assert served < size / 2
            largest = total = 0
            async for chunk in streamed.chunks():
                largest, total = max(largest, len(chunk)), total + len(chunk)
        assert total == size
        assert largest < 1_000_000

    run(scenario())


def test_leaving_a_stream_early_closes_its_connection_and_reading_it_whole_does_not(run: Run) -> None:
    async def scenario() -> None:
        async with listening(replying(answer(body=b"x" * 3_000_000))) as wire:
            async with client_of(wire.port, max_connections=1) as client:
                for _ in range(2):
                    async with client.stream(GET) as streamed:
                        assert sum([len(chunk) async for chunk in streamed.chunks()]) == 3_000_000
                assert wire.connections == 1
                async with client.stream(GET) as streamed:
                    async for chunk in streamed.chunks():
                        assert chunk
                        break
                assert len((await client.send(GET)).body) == 3_000_000
            assert wire.connections == 2

    run(scenario())


def test_a_stream_is_over_in_time(run: Run) -> None:
    async def stuck(request: Delivered, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await asyncio.sleep(30)

    async def scenario() -> None:
        async with (
            listening(stuck) as wire,
            client_of(wire.port, timeout=0.2) as client,
            client.stream(GET) as streamed,
        ):
            chunks = streamed.chunks()
            assert await anext(chunks) == b"abc"
            with pytest.raises(AnswerLost) as lost:
                await anext(chunks)
        assert lost.value.timed_out

    run(scenario())


@pytest.mark.parametrize("streamed", [False, True])
def test_a_cancelled_caller_closes_its_connection(run: Run, streamed: bool) -> None:
    async def scenario() -> None:
        async with listening(then(silent, echo)) as wire, client_of(wire.port, max_connections=1) as client:
            waiting = client.stream(POST).__aenter__() if streamed else client.send(POST)
            task = asyncio.ensure_future(waiting)
            await until(lambda: bool(wire.delivered))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client.send(asked(2))).body == b"/fhir/Basic/2"
        assert [each.connection for each in wire.delivered] == [1, 2]

    run(scenario())


def test_who_waits_for_a_connection_comes_in_order_or_gives_up(run: Run) -> None:
    async def slowly(request: Delivered, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await echo(request, writer)

    async def scenario() -> None:
        async with listening(slowly) as wire, client_of(wire.port, max_connections=1) as client:
            first, second, third, fourth = (asyncio.create_task(client.send(asked(number))) for number in range(4))
            impatient = asyncio.create_task(client.send(POST, seconds=0.02))
            await asyncio.sleep(0.01)
            third.cancel()
            with pytest.raises(NotSent):
                await impatient
            await asyncio.gather(first, second, fourth)
            assert third.cancelled()
        assert [each.line.split()[1] for each in wire.delivered] == [f"/fhir/Basic/{number}" for number in (0, 1, 3)]
        assert wire.connections == 1

    run(scenario())


def test_who_waits_gets_a_new_connection_when_the_old_one_broke(run: Run) -> None:
    async def broken(request: Delivered, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.transport.abort()

    async def scenario() -> None:
        async with listening(then(broken, echo)) as wire, client_of(wire.port, max_connections=1) as client:
            found = await asyncio.gather(*(client.send(asked(number)) for number in range(3)), return_exceptions=True)
        assert isinstance(found[0], AnswerLost)
        assert [each.connection for each in wire.delivered] == [1, 2, 2]

    run(scenario())


def test_a_cancelled_waiter_passes_on_what_it_was_handed(run: Run) -> None:
    async def scenario() -> None:
        async with listening(echo) as wire, client_of(wire.port, max_connections=2) as client:
            for _ in range(300):
                tasks = [asyncio.create_task(client.send(asked(number))) for number in range(8)]
                for turns, task in enumerate(tasks[::2]):
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            found = await asyncio.gather(*(client.send(asked(number), seconds=5) for number in range(4)))
        assert [each.body for each in found] == [b"/fhir/Basic/%d" % number for number in range(4)]

    run(scenario())


def test_a_waiter_cancelled_in_the_very_moment_passes_on_what_it_was_handed(run: Run) -> None:
    async def scenario(first: Reply) -> None:
        async def then_cancel() -> None:
            with contextlib.suppress(AnswerLost):
                await client.send(GET)
            second.cancel()

        async with listening(then(first, echo)) as wire, client_of(wire.port, max_connections=1) as client:
            leading = asyncio.create_task(then_cancel())
            await asyncio.sleep(0)
            second, third = asyncio.create_task(client.send(asked(2))), asyncio.create_task(client.send(asked(3)))
            await leading
            assert (await third).body == b"/fhir/Basic/3"
            assert second.cancelled()
        assert [each.line.split()[1] for each in wire.delivered] == ["/fhir/Observation/1", "/fhir/Basic/3"]

    run(scenario(echo))
    run(scenario(replying(b"broken\r\n\r\n")))


def test_a_connection_that_ends_while_it_is_handed_on_is_not_used(run: Run) -> None:
    async def parting(request: Delivered, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(body=b"first"))
        writer.close()

    async def scenario() -> None:
        async with listening(then(parting, echo)) as wire, client_of(wire.port, max_connections=1) as client:
            first, second = await asyncio.gather(client.send(POST), client.send(asked(2)))
            assert (first.body, second.body) == (b"first", b"/fhir/Basic/2")
        assert [each.connection for each in wire.delivered] == [1, 2]

    run(scenario())


def test_cancelling_while_it_connects_frees_the_place(run: Run) -> None:
    async def scenario() -> None:
        with socket.socket() as full, socket.socket() as one, socket.socket() as two:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for filling in (one, two):
                filling.setblocking(False)
                filling.connect_ex(full.getsockname())
            async with client_of(full.getsockname()[1], max_connections=1) as client:
                connecting, waiting = (asyncio.create_task(client.send(POST, seconds=0.3)) for _ in range(2))
                await asyncio.sleep(0.05)
                connecting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await connecting
                with pytest.raises(Unreachable):  # and not: no connection was free
                    await waiting

    run(scenario())


def test_too_many_who_wait_are_turned_away(run: Run) -> None:
    async def scenario() -> None:
        async with listening(silent) as wire, client_of(wire.port, max_connections=1, timeout=5.0) as client:
            tasks = [asyncio.create_task(client.send(GET)) for _ in range(1_003)]
            await until(lambda: any(task.done() for task in tasks))
            await until(lambda: bool(wire.delivered))
            await client.close()
            found = await asyncio.gather(*tasks, return_exceptions=True)
        assert Counter(map(type, found)) == {AnswerLost: 1, NotSent: 1_000, Overloaded: 2}

    run(scenario())


def test_closing_ends_what_is_under_way(run: Run) -> None:
    async def scenario() -> None:
        async with listening(silent) as wire, client_of(wire.port, max_connections=1) as client:
            under_way, waiting = (asyncio.create_task(client.send(POST)) for _ in range(2))
            await until(lambda: bool(wire.delivered))
            await client.close()
            with pytest.raises(AnswerLost):
                await under_way
            with pytest.raises(NotSent):
                await waiting
        assert len(wire.delivered) == 1

    run(scenario())


def test_idle_connections_are_closed(run: Run) -> None:
    async def scenario() -> None:
        async with listening(echo) as wire:
            client = UpstreamConnections(UpstreamSettings(url=f"http://127.0.0.1:{wire.port}/fhir"), idle_seconds=0.1)
            await client.start()
            await asyncio.gather(client.send(asked(0)), client.send(asked(1)))
            await asyncio.sleep(0.06)
            await client.send(asked(2))
            assert wire.connections == 2
            await asyncio.sleep(0.06)  # one of the two has been idle for 0.12 s
            await client.send(asked(3))
            assert wire.connections == 2
            await asyncio.sleep(0.3)
            await client.send(asked(4))
            await client.close()
        assert wire.connections == 3

    run(scenario())


def test_a_time_that_is_already_up_sends_nothing(run: Run) -> None:
    async def scenario() -> None:
        async with listening(echo) as wire, client_of(wire.port) as client:
            await client.send(asked(0))
            with pytest.raises(NotSent):
                await client.send(POST, seconds=0.0)
            await client.send(asked(1))
        assert [each.connection for each in wire.delivered] == [1, 1]

    run(scenario())


@contextlib.asynccontextmanager
async def over_tls(
    server: ssl.SSLContext, trusted: ssl.SSLContext | None, reply: Reply
) -> AsyncIterator[tuple[UpstreamConnections, list[Delivered]]]:
    wire = Wire(reply)
    serving = await asyncio.start_server(wire.serve, "127.0.0.1", 0, ssl=server)
    url = f"https://localhost:{serving.sockets[0].getsockname()[1]}/fhir"
    client = UpstreamConnections(UpstreamSettings(url=url, timeout=5.0), tls=trusted)
    await client.start()
    try:
        yield client, wire.delivered
    finally:
        await client.close()
        serving.close()


def test_over_tls(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        server, trusted = contexts(tmp_path)
        async with over_tls(server, trusted, echo) as (client, delivered):
            for number in range(3):
                assert (await client.send(asked(number))).body == b"/fhir/Basic/%d" % number
            async with client.stream(asked(3)) as streamed:
                assert [chunk async for chunk in streamed.chunks()] == [b"/fhir/Basic/3"]
        assert len(delivered) == 4
        assert len({each.connection for each in delivered}) <= 2  # a late session ticket may cost one

    run(scenario())


@pytest.mark.parametrize("name", ["localhost", "other.example"])
def test_a_server_that_is_not_the_named_one_gets_nothing(run: Run, tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        server, trusted = contexts(tmp_path, name)
        async with over_tls(server, None if name == "localhost" else trusted, echo) as (client, delivered):
            with pytest.raises(NotSent):
                await client.send(POST)
        assert delivered == []

    run(scenario())


def test_over_tls_only_a_length_ends_an_answer(run: Run, tmp_path: Path) -> None:
    async def closing(request: Delivered, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab")
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        async with over_tls(*contexts(tmp_path), closing) as (client, delivered):
            with pytest.raises(AnswerLost):
                await client.send(POST)
        assert len(delivered) == 1

    run(scenario())


WHOLE = answer("201 Created", b"first", 'ETag: W/"1"')
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n"


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    raw = bytearray(draw(st.sampled_from([WHOLE, CHUNKED])) + draw(st.sampled_from([b"", answer(body=b"POISON")])))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 3))] = draw(
            st.sampled_from([b"", b"\r\n", b"0", b"9", b":", b"\x00"]) | st.binary(max_size=3)
        )
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=3)))
    return [bytes(raw[a:b]) for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


@settings(max_examples=150)
@given(mutated(), st.sampled_from(["close", "abort", "stay"]), st.booleans())
def test_whatever_comes_the_next_request_gets_its_own_answer(pieces: list[bytes], end: str, streamed: bool) -> None:
    ended = asyncio.Event()

    async def mangled(request: Delivered, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            if not writer.transport.is_closing():
                writer.write(piece)
            await asyncio.sleep(0)
        if end == "abort":
            writer.transport.abort()
        elif end == "close":
            writer.close()
        ended.set()

    async def exchange(client: UpstreamConnections) -> None:
        if not streamed:
            await client.send(POST)
            return
        await read_whole(client, POST)

    async def scenario() -> None:
        async with listening(then(mangled, echo)) as wire, client_of(wire.port, timeout=0.05) as client:
            assert isinstance(client, UpstreamConnections)
            async with asyncio.timeout(5):
                with contextlib.suppress(AnswerLost):
                    while not wire.delivered:  # on a busy machine connecting alone may take longer than the short time
                        with contextlib.suppress(Unreachable):
                            await exchange(client)
                await ended.wait()
                await asyncio.sleep(0.002)  # what the server did is on its way: until then nobody can know
                assert (await client.send(asked(2), seconds=3)).body == b"/fhir/Basic/2"
        assert [each.line.split()[1] for each in wire.delivered] == ["/fhir/Observation", "/fhir/Basic/2"]

    uvloop.run(scenario())
