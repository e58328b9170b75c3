"""One answer out of bytes: strictly, and the same however the bytes arrive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.answer import AnswerReader, BrokenAnswer

MOST = 1_000
Found = tuple[int, tuple[tuple[bytes, bytes], ...], bytes, bool]


def read(*pieces: bytes, bodiless: bool = False, most: int = MOST, ended: bool = False) -> Found | None:
    """Status, headers, body and whether the connection stays; None for an answer that is not complete yet."""
    reader = AnswerReader()
    reader.begin(bodiless=bodiless, most=most)
    for piece in pieces:
        reader.feed(piece)
        if reader.complete:
            break
    if ended and not reader.complete:
        reader.end()
    return (reader.status, reader.head(), bytes(reader.body), reader.keep) if reader.complete else None


def head(*lines: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    return "\r\n".join([f"HTTP/{version} {status}", *lines, "", ""]).encode("latin-1")


def test_an_answer() -> None:
    raw = head('ETag: W/"1"', "X-Two: a ", "x-two:\tb", "X-Raw: \xe9", "Content-Length: 2") + b"{}"
    assert read(raw) == (
        200,
        (
            (b"etag", b'W/"1"'),
            (b"x-two", b"a"),
            (b"x-two", b"b"),
            (b"x-raw", b"\xe9"),
            (b"content-length", b"2"),
        ),
        b"{}",
        True,
    )


CHUNKED = head("Transfer-Encoding: Chunked") + b"2;a=b\r\nab\r\n1\r\nc\r\n0\r\nX-T: 1\r\nETag: 2\r\n\r\n"


def test_chunks_without_their_trailer() -> None:
    assert read(CHUNKED) == (200, ((b"transfer-encoding", b"Chunked"),), b"abc", True)


@pytest.mark.parametrize(
    ("raw", "body", "keep"),
    [
        (head("Content-Length: 5", status="204 No Content"), b"", True),
        (head("Content-Length: 5000", status="304 Not Modified"), b"", True),
        (head("Transfer-Encoding: chunked", status="304 Not Modified"), b"", True),
        (head(status="204 No Content"), b"", True),
        (head("Connection: close", "Content-Length: 1") + b"a", b"a", False),
        (head("Connection: x, Close", "Content-Length: 1") + b"a", b"a", False),
        (head("Content-Length: 1", version="1.0") + b"a", b"a", False),
        (head("Content-Length: 0"), b"", True),
        (head("Content-Encoding: identity", "Content-Length: 1") + b"a", b"a", True),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + head("Content-Length: 1") + b"a",
            b"a",
            True,
        ),
    ],
)
def test_where_an_answer_ends(raw: bytes, body: bytes, keep: bool) -> None:
    found = read(raw)
    assert found is not None
    assert found[2:] == (body, keep)
    assert not any(name == b"link" for name, _ in found[1])


@pytest.mark.parametrize("length", ["Content-Length: 5000", "Transfer-Encoding: chunked", "X: y"])
def test_an_answer_to_head_ends_with_its_head_and_the_next_begins_anew(length: str) -> None:
    reader = AnswerReader()
    for _ in range(2):
        reader.begin(bodiless=True, most=MOST)
        reader.feed(head(length))
        assert reader.complete
    reader.begin(bodiless=False, most=MOST)
    reader.feed(head("Content-Length: 1") + b"a")
    assert (reader.complete, bytes(reader.body)) == (True, b"a")


def test_a_body_that_ends_with_its_connection() -> None:
    assert read(head("Connection: close") + b"ab", b"cd") is None
    assert read(head("Connection: close") + b"ab", b"cd", ended=True) == (
        200,
        ((b"connection", b"close"),),
        b"abcd",
        False,
    )


@pytest.mark.parametrize("raw", [b"", head()[:-3], head("Content-Length: 3") + b"ab", CHUNKED[:-2]])
def test_an_end_too_early(raw: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        read(raw, ended=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        head("Content-Length: 1", "Content-Length: 1") + b"a",
        head("Content-Length: 1", "Content-Length: 2") + b"ab",
        head("Content-Length: 1, 1") + b"a",
        head("Content-Length: 1", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head("Transfer-Encoding: chunked", "Content-Length: 1") + b"0\r\n\r\n",
        head("Content-Length: +1") + b"a",
        head("Content-Length: -1") + b"a",
        head("Content-Length: 0x1") + b"a",
        head("Content-Length:") + b"a",
        head("Content-Length: 99999999999999999999999"),
        head("Content-Length: " + "0" * 5000 + "1") + b"a",
        head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        head("Transfer-Encoding: identity") + b"a",
        head("Transfer-Encoding: chunked", version="1.0") + b"0\r\n\r\n",
        head("Transfer-Encoding: chunked") + b"0x1\r\na\r\n0\r\n\r\n",
        head("Transfer-Encoding: chunked") + b"1\na\n0\n\n",
        head("Transfer-Encoding: chunked") + b"1\r\nab\r\n0\r\n\r\n",
        head() + b"a",
        head("Connection: keep-alive") + b"a",
        head(status="205 Reset Content"),
        head(version="1.0") + b"a",
        head("Content-Length: 1", version="2.0") + b"a",
        head("Content-Length: 1", version="0.9") + b"a",
        head("Content-Length: 1", status="099 a") + b"a",
        head("Content-Length: 1", status="600 a") + b"a",
        head("Content-Length: 1", status="1000 a") + b"a",
        head("Content-Length: 1", status="20 a") + b"a",
        head("Upgrade: x", "Connection: upgrade", status="101 Switching Protocols"),
        head(status="100 Continue") * 9,
        head("Content-Encoding: gzip", "Content-Length: 1") + b"a",
        head("Content-Length : 1") + b"a",
        head("X: a\r\n b", "Content-Length: 1") + b"a",
        head("X: a\x00", "Content-Length: 1") + b"a",
        b"HTTP/1.1 200 OK\nContent-Length: 1\n\na",
        head(*["X: y"] * 201, "Content-Length: 1") + b"a",
        head("X: " + "y" * 65_536, "Content-Length: 1") + b"a",
        head(f"Content-Length: {MOST + 1}"),
        head("Transfer-Encoding: chunked") + b"3e9\r\n" + b"a" * (MOST + 1),
        head("Content-Length: 1") + b"aHTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\nPOISON",
        head("Content-Length: 1") + b"ab",
        head(status="204 No Content") + b"ab",
        head("Transfer-Encoding: chunked") + b"0\r\n" + (b"X: " + b"y" * 40_000 + b"\r\n") * 2 + b"\r\n",
    ],
)
def test_what_has_two_readings_is_no_answer(raw: bytes) -> None:
    with pytest.raises(BrokenAnswer) as broken:
        read(raw)
    assert "POISON" not in str(broken.value)


def test_a_body_to_head_is_none() -> None:
    with pytest.raises(BrokenAnswer):
        read(head("Content-Length: 2") + b"ab", bodiless=True)


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 ", head()[:-2] + b"X: ", head("Transfer-Encoding: chunked") + b"1;"])
def test_what_piles_up_out_of_sight_is_bounded(start: bytes) -> None:
    reader = AnswerReader()
    reader.begin(bodiless=False, most=MOST)
    reader.feed(start)
    for _ in range(60):
        reader.feed(b"x" * 1_000)
    with pytest.raises(BrokenAnswer):
        reader.feed(b"x" * 10_000)


ANSWERS = [
    head('ETag: W/"1"', "Content-Length: 5") + b"first",
    CHUNKED,
    head(status="100 Continue") + head("Content-Length: 5") + b"first",
    head("Connection: close", "Content-Length: 5") + b"first",
    head(status="204 No Content"),
]
POISON = head("Content-Length: 6", status="201 Created") + b"POISON"


@st.composite
def pieces(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    return [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


@given(st.data())
def test_an_answer_is_the_same_however_it_arrives(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from(ANSWERS))
    assert read(*data.draw(pieces(raw))) == read(raw)


@given(st.data())
def test_no_answer_holds_another(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from(ANSWERS))
    try:
        found = read(*data.draw(pieces(raw + POISON)))
    except BrokenAnswer:
        found = None
    assert found in (None, read(raw))


@given(st.data())
def test_mutated_answers_end_or_break(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(ANSWERS)) + data.draw(st.sampled_from([b"", POISON])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b"", b"\r\n", b"0", b"9", b":", b" ", b"\x00", b"Content-Length: 3\r\n"])
            | st.binary(max_size=3)
        )
    try:
        found = read(*data.draw(pieces(bytes(raw))), ended=data.draw(st.booleans()))
    except BrokenAnswer:
        found = None
    assert found is None or len(found[2]) <= MOST
