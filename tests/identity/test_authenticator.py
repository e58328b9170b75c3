"""The room's door: credentials in, principal or refusal out; and the short memory in front of it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Unauthenticated, Unavailable
from gateway.identity.authenticator import Authenticator
from gateway.identity.key_set import KeySet
from gateway.identity.keys import JwksKeys
from gateway.sandbox.issuer import IssuerFault, SandboxIssuer
from gateway.sandbox.signing import SigningKey

from .scene import ISSUER, NOW, PATIENTLY, SETTINGS, Clock, client_of, settings

KEYS_PATH = "/realms/push/keys"


@pytest.fixture
async def keys(issuer: SandboxIssuer, clock: Clock) -> AsyncIterator[JwksKeys]:
    async with client_of(issuer) as client:
        keys = JwksKeys([SETTINGS], client, clock)
        yield keys
        await keys.close()


@pytest.fixture
def door(keys: JwksKeys) -> Authenticator:
    return Authenticator([SETTINGS], keys)


def header(token: str) -> list[bytes]:
    return [b"Bearer " + token.encode()]


async def test_a_good_token(door: Authenticator, issuer: SandboxIssuer) -> None:
    assert (await door.authenticate(header(issuer.mint()), NOW)).client_id == "sandbox-client"


async def test_what_is_refused_before_any_key_is_fetched(door: Authenticator, issuer: SandboxIssuer) -> None:
    for authorization in ([], [b"Basic eDp5"], header("opaque"), header(issuer.mint({"aud": "x"}))):
        with pytest.raises(Unauthenticated):
            await door.authenticate(authorization, NOW)
    bad_headers: tuple[dict[str, object], ...] = (
        {"jku": "https://evil.example"},
        {"kid": "k" * 10_000},
        {"kid": None, "jwk": {}},
    )
    for bad in bad_headers:
        with pytest.raises(Unauthenticated):
            await door.authenticate(header(issuer.mint(header=bad)), NOW)
    assert not issuer.served


async def test_odd_kids_cost_no_fetch_within_the_cool_down(door: Authenticator, issuer: SandboxIssuer) -> None:
    await door.authenticate(header(issuer.mint()), NOW)
    for kid in ("../../dev/null", "' OR 1=1 --", "|id"):
        with pytest.raises(Unauthenticated):
            await door.authenticate(header(issuer.mint(header={"kid": kid})), NOW)
    assert issuer.served[KEYS_PATH] == 1


async def test_issuer_down_is_unavailable_and_not_unauthenticated(door: Authenticator, issuer: SandboxIssuer) -> None:
    issuer.fault = IssuerFault.DOWN
    with pytest.raises(Unavailable):
        await door.authenticate(header(issuer.mint()), NOW)


async def test_a_verified_token_is_remembered(door: Authenticator, issuer: SandboxIssuer) -> None:
    credentials = header(issuer.mint())
    assert door.remembered(credentials, NOW) is None
    principal = await door.authenticate(credentials, NOW)
    assert door.remembered(credentials, NOW) is principal
    assert await door.authenticate(credentials, NOW + 1) is principal


async def test_only_the_same_bytes_are_the_same_token(door: Authenticator, issuer: SandboxIssuer) -> None:
    """Cerbos had to remove a cache keyed by the signature: same signature, other claims."""
    token = issuer.mint()
    await door.authenticate(header(token), NOW)
    head, payload, signature = token.split(".")
    forged = f"{head}.{issuer.mint({'sub': 'admin'}).split('.')[1]}.{signature}"
    for other in (forged, f"{token}=", f"{token[:-1]}", f"{head}.{payload}.{signature[:-1]}B"):
        assert door.remembered(header(other), NOW) is None
        with pytest.raises(Unauthenticated):
            await door.authenticate(header(other), NOW)
    assert door.remembered([*header(token), *header(token)], NOW) is None
    assert door.remembered([], NOW) is None
    assert door.remembered([b"Bearer " + b"x" * 1_000_000], NOW) is None


async def test_a_refused_token_is_not_remembered(door: Authenticator, issuer: SandboxIssuer) -> None:
    expired = header(issuer.mint({"exp": NOW - 100}))
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await door.authenticate(expired, NOW)
        assert door.remembered(expired, NOW) is None


async def test_remembered_no_longer_than_its_expiry(door: Authenticator, issuer: SandboxIssuer) -> None:
    credentials = header(issuer.mint({"exp": NOW + 10}))
    await door.authenticate(credentials, NOW)
    assert door.remembered(credentials, NOW + 39.9)
    with pytest.raises(Unauthenticated) as caught:
        await door.authenticate(credentials, NOW + 40.0)
    assert caught.value.reason == "expired"


async def test_remembered_no_longer_than_the_limit(door: Authenticator, issuer: SandboxIssuer) -> None:
    credentials = header(issuer.mint({"exp": NOW + 9_000}))
    await door.authenticate(credentials, NOW)
    assert door.remembered(credentials, NOW + 59.9)
    assert door.remembered(credentials, NOW + 60.0) is None


async def test_forgotten_when_its_key_is_withdrawn(
    door: Authenticator, issuer: SandboxIssuer, clock: Clock, keys: JwksKeys
) -> None:
    credentials = header(issuer.mint())
    await door.authenticate(credentials, NOW)
    new = issuer.rotate(SigningKey.generate("new", "ES256"), keep=0)
    clock.now = NOW + 30
    await keys.for_token(ISSUER, new.kid, "ES256")
    assert door.remembered(credentials, clock.now) is None
    with pytest.raises(Unauthenticated) as caught:
        await door.authenticate(credentials, clock.now)
    assert caught.value.reason == "unknown_key"


async def test_a_refresh_that_changes_nothing_forgets_nothing(
    door: Authenticator, issuer: SandboxIssuer, clock: Clock, keys: JwksKeys
) -> None:
    credentials = header(issuer.mint())
    await door.authenticate(credentials, NOW)
    clock.now = NOW + 30
    await keys.for_token(ISSUER, "stranger", "ES256")
    assert issuer.served[KEYS_PATH] == 2
    assert door.remembered(credentials, clock.now)


async def test_forgotten_when_the_keys_are_too_old(issuer: SandboxIssuer, clock: Clock) -> None:
    async with client_of(issuer) as client:
        keys = JwksKeys([SETTINGS], client, clock)
        door = Authenticator([SETTINGS], keys, remember_seconds=300)
        await keys.for_token(ISSUER, "k-ES256", "ES256")
        issuer.fault = IssuerFault.DOWN
        clock.now = NOW + 3_590
        credentials = header(issuer.mint())
        await door.authenticate(credentials, clock.now)
        assert door.remembered(credentials, NOW + 3_599)
        clock.now = NOW + 3_600
        with pytest.raises(Unavailable):
            await door.authenticate(credentials, clock.now)


async def test_nothing_is_remembered_when_so_configured(keys: JwksKeys, issuer: SandboxIssuer) -> None:
    door = Authenticator([SETTINGS], keys, remembered=0)
    credentials = header(issuer.mint())
    await door.authenticate(credentials, NOW)
    assert door.remembered(credentials, NOW) is None


async def test_tokens_of_many_clients_do_not_grow_the_memory(keys: JwksKeys, issuer: SandboxIssuer) -> None:
    door = Authenticator([SETTINGS], keys, remembered=10)
    tokens = [header(issuer.mint({"client_id": f"c-{n}"})) for n in range(30)]
    found = await asyncio.gather(*(door.authenticate(token, NOW) for token in tokens))
    assert [principal.client_id for principal in found] == [f"c-{n}" for n in range(30)]
    assert sum(door.remembered(token, NOW) is not None for token in tokens) == 10


async def test_settings_that_contradict_themselves(keys: JwksKeys) -> None:
    with pytest.raises(ValueError, match="twice"):
        Authenticator([SETTINGS, settings(audiences=("other",))], keys)
    with pytest.raises(ValueError, match="remembered"):
        Authenticator([SETTINGS], keys, remember_seconds=301)


class NoKeys:
    """A key source that has nothing."""

    def current(self, issuer: str) -> KeySet | None:
        return None

    async def for_token(self, issuer: str, kid: str | None, algorithm: str) -> KeySet:
        return KeySet(keys={})


@PATIENTLY
@given(st.lists(st.binary(max_size=80) | st.binary(max_size=80).map(lambda rest: b"Bearer " + rest), max_size=2))
def test_any_headers_are_refused(authorization: list[bytes]) -> None:
    door = Authenticator([SETTINGS], NoKeys())
    with pytest.raises(Unauthenticated):
        asyncio.run(door.authenticate(authorization, NOW))
