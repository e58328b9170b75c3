"""Which members of a JWK Set become keys (K67)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.key_set import KeySet, UnusableKeys, read_key_set
from gateway.identity.settings import ALGORITHMS
from gateway.sandbox.signing import SigningKey, base64url

from .scene import PATIENTLY

# Primes are not needed: what counts here is the size and the form of the public numbers.
WEAK_MODULUS = base64url(((1 << 511) | 1).to_bytes(64, "big"))
HUGE_MODULUS = base64url(((1 << 16_383) | 1).to_bytes(2_048, "big"))
EVEN_MODULUS = base64url((1 << 2_047).to_bytes(256, "big"))


def slots(*members: object, algorithms: tuple[str, ...] = ALGORITHMS) -> set[tuple[str | None, str]]:
    return set(read_key_set(json.dumps({"keys": list(members)}).encode(), algorithms))


@pytest.fixture
def good(signing_keys: dict[str, SigningKey]) -> dict[str, object]:
    return signing_keys["ES256"].public_jwk()


@pytest.fixture
def rsa(signing_keys: dict[str, SigningKey]) -> dict[str, object]:
    return signing_keys["RS256"].public_jwk()


def test_a_key_for_each_algorithm(signing_keys: dict[str, SigningKey]) -> None:
    members = [key.public_jwk() for key in signing_keys.values()]
    assert slots(*members) == {(f"k-{algorithm}", algorithm) for algorithm in ALGORITHMS}
    assert slots(*members, algorithms=("ES256",)) == {("k-ES256", "ES256")}


def test_without_alg_a_key_serves_what_its_type_and_curve_allow(
    rsa: dict[str, object], good: dict[str, object], signing_keys: dict[str, SigningKey]
) -> None:
    for member in (rsa, good):
        del member["alg"]
    assert slots(rsa, algorithms=("RS256", "PS256", "ES256")) == {("k-RS256", "RS256"), ("k-RS256", "PS256")}
    assert slots(good) == {("k-ES256", "ES256")}
    ed = signing_keys["EdDSA"].public_jwk()
    del ed["alg"]
    assert slots(ed) == {("k-EdDSA", "EdDSA")}


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"use": None},
        {"use": ["sig"]},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"kid": 7},
        {"kid": ["k"]},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "oct"},
        {"kty": None},
        {"kty": ["EC"]},
        {"alg": "ES384"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": ["ES256"]},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"crv": ["P-256"]},
        {"crv": 7},
        {"x": "AAAA"},
        {"x": 7},
        {"x": ""},
        {"x": "A" * 43},
        {"y": "=" * 43},
        {"y": None},
        {"d": "AAAA"},
        {"k": "AAAA"},
    ],
    ids=str,
)
def test_a_member_that_cannot_be_used_is_left_out(
    changes: dict[str, Any], good: dict[str, object], rsa: dict[str, object]
) -> None:
    assert slots(good | changes, rsa) == {("k-RS256", "RS256")}


@pytest.mark.parametrize(
    "changes",
    [
        {"n": WEAK_MODULUS},
        {"n": HUGE_MODULUS},
        {"n": EVEN_MODULUS},
        {"n": ""},
        {"n": "A"},
        {"n": "not base64!"},
        {"n": 65_537},
        {"e": "AQ"},  # 1: every message would be its own signature
        {"e": "AA"},  # 0
        {"e": "AgAA"},  # even
        {"e": base64url(b"\xff" * 9)},
        {"e": None},
        {"p": "AAAA"},
        {"oth": []},
    ],
    ids=str,
)
def test_an_rsa_member_that_cannot_be_used_is_left_out(
    changes: dict[str, Any], good: dict[str, object], rsa: dict[str, object]
) -> None:
    assert slots(rsa | changes, good) == {("k-ES256", "ES256")}


@pytest.mark.parametrize("changes", [{"use": "sig"}, {"key_ops": ["verify"]}, {"x5c": ["MIIB"]}, {"x5u": "https://x"}])
def test_members_that_change_nothing(changes: dict[str, Any], good: dict[str, object]) -> None:
    del good["use"]
    assert slots(good | changes) == {("k-ES256", "ES256")}


@pytest.mark.parametrize("member", [None, 7, "key", [], {}, [{"kty": "EC"}]])
def test_members_that_are_no_keys(member: object, good: dict[str, object]) -> None:
    assert slots(member, good) == {("k-ES256", "ES256")}


def test_two_different_keys_in_one_slot_are_both_left_out(good: dict[str, object], rsa: dict[str, object]) -> None:
    stranger = SigningKey.generate("k-ES256", "ES256").public_jwk()
    assert slots(good, stranger, rsa) == {("k-RS256", "RS256")}
    assert slots(good, stranger, good, rsa) == {("k-RS256", "RS256")}


def test_the_same_key_twice_is_one_key(good: dict[str, object]) -> None:
    assert slots(good, good | {"x5c": ["MIIB"]}) == {("k-ES256", "ES256")}


def test_one_kid_for_two_types_is_told_apart_by_the_algorithm(good: dict[str, object], rsa: dict[str, object]) -> None:
    assert slots(good | {"kid": "k"}, rsa | {"kid": "k"}) == {("k", "ES256"), ("k", "RS256")}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<!doctype html>",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": null}',
        b'{"keys": [], "keys": []}',
        b'{"keys": [{"kty": "oct", "k": "AAAA"}]}',
        b'{"keys": [[[[[[[[[[[]]]]]]]]]]]}',
        b'{"keys": []} ' + b" " * 70_000,
        b'\xef\xbb\xbf{"keys": []}',
    ],
    ids=lambda document: repr(document[:40]),
)
def test_documents_that_are_no_key_set(document: bytes) -> None:
    with pytest.raises(UnusableKeys):
        read_key_set(document, ALGORITHMS)


def test_more_keys_than_any_issuer_needs(good: dict[str, object]) -> None:
    assert slots(good, *[{}] * 63) == {("k-ES256", "ES256")}
    with pytest.raises(UnusableKeys):
        slots(good, *[{}] * 64)


def test_an_empty_set_is_taken_at_its_word() -> None:
    assert slots() == set()


def test_a_set_is_usable_for_its_time_only() -> None:
    keys = KeySet(keys={}, usable_from=10.0, usable_until=20.0)
    assert [keys.usable(now) for now in (9.9, 10.0, 19.9, 20.0)] == [False, True, True, False]


def test_find_by_kid_and_algorithm(good: dict[str, object]) -> None:
    keys = KeySet(keys=read_key_set(json.dumps({"keys": [good]}).encode(), ALGORITHMS))
    assert keys.find("k-ES256", "ES256") is not None
    assert keys.find(None, "ES256") is not None
    assert keys.find("k-ES256", "RS256") is None
    assert keys.find(None, "RS256") is None
    assert keys.find("", "ES256") is None


def test_a_key_is_not_shown(good: dict[str, object]) -> None:
    keys = read_key_set(json.dumps({"keys": [good]}).encode(), ALGORITHMS)
    assert "PyJWK" not in repr(keys)


@PATIENTLY
@given(
    st.dictionaries(
        st.sampled_from(["kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e", "d"]),
        st.sampled_from(["RSA", "EC", "OKP", "sig", "ES256", "RS256", "P-256", "Ed25519", "AQAB", "A" * 43])
        | st.text(max_size=50)
        | st.integers()
        | st.lists(st.text(max_size=3), max_size=2),
    )
)
def test_any_member_is_a_key_or_left_out(member: dict[str, object]) -> None:
    document = json.dumps({"keys": [member]}).encode()
    try:
        found = len(read_key_set(document, ALGORITHMS))
    except UnusableKeys:
        found = 0
    assert found in range(7)
