"""The searches that find a creation again by a mark of its write: the request id that the server recorded, or a tag.

One loop for both. Every hit is checked itself: servers answer an unknown search parameter with everything or with
nothing, and with the current version, where what a create stored is the first one.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from gateway.fhir.json import JsonObject
from gateway.fhir.write_tag import SYSTEM, is_tagged
from gateway.saga.capability import Capability, FindLost
from gateway.saga.content import request_id_of
from gateway.saga.intent import Intent
from gateway.saga.lookup_port import Absent, Hits, Lookups, Seen, Unclear

StoredVersions = Callable[[str, Collection[str]], Awaitable[frozenset[tuple[str, str]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a write is told by. `copied`: what a client copies carries it, too."""

    name: str
    search: Callable[[Lookups, Intent], Awaitable[Hits]]
    on: Callable[[JsonObject, str], bool]
    copied: bool


def _by_request_id(lookups: Lookups, intent: Intent) -> Awaitable[Hits]:
    return lookups.by_request_id(intent.type, intent.write_id, intent.started_at, by_server=intent.server_time)


def _by_tag(lookups: Lookups, intent: Intent) -> Awaitable[Hits]:
    return lookups.by_tag(intent.type, SYSTEM, intent.write_id)


def _has_request_id(resource: JsonObject, write_id: str) -> bool:
    return request_id_of(resource) == write_id


_REQUEST_ID = Mark(name="request id", search=_by_request_id, on=_has_request_id, copied=False)
_TAG = Mark(name="tag", search=_by_tag, on=is_tagged, copied=True)


def mark_of(intent: Intent, sent: JsonObject, capability: Capability) -> Mark | None:
    """What a creation can be searched by on this server, if by anything."""
    if capability.find_lost is FindLost.REQUEST_ID:
        return _REQUEST_ID
    # One that left before the setting was made carries no tag.
    return _TAG if capability.find_lost is FindLost.TAG and is_tagged(sent, intent.write_id) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Looks for the first versions that carry a mark. `stored`: what other journalled writes explain."""

    lookups: Lookups
    stored: StoredVersions

    async def marked(self, intent: Intent, mark: Mark, capability: Capability) -> list[Seen] | Unclear:
        """Every one. Unclear, but for an outage: this server does not tell by this mark."""
        hits = await mark.search(self.lookups, intent)
        if isinstance(hits, Unclear):
            return hits
        ours: list[Seen] = []
        for hit in hits:
            first = await self.first_version(intent, hit, capability)
            if isinstance(first, Unclear):
                return first
            if first is not None and mark.on(first.resource, intent.write_id):
                ours.append(first)
        if not mark.copied:
            return ours
        explained = await self.stored(intent.type, [each.id for each in ours])
        return [each for each in ours if (each.id, each.version) not in explained]

    async def first_version(self, intent: Intent, hit: Seen, capability: Capability) -> Seen | Unclear | None:
        """The version that the creation of a resource made."""
        if capability.may_be_first(hit.version):
            return hit
        look = await self.lookups.version(intent.type, hit.id, capability.after(None) or "")
        return None if isinstance(look, Absent) else look
