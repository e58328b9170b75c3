"""The strict shape: segments, base64url, and that nothing but Unauthenticated comes out."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import Unauthenticated
from gateway.identity.settings import IssuerSettings
from gateway.identity.shape import TokenShape, read
from gateway.sandbox.issuer import SandboxIssuer
from gateway.sandbox.signing import base64url

from .scene import ISSUER, NOW, PATIENTLY, SETTINGS, settings

ISSUERS = {ISSUER: SETTINGS}


def outcome(token: str, issuers: dict[str, IssuerSettings] | None = None) -> TokenShape | Unauthenticated:
    try:
        return read(token, issuers or ISSUERS)
    except Unauthenticated as refusal:
        return refusal


def text_of(token: str) -> str:
    refusal = outcome(token)
    assert isinstance(refusal, Unauthenticated)
    assert refusal.error == "invalid_token"
    return refusal.issues[0].text


def test_a_good_token_is_taken_apart(issuer: SandboxIssuer) -> None:
    token = issuer.mint({"nbf": int(NOW)})
    shape = read(token, ISSUERS)
    assert (shape.settings, shape.algorithm, shape.kid) == (SETTINGS, "ES256", "k-ES256")
    assert (shape.exp, shape.nbf, shape.iat) == (NOW + 300, NOW, NOW)
    assert shape.signing_input.decode() == token.rpartition(".")[0]
    assert len(shape.signature) == 64


@pytest.mark.parametrize(
    ("segments", "said"),
    [(1, "opaque"), (2, "opaque"), (4, "opaque"), (5, "JWE"), (6, "opaque"), (4_000, "opaque")],
)
def test_number_of_segments(segments: int, said: str) -> None:
    assert said in text_of(".".join(["eyJh"] * segments))


def test_an_empty_part(issuer: SandboxIssuer) -> None:
    header, payload, signature = issuer.mint().split(".")
    for parts in (("", payload, signature), (header, "", signature), (header, payload, ""), ("", "", "")):
        assert "canonical base64url" in text_of(".".join(parts))


def test_a_padded_token_is_refused_in_every_part(issuer: SandboxIssuer) -> None:
    """pyjwt takes padding, so one token would have several spellings."""
    parts = issuer.mint().split(".")
    for place in range(3):
        for padding in ("=", "=="):
            padded = [part + padding if n == place else part for n, part in enumerate(parts)]
            assert "canonical base64url" in text_of(".".join(padded))


def test_stray_bits_are_refused(issuer: SandboxIssuer) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    header, payload, signature = issuer.mint().split(".")
    assert len(signature) % 4 == 2  # 64 bytes: the last character carries two bits, four are stray
    spellings = [f"{header}.{payload}.{signature[:-1]}{last}" for last in alphabet]
    taken = [spelling for spelling in spellings if isinstance(outcome(spelling), TokenShape)]
    assert len(taken) == 4
    assert f"{header}.{payload}.{signature}" in taken


@pytest.mark.parametrize("stray", [" ", "\n", "\r\n", "\t", "\0", "+", "/", "~", "é", "\u2028", "\ud800", "%2E"])
def test_characters_that_are_no_base64url(stray: str, issuer: SandboxIssuer) -> None:
    header, payload, signature = issuer.mint().split(".")
    for token in (
        f"{stray}{header}.{payload}.{signature}",
        f"{header}.{payload[:8]}{stray}{payload[8:]}.{signature}",
        f"{header}.{payload}.{signature}{stray}",
        # Four at once: the length then says nothing, and a lenient decoder drops them in silence.
        f"{header}.{payload[:8]}{stray * 4}{payload[8:]}.{signature}",
        f"{header}.{payload}.{stray * 4}{signature}",
    ):
        assert "canonical base64url" in text_of(token)


def test_a_megabyte_is_refused_quickly(issuer: SandboxIssuer) -> None:
    header, payload, signature = issuer.mint().split(".")
    tokens = (
        "e" * 1_000_000,
        f"{'e' * 1_000_000}.{payload}.{signature}",
        f"{header}.{base64url(b'[' * 16_000)}.{signature}",
        f"{header}.{base64url(b'{' + b' ' * 100_000 + b'}')}.{signature}",
    )
    started = time.process_time()
    assert all(isinstance(outcome(token), Unauthenticated) for token in tokens)
    assert time.process_time() - started < 0.1


def test_refusals_repeat_nothing_of_the_token(issuer: SandboxIssuer) -> None:
    for claims in ({"iss": "canary"}, {"aud": "canary"}, {"exp": "canary"}, {"sub": 0, "x": "canary"}):
        assert "canary" not in text_of(issuer.mint(claims))
    for header in ({"alg": "canary"}, {"typ": "canary"}, {"kid": "canary\n"}, {"crit": ["canary"]}):
        assert "canary" not in text_of(issuer.mint(header=header))


def test_the_settings_are_those_of_the_tokens_own_issuer(issuer: SandboxIssuer) -> None:
    other = settings(issuer="https://other.example", audiences=("other",), algorithms=("RS256",))
    both = {**ISSUERS, other.issuer: other}
    shape = outcome(issuer.mint(), both)
    assert isinstance(shape, TokenShape)
    assert shape.settings is SETTINGS
    refusal = outcome(issuer.mint({"iss": other.issuer, "aud": "other"}), both)
    assert isinstance(refusal, Unauthenticated)
    assert refusal.issuer == other.issuer


@PATIENTLY
@given(st.text())
@example("..")
@example("....")
@example("eyJhbGciOiJFUzI1NiJ9.e30.AA")
def test_any_text_is_refused(token: str) -> None:
    assert isinstance(outcome(token), Unauthenticated)


@PATIENTLY
@given(st.lists(st.binary(max_size=40), min_size=3, max_size=3))
def test_any_bytes_in_three_parts_are_refused(parts: list[bytes]) -> None:
    assert isinstance(outcome(".".join(map(base64url, parts))), Unauthenticated)
