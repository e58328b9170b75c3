"""Finding a write whose answer was lost: by looking, never by sending again.

A look that finds nothing proves nothing while the server may still apply the write; the caller knows when that
ends. Every hit is checked itself: servers answer an unknown search parameter with everything or with nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.fhir.write_tag import is_tagged
from gateway.saga.capability import Capability, FindLost
from gateway.saga.content import request_id_of, same_content, updated_at
from gateway.saga.intent import Intent
from gateway.saga.lookup_port import Absent, Lookups, Seen, Trouble, Unclear
from gateway.saga.proof import Stored, creation
from gateway.saga.search import Mark, Search, StoredVersions, mark_of

_DATE_MARGIN = 2.0  # seconds; times of the server have whole ones in places
_ACCEPTED = frozenset({200, 201})


class Stamps:
    """Whether this server was seen to record the gateway's own request ids, by what was read back last.

    Something in between may replace `X-Request-ID`; a whole id that is not ours says something about whose a version
    is only where ours are known to arrive.
    """

    def __init__(self) -> None:
        self.seen: bool | None = None  # None: nothing was read back yet

    def note(self, write_id: str, resource: JsonObject) -> None:
        """A version that is known to be of this write."""
        self.seen = request_id_of(resource) == write_id

    def trusted(self, capability: Capability) -> bool:
        """What was seen counts, before what is known of the kind of server."""
        return capability.records_ids if self.seen is None else self.seen


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
    """Looks for one write. `stored` says which versions (id, version) of resources other journalled writes explain.

    What the server made of the write may not say what was sent: it is the very thing that rules of phase `after` are
    for. So "not there" is an answer only where no version is left that could be this write, altered.
    """

    lookups: Lookups
    stored: StoredVersions
    limits: BodyLimits
    stamps: Stamps

    async def find(self, intent: Intent, capability: Capability, *, last: bool = False) -> Found:
        """Where the write is, if anywhere. `last`: finding nothing will be believed, so no way is left untried."""
        try:
            sent = parse(intent.body, self.limits)
        except GatewayError:
            return Untellable(reason="the journalled payload cannot be read")
        found = await self._find(intent, sent, capability, last=last)
        nothing = isinstance(found, NotThere) and (last or found.final)
        if nothing and intent.upstream_status in _ACCEPTED and intent.stored_id is None:
            return Untellable(reason="the server said that it stored the write, and it is not found")
        return found

    async def _find(self, intent: Intent, sent: JsonObject, capability: Capability, *, last: bool) -> Found:
        if intent.interaction is not InteractionCode.CREATE or _drawn(intent):
            return await self._updated(intent, sent, capability, last=last)
        if intent.stored_id is not None:
            return await self._named(intent, intent.stored_id, sent, capability)
        mark = mark_of(intent, sent, capability)
        if mark is not None:
            found = await self._searched(intent, mark, capability)
            if isinstance(found, Untellable) and found.unsupported:
                return await self._by_history(intent, sent, capability, last=last)
            # What searches find nothing of may still be in history: an index that lags behind, a tag taken off since.
            return await self._confirmed(intent, sent, capability) if last and found == NotThere() else found
        if capability.find_lost is not FindLost.NONE:
            return await self._by_history(intent, sent, capability, last=last)
        return Untellable(reason="this server offers no way to find a created resource again")

    @property
    def search(self) -> Search:
        """By a mark of the write."""
        return Search(lookups=self.lookups, stored=self.stored)

    async def _named(self, intent: Intent, id_: str, sent: JsonObject, capability: Capability) -> Found:
        """The answer named the resource, but no version of it. The id is nobody else's; the version has to be ours."""
        look = await self.lookups.current(intent.type, id_)
        if isinstance(look, Unclear):
            unusable = Untellable(reason="the server tells no version of what it stored")
            return look if look.trouble is Trouble.OUTAGE else unusable
        if isinstance(look, Absent):
            return NotThere()
        first = await self.search.first_version(intent, look, capability)
        if isinstance(first, Unclear) and first.trouble is Trouble.OUTAGE:
            return first
        seen = first if isinstance(first, Seen) else look  # where no history is kept, only the current one is shown
        if request_id_of(seen.resource) == intent.write_id:
            return _stored(intent, seen, capability)
        explained = (seen.id, seen.version) in await self.stored(intent.type, [seen.id])
        alike = capability.is_first(seen.version) or same_content(seen.resource, sent, ignore_id=True)
        if alike and not explained:
            return _stored(intent, seen, capability)
        return Untellable(reason="the server did not tell which version it stored, and another one may be current")

    async def _updated(self, intent: Intent, sent: JsonObject, capability: Capability, *, last: bool) -> Found:
        """A PUT is found by its id and the version that follows the one it was guarded by."""
        id_ = intent.id or ""
        expected = capability.after(intent.prior_version or intent.prior_tombstone)
        if expected is not None:
            look = await self.lookups.version(intent.type, id_, expected)
            if isinstance(look, Seen):
                if self._is_ours(intent, sent, look.resource, capability):
                    return _stored(intent, look, capability)
                if intent.prior_version is not None and capability.guarded_update:
                    # Its guard names a version that is no longer current: all that is left is whose this one is.
                    if not await self._suspects(intent, (look,), capability):
                        return NotThere(final=True)
                    return _altered() if last else NotThere()
            elif isinstance(look, Unclear) and look.trouble is Trouble.OUTAGE:
                return look
        return await self._in_instance_history(intent, id_, sent, capability, last=last)

    async def _in_instance_history(
        self, intent: Intent, id_: str, sent: JsonObject, capability: Capability, *, last: bool
    ) -> Found:
        """Versions need not follow each other: look through what was written to this id since."""
        hits = await self.lookups.history(intent.type, id_, intent.started_at, by_server=intent.server_time)
        if isinstance(hits, Unclear):
            return hits if hits.trouble is Trouble.OUTAGE else await self._by_current(intent, id_, sent, capability)
        before = intent.prior_version or intent.prior_tombstone
        new = [hit for hit in hits if hit.version != before and not capability.no_later(hit.version, before)]
        ours = [hit for hit in new if self._is_ours(intent, sent, hit.resource, capability)]
        if ours:
            return _only(intent, ours, capability, "several versions look like this write")
        late = [hit for hit in new if _maybe_since(intent, hit.resource)]
        return _altered() if last and await self._suspects(intent, late, capability) else NotThere()

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
        if look.version == expected and self._is_ours(intent, sent, look.resource, capability):
            return _stored(intent, look, capability)
        return Untellable(reason="the resource changed, and the server keeps no history to tell by whom")

    async def _searched(self, intent: Intent, mark: Mark, capability: Capability) -> Found:
        first = await self.search.marked(intent, mark, capability)
        if isinstance(first, Unclear):
            unusable = Untellable(reason=f"the server does not search by {mark.name}", unsupported=True)
            return first if first.trouble is Trouble.OUTAGE else unusable
        if len(first) > 1:
            return Untellable(reason=f"several resources carry this write's {mark.name}")
        return _stored(intent, first[0], capability) if first else NotThere()

    async def _confirmed(self, intent: Intent, sent: JsonObject, capability: Capability) -> Found:
        """A search that finds nothing may be one that never finds anything: history, where there is one, decides."""
        found = await self._by_history(intent, sent, capability, last=True)
        return NotThere() if isinstance(found, Untellable) and found.unsupported else found

    async def _by_history(self, intent: Intent, sent: JsonObject, capability: Capability, *, last: bool) -> Found:
        """First versions since the write began: by request id, else by content, of one that nothing else explains."""
        hits = await self.lookups.history(intent.type, None, intent.started_at, by_server=intent.server_time)
        if isinstance(hits, Unclear):
            unusable = hits.trouble is not Trouble.OUTAGE
            return Untellable(reason="the server keeps no history of the type", unsupported=True) if unusable else hits
        first = [hit for hit in hits if capability.may_be_first(hit.version)]
        left = await self._suspects(intent, first, capability)
        tagged = [
            hit
            for hit in left
            if request_id_of(hit.resource) == intent.write_id or is_tagged(hit.resource, intent.write_id)
        ]
        told = [hit for hit in left if not self._tells_another(intent, hit.resource, capability)]
        ours = tagged or [hit for hit in told if same_content(hit.resource, sent, ignore_id=True)]
        if ours:
            return _only(intent, ours, capability, "several new resources say the same as this write")
        return _altered() if last and any(_maybe_since(intent, hit.resource) for hit in left) else NotThere()

    async def _suspects(self, intent: Intent, hits: Collection[Seen], capability: Capability) -> list[Seen]:
        """Those that may be this write, whatever they say: no other write explains them, no id speaks against it."""
        explained = await self.stored(intent.type, [hit.id for hit in hits])
        trusted = self.stamps.trusted(capability)
        return [
            hit
            for hit in hits
            if (hit.id, hit.version) not in explained and not (trusted and _of_another(intent, hit.resource))
        ]

    def _is_ours(self, intent: Intent, sent: JsonObject, seen: JsonObject, capability: Capability) -> bool:
        """By the id that was drawn for it, by the request id where the server records it, else by what it says."""
        if _drawn(intent):
            return True
        if request_id_of(seen) == intent.write_id:
            return True
        return not self._tells_another(intent, seen, capability) and same_content(seen, sent)

    def _tells_another(self, intent: Intent, seen: JsonObject, capability: Capability) -> bool:
        """Whether a request id says that equal content is a coincidence."""
        return self.records_ids(capability) and _of_another(intent, seen)

    def records_ids(self, capability: Capability) -> bool:
        """Whether a version on this server tells by its request id whose it is."""
        return capability.find_lost is FindLost.REQUEST_ID or self.stamps.trusted(capability)


