"""What settling asks of the FHIR server besides sending: uncached looks, each with an answer that is a value."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gateway.fhir.json import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A version of a resource as the server holds it. `body` is the bytes of the answer that it was read from.

    `readable` is False when those bytes have not exactly one reading (`resource` is then empty): the version is
    known by the ETag, so it can still be undone, but no rule can hold on it.
    """

    id: str
    version: str
    resource: JsonObject
    body: bytes
    readable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """404 or 410. `tombstone` is the version of the deletion, where the server tells it."""

    deleted: bool = False
    tombstone: str | None = None


class Trouble(StrEnum):
    """Why a look told nothing."""

    OUTAGE = "outage"  # not reached, no answer, 5xx, 429: look again later
    UNSUPPORTED = "unsupported"  # the server refuses this way of looking
    UNPARSEABLE = "unparseable"  # an answer that cannot be read in exactly one way


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """A look that told nothing."""

    trouble: Trouble


Look = Seen | Absent | Unclear
Hits = tuple[Seen, ...] | Unclear


class Lookups(Protocol):
    """Reads that no cache may answer. They never raise for what the server does.

    `since` is seconds of the epoch by a clock of a gateway's, perhaps on another machine; `by_server` is the same
    instant by the server's own clock, as far as it is known, and is what counts then.
    """

    async def current(self, type_: str, id_: str) -> Look: ...

    async def version(self, type_: str, id_: str, version: str) -> Look: ...

    async def by_request_id(self, type_: str, request_id: str, since: float, *, by_server: float | None = None) -> Hits:
        """Current versions of which some version recorded the request id. Unverified: each hit has to be checked."""

    async def by_tag(self, type_: str, system: str, code: str) -> Hits:
        """Current versions that carry a tag. Unverified: each hit has to be checked."""

    async def history(self, type_: str, id_: str | None, since: float, *, by_server: float | None = None) -> Hits:
        """Versions of one resource (or of a type) written since about `since` (0: ever); every page, within a bound."""
