"""The key cache (K64-K67): one flight, a cool-down that nothing outruns, a last good set that grows old."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.errors import IssueCode, Unavailable
from gateway.identity.key_fetch import http_client
from gateway.identity.key_set import KeySet
from gateway.identity.keys import JwksKeys, KeyTimes
from gateway.sandbox.issuer import IssuerFault, SandboxIssuer
from gateway.sandbox.signing import SigningKey

from .scene import ISSUER, NOW, SETTINGS, Clock, client_of, settings

KEYS_PATH = "/realms/push/keys"
DISCOVERY_PATH = "/realms/push/.well-known/openid-configuration"
FALLBACK_PATH = "/.well-known/oauth-authorization-server/realms/push"
BY_URI = settings(jwks_uri=f"{ISSUER}/keys")


class Rhythm:
    """A sleep that ends when the test says so, and notes for how long it was asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._starts: asyncio.Queue[None] = asyncio.Queue()
        self._ends: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        self.asked.append(seconds)
        self._starts.put_nowait(None)
        await self._ends.get()

    async def resting(self) -> None:
        """Waits until a sleep has begun."""
        await asyncio.wait_for(self._starts.get(), 5)

    async def beat(self) -> None:
        """Ends one sleep and waits for the next."""
        self._ends.put_nowait(None)
        await self.resting()


@pytest.fixture
async def client(issuer: SandboxIssuer) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(issuer) as client:
        yield client


@pytest.fixture
async def keys(client: httpx.AsyncClient, clock: Clock) -> AsyncIterator[JwksKeys]:
    """Not started: nothing happens in the background, every fetch is asked for."""
    keys = JwksKeys([SETTINGS], client, clock)
    yield keys
    await keys.close()


async def known(keys: JwksKeys, kid: str = "k-ES256", algorithm: str = "ES256") -> bool:
    found = await keys.for_token(ISSUER, kid, algorithm)
    return found.find(kid, algorithm) is not None


async def test_keys_are_found_by_discovery(keys: JwksKeys, issuer: SandboxIssuer) -> None:
    ready_before = keys.ready
    assert not ready_before
    assert keys.current(ISSUER) is None
    assert keys.metadata(ISSUER) is None
    assert await known(keys)
    assert keys.ready
    assert keys.last_success(ISSUER) == NOW
    metadata = keys.metadata(ISSUER)
    assert metadata is not None
    assert metadata["token_endpoint"] == f"{ISSUER}/token"
    assert issuer.served == {DISCOVERY_PATH: 1, KEYS_PATH: 1}


async def test_discovery_falls_back_to_the_form_of_rfc_8414(keys: JwksKeys, issuer: SandboxIssuer) -> None:
    issuer.openid = False
    assert await known(keys)
    assert issuer.served == {FALLBACK_PATH: 1, KEYS_PATH: 1}


async def test_a_configured_uri_needs_no_discovery(
    client: httpx.AsyncClient, issuer: SandboxIssuer, clock: Clock
) -> None:
    keys = JwksKeys([BY_URI], client, clock)
    assert await known(keys)
    assert issuer.served == {KEYS_PATH: 1}


async def test_after_start_the_discovery_document_is_had_even_so(
    client: httpx.AsyncClient, issuer: SandboxIssuer, clock: Clock
) -> None:
    rhythm = Rhythm()
    keys = JwksKeys([BY_URI], client, clock, sleep=rhythm.sleep)
    await keys.start()
    await rhythm.resting()
    await keys.close()
    assert keys.metadata(ISSUER) == issuer.discovery()
    assert issuer.served == {KEYS_PATH: 1, DISCOVERY_PATH: 1}


async def test_an_issuer_without_discovery_serves_its_keys_all_the_same(
    client: httpx.AsyncClient, issuer: SandboxIssuer, clock: Clock
) -> None:
    issuer.discovery_overrides = {"issuer": "https://other.example"}
    rhythm = Rhythm()
    keys = JwksKeys([BY_URI], client, clock, sleep=rhythm.sleep)
    await keys.start()
    await rhythm.resting()
    assert keys.ready
    assert keys.metadata(ISSUER) is None
    assert keys.last_failure(ISSUER) is None
    await keys.close()


@pytest.mark.parametrize("fault", [f for f in IssuerFault if f is not IssuerFault.SLOW])
async def test_discovery_that_fails(fault: IssuerFault, keys: JwksKeys, issuer: SandboxIssuer) -> None:
    issuer.fault = fault
    with pytest.raises(Unavailable):
        await known(keys)
    failure = keys.last_failure(ISSUER)
    assert failure is not None
    assert failure.startswith("the discovery document ")


@pytest.mark.parametrize(
    "overrides",
    [
        {"issuer": f"{ISSUER}/"},
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"issuer": [ISSUER]},
        {"jwks_uri": None},
        {"jwks_uri": 7},
        {"jwks_uri": "http://id.example/realms/push/keys"},
        {"jwks_uri": "file:///etc/keys.json"},
        {"jwks_uri": "//id.example/realms/push/keys"},
    ],
    ids=str,
)
async def test_discovery_documents_that_are_not_believed(
    overrides: dict[str, object], keys: JwksKeys, issuer: SandboxIssuer
) -> None:
    issuer.discovery_overrides = overrides
    with pytest.raises(Unavailable):
        await known(keys)
    assert issuer.served[KEYS_PATH] == 0
    assert not keys.ready
    assert "evil" not in str(keys.last_failure(ISSUER))


