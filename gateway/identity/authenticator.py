"""The room's door: credentials of a request -> Principal."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

from gateway.identity import bearer, shape, token
from gateway.identity.key_set import KeySet
from gateway.identity.principal import Principal
from gateway.identity.remembered import Remembered
from gateway.identity.settings import IssuerSettings

MAX_REMEMBERED_SECONDS = 300.0
_LONGEST_CREDENTIALS = bearer.MAX_TOKEN + 16


class KeySource(Protocol):
    """Where the issuers' public keys come from."""

    def current(self, issuer: str) -> KeySet | None:
        """The last good set, without any I/O; None when there was none yet."""

    async def for_token(self, issuer: str, kid: str | None, algorithm: str) -> KeySet:
        """A usable set, looked up anew when it does not have the key (bounded). Raises Unavailable."""


class Authenticator:
    """Verifies bearer tokens of the configured issuers, and remembers verified ones for a short while.

    `remembered`: how many tokens at most (0: none); `remember_seconds`: for how long at most, up to 300. A remembered
    token is dropped at its expiry, when the issuer's keys change or get too old, or after that time.
    """

    def __init__(
        self,
        issuers: Sequence[IssuerSettings],
        keys: KeySource,
        *,
        remembered: int = 10_000,
        remember_seconds: float = 60.0,
    ) -> None:
        self._issuers = {settings.issuer: settings for settings in issuers}
        if len(self._issuers) != len(issuers):
            raise ValueError("an issuer is configured twice")
        if not 0 <= remember_seconds <= MAX_REMEMBERED_SECONDS:
            raise ValueError(f"tokens may be remembered for 0 to {MAX_REMEMBERED_SECONDS:.0f} seconds")
        self._keys = keys
        self._memory = Remembered(remembered)
        self._remember_seconds = remember_seconds

    def remembered(self, authorization: Sequence[bytes], now: float) -> Principal | None:
        """The principal of credentials that were verified a moment ago, or None. Costs one digest; no I/O."""
        if len(authorization) != 1 or len(authorization[0]) > _LONGEST_CREDENTIALS:
            return None
        digest = sha256(authorization[0]).digest()
        known = self._memory.find(digest, now)
        if known is None:
            return None
        principal, generation = known
        keys = self._keys.current(principal.issuer)
        if keys is None or keys.generation != generation or not keys.usable(now):
            self._memory.forget(digest)
            return None
        return principal

    async def authenticate(self, authorization: Sequence[bytes], now: float) -> Principal:
        """The principal of the request whose raw `Authorization` values are given; `now`: seconds since 1970.

        Raises Unauthenticated (no or bad credentials) or Unavailable (the issuer's keys are out of reach).
        """
        known = self.remembered(authorization, now)
        if known is not None:
            return known
        credentials = bearer.extract(authorization)
        found = shape.read(credentials, self._issuers)
        settings = found.settings
        keys = await self._keys.for_token(settings.issuer, found.kid, found.algorithm)
        principal = token.accept(found, keys, now)
        self._memory.keep(
            sha256(authorization[0]).digest(),
            principal,
            generation=keys.generation,
            until=min(found.exp + settings.leeway, now + self._remember_seconds),
            size=len(authorization[0]),
        )
        return principal
