"""What crosses the gateway each way, and how URLs of the upstream are shown."""

import pytest

from gateway.ingress.headers import end_to_end, response_headers, rewrite_url

UP, PUBLIC = "http://up:8080/fhir", "https://gw.example/r4"


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({}, ()),
        ({"prefer": ("return=minimal",)}, ((b"prefer", b"return=minimal"),)),
        ({"prefer": ('return="representation"',)}, ((b"prefer", b"return=representation"),)),
        ({"prefer": ("return=OperationOutcome",)}, ((b"prefer", b"return=OperationOutcome"),)),
        ({"prefer": ("handling=strict, return=minimal",)}, ((b"prefer", b"return=minimal"),)),
        ({"prefer": ("return=minimal", "return=representation")}, ((b"prefer", b"return=minimal"),)),
        ({"prefer": ("respond-async",)}, ()),
        ({"prefer": ("return=minimal; respond-async",)}, ()),
        ({"prefer": ("return=Minimal",)}, ()),
        ({"prefer": ("return=minimal",), "connection": ("Prefer, close",)}, ()),
        ({"if-none-match": ('W/"3"',)}, ((b"if-none-match", b'W/"3"'),)),
        ({"if-none-match": ('W/"3", "4"',)}, ((b"if-none-match", b'W/"3", "4"'),)),
        ({"if-none-match": ('W/"3"', 'W/"4"')}, ()),
        ({"if-none-match": ("garbage",)}, ()),
        ({"if-none-match": ('W/"3"',), "connection": ("if-none-match",)}, ()),
        (
            {"if-modified-since": ("Sun, 06 Nov 1994 08:49:37 GMT",)},
            ((b"if-modified-since", b"Sun, 06 Nov 1994 08:49:37 GMT"),),
        ),
        ({"if-modified-since": ("yesterday",)}, ()),
        ({"cache-control": ("no-cache",)}, ((b"cache-control", b"no-cache"),)),
        ({"cache-control": ("max-age=0, no-store", "no-cache")}, ((b"cache-control", b"no-cache, no-store"),)),
        ({"cache-control": ("max-age=0",)}, ()),
    ],
)
def test_requests_keep_only_what_is_listed(
    headers: dict[str, tuple[str, ...]], kept: tuple[tuple[bytes, bytes], ...]
) -> None:
    assert end_to_end(headers) == kept


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "cookie", "content-location", "content-type", "accept", "if-match", "if-none-exist",
        "x-request-id", "x-http-method-override", "x-method-override", "x-http-method", "x-rewrite-history",
        "hapi-rewrite-history", "x-cascade", "x-retry-on-version-conflict", "x-meta-snapshot-mode",
        "x-request-partition-ids", "x-security-context", "x-request-source", "x-provenance", "x-forwarded-for",
        "x-forwarded-host", "forwarded", "x_patient_id", "te", "trailer", "proxy-authorization", "keep-alive",
        "x-upsert-extistence-check", "if-unmodified-since", "range", "accept-encoding", "host",
    ],
)  # fmt: skip
def test_requests_drop_what_a_server_might_act_on(name: str) -> None:
    assert end_to_end({name: ("1",)}) == ()


def shown(*headers: tuple[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return response_headers(headers, upstream_base=UP, public_base=PUBLIC)


def test_responses_keep_order_and_multiplicity() -> None:
    headers = ((b"vary", b"Accept"), (b"etag", b'W/"1"'), (b"vary", b"Prefer"))
    assert shown(*headers) == headers


@pytest.mark.parametrize(
    "name",
    [
        b"set-cookie", b"server", b"x-powered-by", b"x-request-id", b"connection", b"transfer-encoding", b"date",
        b"content-length", b"content-encoding", b"keep-alive", b"www-authenticate", b"x-decision-id", b"refresh",
        b"access-control-allow-origin", b"strict-transport-security", b"link",
    ],
)  # fmt: skip
def test_responses_drop_what_is_not_listed(name: bytes) -> None:
    assert shown((name, b"1")) == ()


def test_a_response_header_named_by_connection_is_for_one_hop() -> None:
    assert shown((b"connection", b"close, ETag"), (b"etag", b'W/"1"'), (b"vary", b"x")) == ((b"vary", b"x"),)


def test_locations_speak_of_the_public_base_or_not_at_all() -> None:
    headers = (
        (b"location", b"http://up:8080/fhir/Patient/1/_history/1"),
        (b"content-location", b"http://elsewhere/fhir/Patient/1"),
    )
    assert shown(*headers) == ((b"location", b"https://gw.example/r4/Patient/1/_history/1"),)


@pytest.mark.parametrize(
    ("value", "rewritten"),
    [
        ("http://up:8080/fhir/Patient/1/_history/1", f"{PUBLIC}/Patient/1/_history/1"),
        ("http://UP:8080/fhir/Patient/1", f"{PUBLIC}/Patient/1"),
        ("http://up:8080/fhir", PUBLIC),
        ("http://up:8080/fhir?_getpages=1", f"{PUBLIC}?_getpages=1"),
        ("Patient/1/_history/1", f"{PUBLIC}/Patient/1/_history/1"),
        ("/fhir/Patient/1", f"{PUBLIC}/Patient/1"),
        ("", PUBLIC),
        ("/other/Patient/1", None),
        ("/fhir2/Patient/1", None),
        ("http://up:8080/fhir2/Patient/1", None),
        ("http://up/fhir/Patient/1", None),
        ("https://up:8080/fhir/Patient/1", None),
        ("http://up:8080@evil/fhir/Patient/1", None),
        ("http://user@up:8080/fhir/Patient/1", None),
        ("http://up:8080.evil/fhir/Patient/1", None),
        ("http://up:99999/fhir/Patient/1", None),
        ("//evil/fhir/Patient/1", None),
        ("http://[bad/fhir", None),
        ("http://up:8080/fhir/../admin", None),
        ("http://up:8080/fhir//Patient/1", None),
        ("./Patient/1", None),
        ("javascript:alert(1)", None),
        ("Patient/1 2", None),
        ("Patient/\u00e9", None),
        ("Patient/1\r\nX: y", None),
    ],
)
def test_rewriting_urls(value: str, rewritten: str | None) -> None:
    assert rewrite_url(value, UP, PUBLIC) == rewritten


def test_default_ports_are_filled_in() -> None:
    assert rewrite_url("http://up:80/fhir/Patient/1", "http://up/fhir", PUBLIC) == f"{PUBLIC}/Patient/1"
    assert rewrite_url("https://up/fhir/Patient/1", "https://up:443/fhir", PUBLIC) == f"{PUBLIC}/Patient/1"


def test_a_base_at_the_root() -> None:
    assert rewrite_url("http://up/Patient/1", "http://up", PUBLIC) == f"{PUBLIC}/Patient/1"
    assert rewrite_url("/Patient/1", "http://up", PUBLIC) == f"{PUBLIC}/Patient/1"
