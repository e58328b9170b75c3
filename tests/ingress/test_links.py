"""The streaming rewriter gives what rewriting the whole body at once would give, however the body is cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ingress.links import LinkRewriter, rewrite

UPSTREAM = b"http://up:8080/fhir"
PUBLIC = b"https://gw.example/r4"


def streamed(chunks: list[bytes], upstream: bytes = UPSTREAM) -> bytes:
    rewriter = LinkRewriter(upstream, PUBLIC)
    return b"".join([*(rewriter.feed(chunk) for chunk in chunks), rewriter.finish()])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"url":"http://up:8080/fhir/Patient/1"}', b'{"url":"https://gw.example/r4/Patient/1"}'),
        (b'{"url":"http://up:8080/fhir?_getpages=1"}', b'{"url":"https://gw.example/r4?_getpages=1"}'),
        (b'{"url":"http://up:8080/fhir"}', b'{"url":"https://gw.example/r4"}'),
        (b'{"url":"http:\\/\\/up:8080\\/fhir\\/Patient\\/1"}', b'{"url":"https://gw.example/r4\\/Patient\\/1"}'),
        (b'"<a href=\\"http://up:8080/fhir/x\\">"', b'"<a href=\\"https://gw.example/r4/x\\">"'),
        (b'"http://up:8080/fhir2/Patient/1"', b'"http://up:8080/fhir2/Patient/1"'),
        (b'"http://up:8080/fhir-2"', b'"http://up:8080/fhir-2"'),
        (b'"xhttp://up:8080/fhir/Patient"', b'"xhttp://up:8080/fhir/Patient"'),
        (b'"http://up:80801/fhir/Patient"', b'"http://up:80801/fhir/Patient"'),
        (b'"http://up:8080/FHIR/Patient"', b'"http://up:8080/FHIR/Patient"'),
        (b"http://up:8080/fhir", b"http://up:8080/fhir"),
        (b"", b""),
        (b'"http://up:8080/fhir/a http://up:8080/fhir/b"', b'"https://gw.example/r4/a https://gw.example/r4/b"'),
    ],
)
def test_whole_occurrences_only(before: bytes, after: bytes) -> None:
    assert rewrite(before, UPSTREAM, PUBLIC) == after
    assert streamed([before]) == after
    assert streamed([bytes([byte]) for byte in before]) == after


def test_a_base_is_text_and_not_a_pattern() -> None:
    assert rewrite(b'"http://u.p/fhir/x"', b"http://u.p/fhir", PUBLIC) == b'"https://gw.example/r4/x"'
    assert rewrite(b'"http://uxp/fhir/x"', b"http://u.p/fhir", PUBLIC) == b'"http://uxp/fhir/x"'


def test_a_public_base_with_a_backslash_would_be_taken_literally() -> None:
    assert rewrite(b'"http://up:8080/fhir/x"', UPSTREAM, rb"\1") == rb'"\1/x"'


def test_memory_does_not_grow_with_the_body() -> None:
    rewriter = LinkRewriter(UPSTREAM, PUBLIC)
    given_on = sum(len(rewriter.feed(b"x" * 10_000)) for _ in range(100))
    assert given_on > 999_000


pieces = st.sampled_from(
    [b"http:", b"/", b"\\/", b"//", b"up:8080", b"up", b"fhir", b"fhir/", b'"', b"?", b"x", b"-", b"\\", UPSTREAM]
)


@given(st.lists(pieces, max_size=30), st.lists(st.integers(1, 7), max_size=60))
def test_streaming_equals_rewriting_at_once(parts: list[bytes], cuts: list[int]) -> None:
    body = b"".join(parts)
    chunks, rest = [], body
    for cut in cuts:
        chunks.append(rest[:cut])
        rest = rest[cut:]
    assert streamed([*chunks, rest]) == rewrite(body, UPSTREAM, PUBLIC)


@given(st.lists(pieces, max_size=20))
def test_what_is_not_an_occurrence_is_untouched(parts: list[bytes]) -> None:
    body = b"".join(parts)
    reference = re.sub(rb'(?<![A-Za-z0-9+.\-])http:\\?/\\?/up:8080\\?/fhir(?=/|\\/|\?|"|\\")', lambda _: PUBLIC, body)
    assert streamed([body]) == reference
