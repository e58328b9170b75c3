"""The issuers' keys, kept fresh: an asynchronous cache that no token can make us hammer an issuer with."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from gateway.errors import Issue, IssueCode, Unavailable
from gateway.identity.key_fetch import FetchFailed, discover, fetch, jwks_uri_of
from gateway.identity.key_set import KeySet, Slot, UnusableKeys, VerifyingKey, read_key_set
from gateway.identity.settings import IssuerSettings

_CLOCK_STEP = 60.0  # seconds that the clock may be set back before the age of a key set counts as unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTimes:
    """All in seconds.

    `cool_down`: least time between two attempts to fetch one issuer's keys, failed ones included; so also how long a
    new key may be unknown. `refresh`: the background rhythm; so also how long a removed key may be accepted. `max_age`:
    how long the last good set is used while the issuer is down. `timeout`: of one HTTP exchange as a whole.
    """

    cool_down: float = 30.0
    refresh: float = 600.0
    max_age: float = 3_600.0
    timeout: float = 5.0


class JwksKeys:
    """The KeySource that fetches JWK Sets, from `jwks_uri` or by discovery.

    `client` has to be free of the environment's proxies (`key_fetch.http_client()`), and stays the caller's to close.
    `clock`: seconds since 1970.
    """

    def __init__(
        self,
        issuers: Sequence[IssuerSettings],
        client: httpx.AsyncClient,
        clock: Callable[[], float] = time.time,
        *,
        times: KeyTimes | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if client.trust_env or client.follow_redirects:
            raise ValueError("the client must not trust the environment nor follow redirects")
        self._times = times or KeyTimes()
        self._clock = clock
        self._sleep = sleep
        self._caches = {s.issuer: _IssuerCache(s, client, clock, self._times) for s in issuers}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether every issuer's keys were loaded at least once."""
        return all(cache.keys is not None for cache in self._caches.values())

    async def start(self) -> None:
        """Tries each issuer once, and goes on trying in the background. An issuer that is down raises nothing."""
        await asyncio.gather(*(cache.attempt(rediscover=True) for cache in self._caches.values()))
        for cache in self._caches.values():
            self._tasks.add(asyncio.create_task(self._keep_fresh(cache)))

    async def close(self) -> None:
        """Stops the background work."""
        tasks = [*self._tasks, *(c.flight for c in self._caches.values() if c.flight is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def current(self, issuer: str) -> KeySet | None:
        """The last good set, however old; `KeySet.usable` tells whether it may be used."""
        return self._caches[issuer].keys

    async def for_token(self, issuer: str, kid: str | None, algorithm: str) -> KeySet:
        """A usable set. An unknown `kid` costs at most one fetch per cool-down. Raises Unavailable."""
        cache = self._caches[issuer]
        keys = cache.keys
        if keys is None or not keys.usable(self._clock()) or (kid is not None and keys.find(kid, algorithm) is None):
            await cache.attempt()
            keys = cache.keys
        if keys is None or not keys.usable(self._clock()):
            issue = Issue(code=IssueCode.TRANSIENT, text="The issuer's keys cannot be read at the moment.")
            raise Unavailable(issue, retry_after=cache.seconds_to_next_attempt())
        return keys

    def last_success(self, issuer: str) -> float | None:
        """When the issuer's keys were last loaded, in seconds since 1970."""
        return self._caches[issuer].last_success

    def last_failure(self, issuer: str) -> str | None:
        """Why the last attempt failed, without anything the issuer sent; None when it succeeded."""
        return self._caches[issuer].failure

    def metadata(self, issuer: str) -> Mapping[str, object] | None:
        """The issuer's discovery document, as last read; None when it was never had."""
        return self._caches[issuer].metadata

    async def _keep_fresh(self, cache: "_IssuerCache") -> None:
        while True:
            await cache.describe()
            await self._sleep(self._times.refresh if cache.failure is None else self._times.cool_down)
            await cache.attempt(rediscover=True)


class _IssuerCache:
    """One issuer's last good set, and the one attempt that may be under way."""

    def __init__(
        self, settings: IssuerSettings, client: httpx.AsyncClient, clock: Callable[[], float], times: KeyTimes
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._times = times
        self._last_attempt = float("-inf")
        self._generation = 0
        self.keys: KeySet | None = None
        self.metadata: Mapping[str, object] | None = None
        self.last_success: float | None = None
        self.failure: str | None = None
        self.flight: asyncio.Task[None] | None = None

    def seconds_to_next_attempt(self) -> int:
        """Whole seconds, at least 1; to be asked after an attempt."""
        return max(1, math.ceil(self._last_attempt + self._times.cool_down - self._clock()))

    async def attempt(self, *, rediscover: bool = False) -> None:
        """Joins the attempt under way, or makes one unless the cool-down runs. Never raises; `failure` tells."""
        if self.flight is None or self.flight.done():
            now = self._clock()
            # A clock that was set back ends the cool-down: the time that passed is not known.
            if 0 <= now - self._last_attempt < self._times.cool_down:
                return
            # Noted before the attempt, so that a failed one counts as well.
            self._last_attempt = now
            self.flight = asyncio.create_task(self._load(rediscover=rediscover))
        # `wait` neither cancels the shared attempt with one of its waiters nor raises its outcome into them.
        await asyncio.wait({self.flight})

    async def describe(self) -> None:
        """Reads the discovery document where the keys do not need it, for those who are to be told of its endpoints."""
        if self.metadata is None and self._settings.jwks_uri is not None:
            try:
                self.metadata = await discover(self._client, self._settings, seconds=self._times.timeout)
            except FetchFailed:
                return

    async def _load(self, *, rediscover: bool) -> None:
        failure: str | None = "ended by a defect"
        try:
            uri = await self._jwks_uri(rediscover=rediscover)
            document = await fetch(self._client, uri, seconds=self._times.timeout)
            self._take(read_key_set(document, self._settings.algorithms))
            failure = None
        except (FetchFailed, UnusableKeys) as fault:
            # The last good set stays: an issuer's bad hour must not lock out everybody at once.
            failure = str(fault)
        finally:
            self.failure = failure

    def _take(self, found: Mapping[Slot, VerifyingKey]) -> None:
        if self.keys is None or dict(found) != dict(self.keys.keys):
            self._generation += 1
        now = self._clock()
        self.keys = KeySet(
            keys=found,
            generation=self._generation,
            usable_from=now - _CLOCK_STEP,
            usable_until=now + self._times.max_age,
        )
        self.last_success = now

    async def _jwks_uri(self, *, rediscover: bool) -> str:
        if self._settings.jwks_uri is not None:
            return self._settings.jwks_uri
        if self.metadata is None or rediscover:
            self.metadata = await discover(self._client, self._settings, seconds=self._times.timeout)
        return jwks_uri_of(self.metadata, self._settings)
