"""Probes that write into the scratch corner: what a creation and an update prove, and whether they are found again."""

import secrets
from dataclasses import replace

from gateway.fhir.json import JsonObject
from gateway.saga.content import request_id_of
from gateway.saga.intent import new_write_id
from gateway.saga.lookup_port import Hits
from gateway.saga.ports import UpstreamAnswer
from gateway.saga.proof import etag_version, located
from gateway.upstream.corner import SYSTEM, TYPE, Corner, Unanswered, if_match, request_id
from gateway.upstream.findings import ClientIds, Creation, Guard, Guarded, Recorded, References, Search

_OK, _CREATED = 200, 201
_REFUSED = range(400, 500)
_SUCCESS = range(200, 300)


async def creation(corner: Corner) -> Creation:
    """POST, then read back: does the answer name what was stored?"""
    answer, id_ = await corner.create(request_id()[0])
    where = located(answer)
    version = etag_version(answer) or (where[2] if where else None)
    if id_ is None or answer.status not in _SUCCESS:
        return Creation(status=answer.status, version=version, location=_form(answer), proven=False)
    stored = await corner.seen(id_)
    named = where is not None and where[0] == TYPE and where[1] == stored.id
    proven = answer.status == _CREATED and named and version == stored.version
    await corner.put(id_, corner.resource(id_, value="b"))
    later = await corner.seen(id_)
    return Creation(
        status=answer.status,
        version=version,
        location=_form(answer),
        proven=proven,
        counts=(stored.version, later.version) == ("1", "2"),
    )


def _form(answer: UpstreamAnswer) -> str:
    value = answer.header(b"location")
    if value is None:
        return "none"
    return f"{'absolute' if '://' in value else 'relative'}, {'versioned' if '/_history/' in value else 'unversioned'}"


async def recorded(corner: Corner) -> Recorded:
    """How much of a request id comes back in `meta.source`."""
    kept: list[int] = []
    for id_ in (new_write_id(), secrets.token_hex(18)):
        _, made = await corner.create((b"x-request-id", id_.encode()))
        if made is None:
            raise Unanswered("a creation's answer names no id")
        text = request_id_of((await corner.seen(made)).resource) or ""
        kept.append(len(text) if text and id_.startswith(text) else 0)
    return Recorded(of_sixteen=kept[0], of_longer=kept[1])


async def found_by_request_id(corner: Corner, harmless: Search, now: float) -> Search:
    """Searches before and after the write that they look for, and after another one went over it."""
    header, wanted = request_id()
    query = f"_source=%23{wanted}"
    await corner.send("GET", TYPE, query=query)  # may fill a cache with an empty answer
    _, id_ = await corner.create(header)
    if id_ is None:
        raise Unanswered("a creation's answer names no id")
    found = _names(await corner.lookups.by_request_id(TYPE, wanted, now), id_)
    cached = await corner.send("GET", TYPE, query=query)
    await corner.put(id_, corner.resource(id_, value="b"))
    older = _names(await corner.lookups.by_request_id(TYPE, wanted, now), id_)
    stale = found and f'"{id_}"'.encode() not in cached.body
    return replace(harmless, finds=found, cached=stale, older=older)


async def found_by_tag(corner: Corner, harmless: Search) -> Search:
    """Every resource of the corner carries the run's tag."""
    _, id_ = await corner.create()
    hits = await corner.lookups.by_tag(TYPE, SYSTEM, corner.mark)
    ours = [hit.id for hit in hits if corner.marked(hit.resource)] if isinstance(hits, tuple) else []
    return replace(harmless, finds=id_ in ours and len(ours) == len(hits if isinstance(hits, tuple) else ()))


async def found_in_history(corner: Corner, harmless: Search, now: float) -> Search:
    """The first version has to be in the type's history, also when a second one is current."""
    made = await corner.second()
    hits = await corner.lookups.history(TYPE, None, now)
    seen = {hit.version for hit in hits if hit.id == made.id} if isinstance(hits, tuple) else set()
    return replace(harmless, finds=bool(seen), older=made.first in seen)


def _names(hits: Hits, id_: str) -> bool:
    return isinstance(hits, tuple) and [hit.id for hit in hits] == [id_]


async def guarded_update(corner: Corner) -> Guarded:
    """PUT with If-Match on the version before the current one, then on the current one."""
    made = await corner.second()
    outdated = await corner.put(made.id, corner.resource(made.id, value="outdated"), if_match(made.first))
    if (await corner.seen(made.id)).version != made.version:
        return Guarded(guard=Guard.IGNORED, outdated=outdated.status)
    fitting = await corner.put(made.id, corner.resource(made.id, value="fitting"), if_match(made.version))
    moved = (await corner.seen(made.id)).version != made.version
    guard = Guard.HONOURED if moved else Guard.UNSUPPORTED
    return Guarded(guard=guard, outdated=outdated.status, fitting=fitting.status)


async def guarded_update_of_nothing(corner: Corner) -> Guarded:
    """PUT with If-Match to an id that does not exist: it must not create (RFC 9110 section 13.1.1)."""
    id_ = _unused_id()
    answer = await corner.put(id_, corner.resource(id_), if_match("1"))
    guard = Guard.HONOURED if await corner.gone(id_) else Guard.IGNORED
    return Guarded(guard=guard, outdated=answer.status)


async def unchanged_update(corner: Corner) -> bool:
    """Whether a PUT of what is stored already makes a version."""
    made = await corner.second()
    await corner.put(made.id, corner.resource(made.id, value="b"))
    return (await corner.seen(made.id)).version != made.version


async def conditional_create(corner: Corner) -> bool:
    """Whether `If-None-Exist` that matches keeps the server from writing."""
    value = secrets.token_hex(8)
    first, id_ = await corner.create(body=corner.resource(value=value))
    if first.status != _CREATED or id_ is None:
        raise Unanswered(f"a creation was answered with {first.status}")
    criteria = f"identifier={SYSTEM}:value|{value}".encode()
    again, other = await corner.create((b"if-none-exist", criteria), body=corner.resource(value=value))
    return again.status == _OK and other in (None, id_)


async def client_ids(corner: Corner) -> ClientIds:
    """PUT to ids that nobody used: one with letters, one of digits alone."""
    statuses: list[int] = []
    for id_ in (_unused_id(), str(10**15 + secrets.randbelow(10**15))):
        if not await corner.unused(id_):
            raise Unanswered("an id that should be unused is not")
        statuses.append((await corner.put(id_, corner.resource(id_))).status)
    return ClientIds(letters=statuses[0], digits=statuses[1])


async def references(corner: Corner) -> References:
    """A reference to nothing, and the deletion of what is referred to."""
    dangling: JsonObject = {**corner.resource(), "subject": {"reference": f"{TYPE}/{_unused_id()}"}}
    refused, _ = await corner.create(body=dangling)
    _, target = await corner.create()
    if target is None:
        raise Unanswered("a creation's answer names no id")
    referrer: JsonObject = {**corner.resource(), "subject": {"reference": f"{TYPE}/{target}"}}
    referring, _ = await corner.create(body=referrer)
    kept: bool | None = None
    if referring.status == _CREATED:
        answer = await corner.send("DELETE", f"{TYPE}/{target}")
        kept = answer.status in _REFUSED and not await corner.gone(target)
    return References(dangling_refused=refused.status in _REFUSED, delete_refused=kept)


def _unused_id() -> str:
    return f"doctor-{secrets.token_hex(8)}"
