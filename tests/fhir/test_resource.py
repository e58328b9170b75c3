import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed, TooLarge
from gateway.fhir.json import Json
from gateway.fhir.resource import BodyLimits, parse
from tests.fhir.cases import Row, body, label, sections

TABLE = sections("json")
LIMITS = BodyLimits()

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
)
values = st.recursive(
    scalars | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab\u00e9", max_size=3), inner, max_size=4),
    max_leaves=20,
)


def refuse_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len({key for key, _ in pairs}) == len(pairs)
    return dict(pairs)


@pytest.mark.parametrize("row", TABLE["accepted"], ids=label)
def test_what_has_one_reading_is_read_as_the_standard_library_does(row: Row) -> None:
    assert parse(body(row), LIMITS) == json.loads(body(row), object_pairs_hook=refuse_duplicates)


@pytest.mark.parametrize("row", TABLE["refused"], ids=label)
def test_what_has_not_exactly_one_reading_is_refused_soon(row: Row) -> None:
    content = body(row)
    started = time.perf_counter()
    with pytest.raises(Malformed) as caught:
        parse(content, LIMITS)
    assert time.perf_counter() - started < 0.5
    assert str(row["says"]) in caught.value.issues[0].text


def test_a_body_past_its_limit_is_too_large_before_it_is_read() -> None:
    with pytest.raises(TooLarge):
        parse(b"{" * 11, BodyLimits(bytes=10))
    assert parse(b'{"a": 123}', BodyLimits(bytes=10)) == {"a": 123}


def test_limits_are_those_given() -> None:
    with pytest.raises(Malformed):
        parse(b'{"a":1234567}', BodyLimits(number_length=6))
    with pytest.raises(Malformed):
        parse(b'{"a":[[]]}', BodyLimits(depth=2))
    assert parse(b'{"a":[123456]}', BodyLimits(number_length=6, depth=2)) == {"a": [123456]}


def test_a_refusal_names_no_payload() -> None:
    with pytest.raises(Malformed) as caught:
        parse(b'{"canary":1,"canary":2}', LIMITS)
    assert "canary" not in caught.value.issues[0].text


def test_colliding_and_numerous_keys_take_linear_time() -> None:
    content = b"{" + b",".join(b'"%d":1' % number for number in range(300_000)) + b"}"
    started = time.perf_counter()
    assert len(parse(content, LIMITS)) == 300_000
    assert time.perf_counter() - started < 2


@given(st.dictionaries(st.text("ab\u00e9\ud7ff", max_size=3), values, max_size=5), st.booleans())
def test_what_json_writes_is_read_back(value: dict[str, Json], ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode(), LIMITS) == value


@given(st.binary(max_size=60) | st.text('{}[]":,\\u0aeE+-.19 \n', max_size=40).map(str.encode))
def test_any_bytes_are_refused_or_read_as_the_standard_library_does(content: bytes) -> None:
    try:
        value = parse(content, LIMITS)
    except Malformed:
        return
    assert value == json.loads(content.decode("utf-8"), object_pairs_hook=refuse_duplicates)
