"""Finding a write whose answer was lost: by looking, never by sending again.

A look that finds nothing proves nothing while the server may still apply the write; the caller knows when that
ends. Every hit is checked itself: servers answer an unknown search parameter with everything or with nothing.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.saga.capability import Capability, FindLost
from gateway.saga.content import request_id_of, same_content, updated_at
from gateway.saga.intent import Intent
from gateway.saga.lookup_port import Absent, Lookups, Seen, Trouble, Unclear
from gateway.saga.proof import Stored, creation

_DATE_MARGIN = 2.0  # seconds; times of the server have whole ones in places
StoredIds = Callable[[str, Collection[str]], Awaitable[frozenset[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotThere:
    """Not found by a look that would have found it. `final`: it can no longer be applied either."""

    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Untellable:
    """This server cannot tell. `unsupported`: it does not offer this way of looking at all."""

    reason: str
    unsupported: bool = False


Found = Stored | NotThere | Untellable | Unclear


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """Looks for one write. `stored_ids` says which resources other journalled writes explain."""

    lookups: Lookups
    stored_ids: StoredIds
    limits: BodyLimits

    async def find(self, intent: Intent, capability: Capability, *, last: bool = False) -> Found:
        """Where the write is, if anywhere. `last`: finding nothing will be believed, so no way is left untried."""
        try:
            sent = parse(intent.body, self.limits)
        except GatewayError:
            return Untellable(reason="the journalled payload cannot be read")
        if intent.interaction is not InteractionCode.CREATE or _drawn(intent):
            return await self._updated(intent, sent, capability)
        if capability.find_lost is FindLost.REQUEST_ID:
            found = await self._by_request_id(intent, capability)
            if isinstance(found, Untellable) and found.unsupported:
                return await self._by_history(intent, sent, capability, by_content=True)
            return await self._confirmed(intent, sent, capability) if last and found == NotThere() else found
        if capability.find_lost in (FindLost.HISTORY, FindLost.ASSIGNED_ID):
            return await self._by_history(intent, sent, capability, by_content=True)
        return Untellable(reason="this server offers no way to find a created resource again")

    async def _updated(self, intent: Intent, sent: JsonObject, capability: Capability) -> Found:
        """A PUT is found by its id and the version that follows the one it was guarded by."""
        id_ = intent.id or ""
        expected = capability.after(intent.prior_version or intent.prior_tombstone)
        if expected is not None:
            look = await self.lookups.version(intent.type, id_, expected)
            if isinstance(look, Seen):
                if _is_ours(intent, sent, look.resource, capability):
                    return _stored(intent, look, capability)
                if intent.prior_version is not None and capability.guarded_update:
                    return NotThere(final=True)  # its guard names a version that is no longer current
            elif isinstance(look, Unclear) and look.trouble is Trouble.OUTAGE:
                return look
        return await self._in_instance_history(intent, id_, sent, capability)

    async def _in_instance_history(self, intent: Intent, id_: str, sent: JsonObject, capability: Capability) -> Found:
        """Versions need not follow each other: look through what was written to this id since."""
        hits = await self.lookups.history(intent.type, id_, intent.started_at, by_server=intent.server_time)
        if isinstance(hits, Unclear):
            return hits if hits.trouble is Trouble.OUTAGE else await self._by_current(intent, id_, sent, capability)
        ours = [
            hit
            for hit in hits
            if hit.version != intent.prior_version and _is_ours(intent, sent, hit.resource, capability)
        ]
        return _only(intent, ours, capability, "several versions look like this write")

    async def _by_current(self, intent: Intent, id_: str, sent: JsonObject, capability: Capability) -> Found:
        """Without history only an unmoved resource tells something, or one that moved by just this write.

        So also where the write was applied between the look for its version and this one: until then the server knew
        no history of the id at all.
        """
        look = await self.lookups.current(intent.type, id_)
        if isinstance(look, Unclear):
            return look if look.trouble is Trouble.OUTAGE else Untellable(reason="the resource cannot be read")
        if isinstance(look, Absent):
            return NotThere()
        if look.version == intent.prior_version:
            return NotThere()
        expected = capability.after(intent.prior_version or intent.prior_tombstone)
        if look.version == expected and _is_ours(intent, sent, look.resource, capability):
            return _stored(intent, look, capability)
        return Untellable(reason="the resource changed, and the server keeps no history to tell by whom")

    async def _by_request_id(self, intent: Intent, capability: Capability) -> Found:
        hits = await self.lookups.by_request_id(
            intent.type, intent.write_id, intent.started_at, by_server=intent.server_time
        )
        if isinstance(hits, Unclear):
            unusable = hits.trouble is not Trouble.OUTAGE
            return Untellable(reason="the server does not search by request id", unsupported=True) if unusable else hits
        ours: list[Stored] = []
        for hit in hits:
            first = await self._first_version(intent, hit, capability)
            if isinstance(first, Unclear):
                return first
            if first is not None and request_id_of(first.resource) == intent.write_id:
                ours.append(_stored(intent, first, capability))
        if len(ours) > 1:
            return Untellable(reason="several resources carry this write's request id")
        return ours[0] if ours else NotThere()

    async def _confirmed(self, intent: Intent, sent: JsonObject, capability: Capability) -> Found:
        """A search that finds nothing may be one that never finds anything: history, where there is one, decides."""
        found = await self._by_history(intent, sent, capability, by_content=False)
        return NotThere() if isinstance(found, Untellable) and found.unsupported else found

    async def _first_version(self, intent: Intent, hit: Seen, capability: Capability) -> Seen | Unclear | None:
        """The search answers with the current version; what a create stored is the first one."""
        if capability.is_first(hit.version) or capability.after(None) is None:
            return hit
        look = await self.lookups.version(intent.type, hit.id, capability.after(None) or "")
        return None if isinstance(look, Absent) else look

    async def _by_history(self, intent: Intent, sent: JsonObject, capability: Capability, *, by_content: bool) -> Found:
        """First versions since the write began.

        A stranger's write may have equal content, so that is believed only where nothing better is recorded, and
        only of one candidate that no other write explains.
        """
        hits = await self.lookups.history(intent.type, None, intent.started_at, by_server=intent.server_time)
        if isinstance(hits, Unclear):
            unusable = hits.trouble is not Trouble.OUTAGE
            return Untellable(reason="the server keeps no history of the type", unsupported=True) if unusable else hits
        first = [hit for hit in hits if capability.is_first(hit.version)]
        tagged = [hit for hit in first if request_id_of(hit.resource) == intent.write_id]
        # Where ids are recorded whole, one that is not there says no more about a resource than that; where they are
        # cut or left out, the search before this one could not have found the write.
        told = first if by_content else [hit for hit in first if not _recorded_whole(intent, hit.resource)]
        same = tagged or [hit for hit in told if same_content(hit.resource, sent, ignore_id=True)]
        explained = await self.stored_ids(intent.type, [hit.id for hit in same])
        ours = [hit for hit in same if hit.id not in explained]
        return _only(intent, ours, capability, "several new resources say the same as this write")


def _only(intent: Intent, alike: list[Seen], capability: Capability, several: str) -> Found:
    """The one that is this write, among versions that look like it: by its request id, or made since it began.

    What was made just before, or at a time that cannot be compared, may be somebody else's and is left to a person.
    """
    ours = [hit for hit in alike if _made_since(intent, hit.resource)] or alike
    if len(ours) > 1:
        return Untellable(reason=several)
    if ours and not _made_since(intent, ours[0].resource):
        return Untellable(reason="what looks like this write may have been made before it")
    return _stored(intent, ours[0], capability) if ours else NotThere()


def _made_since(intent: Intent, seen: JsonObject) -> bool:
    if request_id_of(seen) == intent.write_id or _drawn(intent):
        return True
    updated = updated_at(seen)
    return updated is not None and intent.server_time is not None and updated >= intent.server_time - _DATE_MARGIN


def _drawn(intent: Intent) -> bool:
    """Whether the gateway drew the id that it goes to: nobody else knows it."""
    return intent.interaction is InteractionCode.CREATE and intent.id is not None


def _recorded_whole(intent: Intent, seen: JsonObject) -> bool:
    """Whether a request id is recorded that cannot be what is left of this write's."""
    recorded = request_id_of(seen)
    return recorded is not None and not (intent.write_id.startswith(recorded) and recorded != intent.write_id)


def _is_ours(intent: Intent, sent: JsonObject, seen: JsonObject, capability: Capability) -> bool:
    """By the id that was drawn for it, by the request id where the server records it, else by what it says."""
    if _drawn(intent):
        return True
    recorded = request_id_of(seen)
    if recorded == intent.write_id:
        return True
    if capability.find_lost is FindLost.REQUEST_ID and _recorded_whole(intent, seen):
        return False
    return same_content(seen, sent)


def _stored(intent: Intent, seen: Seen, capability: Capability) -> Stored:
    if intent.interaction is InteractionCode.CREATE or intent.prior_version is None:
        created = creation(intent, seen.version, capability)
    else:
        created = False
    return Stored(id=seen.id, version=seen.version, created=created)
