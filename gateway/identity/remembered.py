"""Tokens that were verified a moment ago, so that a busy client costs one digest a request instead of a signature.

Never keyed by a part of the token (its signature, its `jti`): only the same bytes as a whole are the same token.
"""

from collections import OrderedDict
from dataclasses import dataclass

from gateway.identity.principal import Principal

_BYTES_PER_ENTRY = 2_048  # planned for; larger tokens leave room for fewer


@dataclass(frozen=True, slots=True)
class _Entry:
    principal: Principal
    generation: int
    until: float
    size: int


class Remembered:
    """A bounded memory, least recently used out first. `digest` is the SHA-256 of the whole credentials."""

    def __init__(self, limit: int) -> None:
        """`limit`: entries; they hold at most `limit` x 2 kB of token text together."""
        self._limit = limit
        self._room = limit * _BYTES_PER_ENTRY
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, digest: bytes, now: float) -> tuple[Principal, int] | None:
        """The principal and the generation of the keys it was verified with, or None."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        if now >= entry.until:
            self.forget(digest)
            return None
        self._entries.move_to_end(digest)
        return entry.principal, entry.generation

    def keep(self, digest: bytes, principal: Principal, *, generation: int, until: float, size: int) -> None:
        """Remembers a principal until `until` (seconds since 1970). `size`: bytes of the credentials."""
        self.forget(digest)
        self._entries[digest] = _Entry(principal, generation, until, size)
        self._room -= size
        while self._entries and (self._room < 0 or len(self._entries) > self._limit):
            _, oldest = self._entries.popitem(last=False)
            self._room += oldest.size

    def forget(self, digest: bytes) -> None:
        """Drops an entry, if it is there."""
        entry = self._entries.pop(digest, None)
        if entry is not None:
            self._room += entry.size