def _only(intent: Intent, alike: list[Seen], capability: Capability, several: str) -> Found:
    """The one that is this write, among versions that look like it: by its request id, or made since it began.

    What was made just before, or at a time that cannot be compared, may be somebody else's and is left to a person.
    """
    ours = [hit for hit in alike if _made_since(intent, hit.resource)] or alike
    if len(ours) > 1:
        return Untellable(reason=several)
    if not _made_since(intent, ours[0].resource):
        return Untellable(reason="what looks like this write may have been made before it")
    return _stored(intent, ours[0], capability)


def _made_since(intent: Intent, seen: JsonObject) -> bool:
    if request_id_of(seen) == intent.write_id or _drawn(intent):
        return True
    updated = updated_at(seen)
    return updated is not None and intent.server_time is not None and updated >= intent.server_time - _DATE_MARGIN


def _maybe_since(intent: Intent, seen: JsonObject) -> bool:
    updated = updated_at(seen)
    return updated is None or intent.server_time is None or updated >= intent.server_time - _DATE_MARGIN


def _drawn(intent: Intent) -> bool:
    """Whether the gateway drew the id that it goes to: nobody else knows it."""
    return intent.interaction is InteractionCode.CREATE and intent.id is not None


def _altered() -> Untellable:
    return Untellable(reason="what was written since may be this write, altered by the server")


def _of_another(intent: Intent, seen: JsonObject) -> bool:
    """Whether a request id is recorded that is neither this write's nor what is left of it."""
    recorded = request_id_of(seen)
    return recorded is not None and not intent.write_id.startswith(recorded)


def _stored(intent: Intent, seen: Seen, capability: Capability) -> Stored:
    if intent.interaction is InteractionCode.CREATE or intent.prior_version is None:
        created = creation(intent, seen.version, capability)
    else:
        created = False
    return Stored(id=seen.id, version=seen.version, created=created)
