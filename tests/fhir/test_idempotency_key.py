"""The `Idempotency-Key` header: one reading or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed
from gateway.fhir.idempotency_key import LONGEST, idempotency_key


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('"8e03978e-40d5-43e8-bc93-6894a57f9324"', "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ("8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        ('  "a b"  ', "a b"),
        (r'"a\"b\\c"', r"a\"b\c".replace(r"\"", '"')),
        ('" "', " "),
        ("_k", "_k"),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("urn:uuid:1", "urn:uuid:1"),
        ('"' + "k" * LONGEST + '"', "k" * LONGEST),
        ("k" * LONGEST, "k" * LONGEST),
    ],
)
def test_a_string_or_a_bare_word_is_a_key(line: str, key: str) -> None:
    assert idempotency_key((line,)) == key


def test_without_the_header_there_is_none() -> None:
    assert idempotency_key(()) is None


@pytest.mark.parametrize(
    "lines",
    [
        ("",),
        ('""',),
        ("   ",),
        ('"a',),
        ('a"',),
        ('"a"b',),
        ('"a";p=1',),
        ("a;p=1",),
        ('"a", "b"',),
        ("a,b",),
        ("a b",),
        (r'"a\b"',),
        ('"a\x00"',),
        ('"\xe9"',),
        ("\xe9",),
        (":YWJj:",),
        ("?1",),
        ("@1",),
        ("*a",),
        ("'a'",),
        ('"a"', '"a"'),
        ("a", "a"),
        ('"' + "k" * (LONGEST + 1) + '"',),
        ("k" * (LONGEST + 1),),
    ],
)
def test_anything_else_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(Malformed):
        idempotency_key(lines)


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=LONGEST))
def test_every_printable_key_can_be_quoted(key: str) -> None:
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    assert idempotency_key((f'"{quoted}"',)) == key


@given(st.lists(st.text(max_size=30), max_size=2))
def test_it_is_a_key_or_a_refusal(lines: list[str]) -> None:
    try:
        key = idempotency_key(lines)
    except Malformed:
        return
    assert key is None if not lines else key is not None and 0 < len(key) <= LONGEST
