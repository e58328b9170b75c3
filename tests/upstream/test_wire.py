"""One request as bytes: exactly what was judged, or nothing."""

import pytest

from gateway.saga.ports import NotSent, UpstreamRequest
from gateway.upstream.wire import message, origin_of

ORIGIN = origin_of("https://fhir.example:8443/r4/")


def test_a_message_is_one_piece_with_nothing_added_but_the_adapters_own() -> None:
    request = UpstreamRequest(
        method="PUT",
        path="Observation/a-b.C9",
        query="x=%7cy|z&_id='1'",
        headers=((b"content-type", b"application/fhir+json"), (b"if-match", b'W/"1"'), (b"x-a", b"\xe9\t")),
        body=b'{"a":1.50}',
    )
    assert message(request, ORIGIN, "Bearer x") == (
        b"PUT /r4/Observation/a-b.C9?x=%7cy|z&_id='1' HTTP/1.1\r\n"
        b"host: fhir.example:8443\r\nuser-agent: fhir-policy-gateway\r\naccept-encoding: identity\r\n"
        b'content-type: application/fhir+json\r\nif-match: W/"1"\r\nx-a: \xe9\t\r\n'
        b'authorization: Bearer x\r\ncontent-length: 10\r\n\r\n{"a":1.50}'
    )


@pytest.mark.parametrize(("method", "length"), [("POST", True), ("PATCH", True), ("GET", False), ("DELETE", False)])
def test_the_length_of_no_content(method: str, length: bool) -> None:
    sent = message(UpstreamRequest(method=method, path="a"), ORIGIN, None)
    assert (b"\r\ncontent-length: 0\r\n\r\n" in sent) is length
    assert sent.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("url", "host", "named", "base"),
    [
        ("http://localhost:8080/fhir", "localhost", b"localhost:8080", "/fhir/"),
        ("http://localhost:80", "localhost", b"localhost", "/"),
        ("https://fhir.example:443/a/b//", "fhir.example", b"fhir.example", "/a/b/"),
        ("https://fhir.example:80/a", "fhir.example", b"fhir.example:80", "/a/"),
        ("http://[::1]:8080/fhir", "::1", b"[::1]:8080", "/fhir/"),
    ],
)
def test_an_origin(url: str, host: str, named: bytes, base: str) -> None:
    origin = origin_of(url)
    assert (origin.host, origin.base, origin.secure) == (host, base, url.startswith("https"))
    assert b"\r\nhost: " + named + b"\r\n" in origin.fixed


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/b",
        "http:///fhir",
        "http://a:b@c/fhir",
        "http://a/fhir?x",
        "http://a/fhir#x",
        "http://\xe9/fhir",
        "http://a/../fhir",
        "http://a/f hir",
        "http://a:x/fhir",
        "http://a:99999/fhir",
        "http://a b/fhir",
        "fhir",
        "",
    ],
)
def test_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        origin_of(url)


@pytest.mark.parametrize(
    "path",
    [
        "a b",
        "a\tb",
        "a\r\nb",
        "a\x00",
        "a\x7f",
        "a#b",
        "a?b",
        "a%",
        "a%2",
        "a%zz",
        "\xe9",
        "..",
        "a/.",
        "./a",
        "%2E./a",
    ],
)
def test_a_path_that_has_another_reading(path: str) -> None:
    with pytest.raises(NotSent):
        message(UpstreamRequest(method="GET", path=path), ORIGIN, None)


@pytest.mark.parametrize("path", ["a...b", ".a/b..", "Patient/$match", "a%2Fb", "a/%2e%2e%2e", "a//b", ""])
def test_a_path_that_goes_as_it_is(path: str) -> None:
    sent = message(UpstreamRequest(method="GET", path=path), ORIGIN, None)
    assert sent.startswith(f"GET /r4/{path} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("query", ["a b", "a\n", "a#b", 'a"', "<a", "a>", "\xe9", "a\x7f"])
def test_a_query_that_has_another_reading(query: str) -> None:
    with pytest.raises(NotSent):
        message(UpstreamRequest(method="GET", path="a", query=query), ORIGIN, None)


@pytest.mark.parametrize("method", ["get", "GET ", "", "G\r\nT", "GET\n", "G\xcbT"])
def test_a_method_that_is_none(method: str) -> None:
    with pytest.raises(NotSent):
        message(UpstreamRequest(method=method, path="a"), ORIGIN, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-a", b"b\r\nc: d"),
        (b"x-a", b"b\nc"),
        (b"x-a", b"b\x00"),
        (b"x-a", b"b\n"),
        (b"x a", b"b"),
        (b"x-a:", b"b"),
        (b"", b"b"),
        (b"X-A", b"b"),
        (b"x-a\n", b"b"),
        (b"host", b"other"),
        (b"content-length", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"upgrade"),
        (b"expect", b"100-continue"),
        (b"authorization", b"Bearer of-the-client"),
        (b"cookie", b"a=b"),
    ],
)
def test_a_header_that_is_not_a_callers(name: bytes, value: bytes) -> None:
    with pytest.raises(NotSent):
        message(UpstreamRequest(method="GET", path="a", headers=((name, value),)), ORIGIN, None)


@pytest.mark.parametrize("text", ["Bearer a\r\nb: c", "Bearer \xe9", "Bearer a\x00"])
def test_credentials_that_would_be_more_than_a_value(text: str) -> None:
    with pytest.raises(NotSent):
        message(UpstreamRequest(method="GET", path="a"), ORIGIN, text)
