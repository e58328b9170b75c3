"""What `examine` refuses by itself, also where the server's parser would have refused it first."""

import pytest

from gateway.errors import (
    BadFraming,
    GatewayError,
    HeadersTooLarge,
    InteractionNotSupported,
    MediaTypeNotSupported,
    NotFound,
)
from gateway.ingress.framing import RequestHead, examine

HOST = (b"host", b"a")


def head(
    *headers: tuple[bytes, bytes],
    method: str = "POST",
    path: bytes = b"/fhir/Observation",
    query: bytes = b"",
    version: str = "1.1",
    base: bytes = b"/fhir",
) -> RequestHead:
    return examine(method=method, raw_path=path, query=query, http_version=version, raw_headers=headers, base_path=base)


@pytest.mark.parametrize(
    ("path", "base", "below"),
    [
        (b"/fhir", b"/fhir", b""),
        (b"/fhir/", b"/fhir", b""),
        (b"/fhir/Patient/1", b"/fhir", b"Patient/1"),
        (b"/fhir//Patient", b"/fhir", b"/Patient"),
        (b"/Patient/1", b"", b"Patient/1"),
        (b"/", b"", b""),
        (b"/a/b/Patient", b"/a/b", b"Patient"),
    ],
)
def test_paths_below_the_base(path: bytes, base: bytes, below: bytes) -> None:
    assert head(HOST, path=path, base=base).path == below


@pytest.mark.parametrize("path", [b"/", b"/fhi", b"/fhirx", b"/FHIR/Patient", b"/fhir%2fPatient", b"/x/fhir/Patient"])
def test_other_paths_are_not_found(path: bytes) -> None:
    with pytest.raises(NotFound):
        head(HOST, path=path)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ([HOST, (b"content-length", b"2"), (b"transfer-encoding", b"chunked")], BadFraming),
        ([HOST, (b"content-length", b"2"), (b"content-length", b"2")], BadFraming),
        ([HOST, (b"content-length", b"2, 2")], BadFraming),
        ([HOST, (b"content-length", b"+2")], BadFraming),
        ([HOST, (b"content-length", b"")], BadFraming),
        ([HOST, (b"content-length", b"\xb2")], BadFraming),
        ([HOST, (b"content-length", b"9" * 19)], BadFraming),
        ([HOST, (b"transfer-encoding", b"gzip, chunked")], BadFraming),
        ([HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")], BadFraming),
        ([HOST, (b"x", b"a\nb")], BadFraming),
        ([HOST, (b"x", b"a\x7fb")], BadFraming),
        ([HOST, (b"upgrade", b"websocket")], BadFraming),
        ([HOST, (b"expect", b"100-continue"), (b"expect", b"100-continue")], BadFraming),
        ([], BadFraming),
        ([HOST, HOST], BadFraming),
        ([(b"host", b"a b")], BadFraming),
        ([(b"host", b"a:123456")], BadFraming),
        ([HOST, *[(b"x", b"")] * 100], HeadersTooLarge),
        ([HOST, (b"x", b"a" * 32_768)], HeadersTooLarge),
        ([HOST, (b"content-encoding", b"gzip")], MediaTypeNotSupported),
        ([HOST, (b"content-encoding", b"")], MediaTypeNotSupported),
    ],
)
def test_headers_that_can_be_read_in_two_ways(headers: list[tuple[bytes, bytes]], error: type[GatewayError]) -> None:
    with pytest.raises(error):
        head(*headers)


@pytest.mark.parametrize("version", ["0.9", "1.2", "2", "3"])
def test_other_versions(version: str) -> None:
    with pytest.raises(BadFraming):
        head(HOST, version=version)


def test_a_transfer_coding_needs_http_1_1() -> None:
    with pytest.raises(BadFraming):
        head(HOST, (b"transfer-encoding", b"chunked"), version="1.0")


@pytest.mark.parametrize("method", ["post", "TRACE", "CONNECT", "PROPFIND", "", "GET "])
def test_other_methods(method: str) -> None:
    with pytest.raises(InteractionNotSupported) as caught:
        head(HOST, method=method)
    assert "POST" in caught.value.allowed


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("header", [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")])
def test_bodies_where_none_belongs(method: str, header: tuple[bytes, bytes]) -> None:
    with pytest.raises(BadFraming):
        head(HOST, header, method=method)


@pytest.mark.parametrize("query", [b"a=b#c", b"a=\xe9", b"a b", b"a\x00"])
def test_queries_hold_visible_ascii_only(query: bytes) -> None:
    with pytest.raises(BadFraming):
        head(HOST, query=query)


def test_what_is_read() -> None:
    found = head(HOST, (b"x", b"1"), (b"y", b"\xe9"), (b"x", b"2"), (b"transfer-encoding", b"Chunked"))
    assert found.values("x") == ("1", "2")
    assert found.values("y") == ("\u00e9",)
    assert found.values("z") == ()
    assert found.content_length is None
    assert head(HOST).content_length == 0
    assert head(HOST, (b"content-length", b"007")).content_length == 7
    assert head(HOST, (b"expect", b"100-Continue"), (b"content-length", b"1")).expects_continue