async def test_unknown_kid_storm_costs_one_fetch_per_cool_down(
    keys: JwksKeys, issuer: SandboxIssuer, clock: Clock
) -> None:
    """K64: 10,000 tokens with a key id each of its own within 10 s; valid ones in between wait for nothing."""
    assert await known(keys)
    clock.now += 30
    for n in range(10_000):
        clock.now += 0.001
        assert not await known(keys, f"stranger-{n}")
        if n % 100 == 0:
            assert await known(keys)
    assert issuer.served[KEYS_PATH] == 2
    clock.now += 30
    assert not await known(keys, "stranger")
    assert issuer.served[KEYS_PATH] == 3


async def test_unknown_kid_storm_at_once_is_one_flight(keys: JwksKeys, issuer: SandboxIssuer, clock: Clock) -> None:
    assert await known(keys)
    clock.now += 30
    found = await asyncio.gather(*(known(keys, f"stranger-{n}") for n in range(1_000)))
    assert not any(found)
    assert issuer.served[KEYS_PATH] == 2


async def test_cool_down_counts_from_failed_attempts_too(keys: JwksKeys, issuer: SandboxIssuer, clock: Clock) -> None:
    issuer.fault = IssuerFault.DOWN
    for n in range(100):
        clock.now = NOW + n * 0.299
        with pytest.raises(Unavailable) as caught:
            await known(keys)
        assert caught.value.issues[0].code is IssueCode.TRANSIENT
        assert 1 <= caught.value.retry_after <= 30
    assert sum(issuer.served.values()) == 2  # both forms of discovery, once
    issuer.fault = None
    clock.now = NOW + 29.9
    with pytest.raises(Unavailable):
        await known(keys)
    clock.now = NOW + 30.0
    assert await known(keys)


@pytest.mark.parametrize("fault", [f for f in IssuerFault if f is not IssuerFault.SLOW])
async def test_a_failed_fetch_never_clears_the_last_good_set(
    fault: IssuerFault, keys: JwksKeys, issuer: SandboxIssuer, clock: Clock
) -> None:
    """pyjwt's client up to 2.12.1 threw the good set away."""
    assert await known(keys)
    issuer.fault = fault
    clock.now += 60
    assert not await known(keys, "stranger")
    assert issuer.served[KEYS_PATH] == 2
    assert keys.last_failure(ISSUER) is not None
    assert keys.last_success(ISSUER) == NOW
    assert await known(keys)


@pytest.mark.parametrize(
    "document",
    [
        b'{"keys": [{"kty": "oct", "kid": "k", "k": "AAAA"}]}',
        b'{"keys": "none"}',
        b"null",
        b"",
    ],
)
async def test_a_set_without_any_usable_key_is_a_failed_fetch(
    document: bytes, keys: JwksKeys, issuer: SandboxIssuer, clock: Clock
) -> None:
    assert await known(keys)
    issuer.key_document = document
    clock.now += 60
    assert not await known(keys, "stranger")
    assert await known(keys)


async def test_a_slow_issuer_is_given_up_and_stops_nobody_else(
    client: httpx.AsyncClient, issuer: SandboxIssuer, clock: Clock
) -> None:
    keys = JwksKeys([BY_URI], client, clock, times=KeyTimes(timeout=0.2))
    assert await known(keys)
    issuer.fault, issuer.slow_seconds = IssuerFault.SLOW, 30.0
    clock.now += 60
    waiting = asyncio.create_task(known(keys, "stranger"))
    await asyncio.sleep(0)
    async with asyncio.timeout(0.1):
        assert await known(keys)
    assert not await waiting
    assert keys.last_failure(ISSUER) == "did not answer in time"


async def test_old_keys_work_until_their_greatest_age_then_nothing_does(
    keys: JwksKeys, issuer: SandboxIssuer, clock: Clock
) -> None:
    assert await known(keys)
    issuer.fault = IssuerFault.DOWN
    clock.now = NOW + 3_599.9
    assert await known(keys)
    clock.now = NOW + 3_600.0
    with pytest.raises(Unavailable):
        await known(keys)
    issuer.fault = None
    with pytest.raises(Unavailable):
        await known(keys)  # the failed attempt a moment ago counts
    clock.now += 30
    assert await known(keys)


async def test_keys_of_unknown_age_after_the_clock_was_set_back(
    keys: JwksKeys, issuer: SandboxIssuer, clock: Clock
) -> None:
    assert await known(keys)
    issuer.fault = IssuerFault.DOWN
    clock.now = NOW - 59
    assert await known(keys)
    clock.now = NOW - 86_400
    with pytest.raises(Unavailable):
        await known(keys)
    assert issuer.served[KEYS_PATH] == 2
    issuer.fault = None
    clock.now += 30
    assert await known(keys)


