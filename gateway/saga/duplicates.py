"""A write that the network delivered twice: what its request id proves of the other delivery.

This gateway sends a write once. A proxy in between may still send it again, and then the one answer that comes back is
of either delivery. Where the server records request ids (or the write carries a tag), what the other one stored is
known by it, and must not be left behind in silence.
"""

from gateway.errors import GatewayError
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import parse
from gateway.fhir.write_tag import is_tagged
from gateway.saga.capability import Capability
from gateway.saga.content import request_id_of
from gateway.saga.find import Finder
from gateway.saga.intent import Intent, replace
from gateway.saga.lookup_port import Look, Seen, Trouble, Unclear
from gateway.saga.ports import UpstreamAnswer
from gateway.saga.proof import Matched, Refused, Stored, creation, named
from gateway.saga.search import Mark, mark_of

# A guard (`If-Match`, `If-None-Exist`) did not let it pass: perhaps because the first delivery had passed.
_GUARDED = frozenset({409, 412})


async def delivered_before(
    finder: Finder, intent: Intent, answer: UpstreamAnswer, proof: Matched | Refused, capability: Capability
) -> Stored | None:
    """What this very write stored, though the answer says that nothing was: it is the answer to a second delivery."""
    if isinstance(proof, Matched):
        look = await _matched(finder, intent, answer)
    elif answer.status in _GUARDED and intent.interaction is InteractionCode.UPDATE and finder.records_ids(capability):
        look = await _at(finder, intent, intent.id, capability.after(intent.prior_version or intent.prior_tombstone))
    else:
        return None
    if not isinstance(look, Seen) or not is_marked(intent, look.resource):
        return None
    created = creation(intent, look.version, capability) if intent.prior_version is None else False
    return Stored(id=look.id, version=look.version, created=created)


def created_before(intent: Intent, seen: Seen, capability: Capability) -> Intent:
    """The same update, with its creation proven where the version seen is by its first delivery: another one met it."""
    if intent.created is not False or intent.prior_version is not None:
        return intent
    if not is_marked(intent, seen.resource) or creation(intent, seen.version, capability) is None:
        return intent
    return replace(intent, created=True)


async def left_behind(finder: Finder, intent: Intent, capability: Capability) -> Stored | Unclear | None:
    """Another resource that the creation which `intent` describes made, besides the one that was removed.

    Unclear: an outage. Where the server can be asked by no mark of the write, nothing is proven.
    """
    mark = _mark(finder, intent, capability)
    if mark is None:
        return None
    found = await finder.search.marked(intent, mark, capability)
    if isinstance(found, Unclear):
        return found if found.trouble is Trouble.OUTAGE else None
    for each in found:
        # A search may lag behind a removal.
        look = await finder.lookups.current(intent.type, each.id)
        if isinstance(look, Unclear) and look.trouble is Trouble.OUTAGE:
            return look
        if isinstance(look, Seen) and each.id != intent.stored_id:
            return Stored(id=each.id, version=each.version, created=creation(intent, each.version, capability))
    return None


def _mark(finder: Finder, intent: Intent, capability: Capability) -> Mark | None:
    """One that every resource carries which this write created under an id of the server's."""
    if intent.interaction is not InteractionCode.CREATE or intent.id is not None:
        return None
    try:
        return mark_of(intent, parse(intent.body, finder.limits), capability)
    except GatewayError:
        return None


async def _matched(finder: Finder, intent: Intent, answer: UpstreamAnswer) -> Look | None:
    """What `If-None-Exist` matched. Most servers send it along, and then it need not be asked for."""
    id_, version = named(intent, answer)
    try:
        resource = parse(answer.body, finder.limits)
    except GatewayError:
        return await _at(finder, intent, id_, version)
    if id_ is None or version is None or resource.get("id") != id_:
        return await _at(finder, intent, id_, version)
    return Seen(id=id_, version=version, resource=resource, body=answer.body)


async def _at(finder: Finder, intent: Intent, id_: str | None, version: str | None) -> Look | None:
    if id_ is None or version is None:
        return None if id_ is None else await finder.lookups.current(intent.type, id_)
    return await finder.lookups.version(intent.type, id_, version)


def is_marked(intent: Intent, resource: JsonObject) -> bool:
    """Whether this very write stored it, by what the server recorded or the write carries."""
    posted = intent.interaction is InteractionCode.CREATE
    return request_id_of(resource) == intent.write_id or (posted and is_tagged(resource, intent.write_id))