async def test_a_new_key_is_known_after_the_cool_down_at_most(
    keys: JwksKeys, issuer: SandboxIssuer, clock: Clock
) -> None:
    assert await known(keys)
    new = issuer.rotate(SigningKey.generate("new", "ES256"))
    clock.now += 29.9
    assert not await known(keys, new.kid)
    clock.now += 0.1
    assert await known(keys, new.kid)


async def test_generation_changes_with_content_only(keys: JwksKeys, issuer: SandboxIssuer, clock: Clock) -> None:
    async def generation() -> int:
        clock.now += 60
        return (await keys.for_token(ISSUER, "stranger", "ES256")).generation

    first = await generation()
    assert await generation() == first
    issuer.rotate(SigningKey.generate("new", "ES256"), keep=0)
    assert await generation() == first + 1
    issuer.keys = [SigningKey.generate("new", "ES256")]  # the same id, another key
    assert await generation() == first + 2
    issuer.key_document = b'{"keys": []}'
    assert await generation() == first + 3


async def test_background_refresh_removes_a_withdrawn_key(
    client: httpx.AsyncClient, issuer: SandboxIssuer, clock: Clock
) -> None:
    """K66: within the refresh rhythm (10 min) without any token asking for it."""
    rhythm = Rhythm()
    keys = JwksKeys([SETTINGS], client, clock, sleep=rhythm.sleep)
    await keys.start()
    await rhythm.resting()
    assert keys.ready
    assert await known(keys, "k-RS256", "RS256")
    issuer.rotate(SigningKey.generate("new", "ES256"), keep=0)
    clock.now += 600
    await rhythm.beat()
    found = keys.current(ISSUER)
    assert found is not None
    assert set(found.keys) == {("new", "ES256")}
    assert rhythm.asked == [600.0, 600.0]
    await keys.close()


async def test_issuer_down_at_start_is_tried_again_at_the_cool_down_rhythm(
    client: httpx.AsyncClient, issuer: SandboxIssuer, clock: Clock
) -> None:
    rhythm = Rhythm()
    issuer.fault = IssuerFault.DOWN
    keys = JwksKeys([SETTINGS], client, clock, sleep=rhythm.sleep)
    await keys.start()
    await rhythm.resting()
    ready_before = keys.ready
    assert not ready_before
    assert keys.last_success(ISSUER) is None
    issuer.fault = None
    clock.now += 30
    await rhythm.beat()
    assert keys.ready
    assert rhythm.asked == [30.0, 600.0]
    await keys.close()


async def test_ready_once_every_issuer_was_loaded(issuer: SandboxIssuer, clock: Clock) -> None:
    other = SandboxIssuer("https://other.example", audience="a", keys=(SigningKey.generate("k", "ES256"),))
    apps = {"id.example": issuer.app, "other.example": other.app}
    mounts = {f"all://{host}": httpx.ASGITransport(app=app) for host, app in apps.items()}
    async with httpx.AsyncClient(mounts=mounts, trust_env=False) as client:
        keys = JwksKeys([SETTINGS, settings(issuer=other.url)], client, clock)
        assert await known(keys)
        ready_before = keys.ready
        assert not ready_before
        found = await keys.for_token(other.url, "k", "ES256")
        assert found.find("k", "ES256") is not None
        assert found.find("k-ES256", "ES256") is None
        assert keys.ready


async def test_a_waiter_that_gives_up_does_not_stop_the_flight(
    keys: JwksKeys, issuer: SandboxIssuer, clock: Clock
) -> None:
    issuer.fault, issuer.slow_seconds = IssuerFault.SLOW, 0.3
    first = asyncio.create_task(known(keys))
    second = asyncio.create_task(known(keys))
    await asyncio.sleep(0.01)
    first.cancel()
    assert await second
    assert first.cancelled()
    assert issuer.served[KEYS_PATH] == 1


async def test_close_ends_a_flight(client: httpx.AsyncClient, issuer: SandboxIssuer, clock: Clock) -> None:
    issuer.fault = IssuerFault.SLOW
    keys = JwksKeys([BY_URI], client, clock)
    waiting = asyncio.create_task(known(keys))
    await asyncio.sleep(0.01)
    await keys.close()
    with pytest.raises(Unavailable):
        await waiting


async def test_clients_that_could_be_led_astray_are_not_taken(clock: Clock) -> None:
    for careless in (httpx.AsyncClient(), httpx.AsyncClient(trust_env=False, follow_redirects=True)):
        with pytest.raises(ValueError, match="must not"):
            JwksKeys([SETTINGS], careless, clock)
        await careless.aclose()
    async with http_client() as client:
        assert not JwksKeys([], client, clock)._tasks


async def test_current_does_no_io(keys: JwksKeys, issuer: SandboxIssuer) -> None:
    assert await known(keys)
    served = sum(issuer.served.values())
    assert isinstance(keys.current(ISSUER), KeySet)
    assert sum(issuer.served.values()) == served
