"""Probes of what an undo needs: the guarded delete, the guarded restore, and the removal of history."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.fhir.json import Json, JsonObject
from gateway.saga.capability import SNAPSHOT
from gateway.saga.compensation import EXPUNGE_VERSION
from gateway.saga.lookup_port import Absent
from gateway.saga.ports import UpstreamAnswer
from gateway.upstream.corner import SYSTEM, TYPE, Corner, Unanswered, if_match
from gateway.upstream.findings import Guard, Guarded, Labels, Revival

_Delete = Callable[[str, str], Awaitable[UpstreamAnswer]]
_SUCCESS = range(200, 300)


async def delete_by_version_url(corner: Corner) -> Guarded:
    """`DELETE [type]/[id]/_history/[version]`: compare-and-delete on HAPI, something else or nothing elsewhere."""

    async def delete(id_: str, version: str) -> UpstreamAnswer:
        return await corner.send("DELETE", f"{TYPE}/{id_}/_history/{version}")

    return await _guarded(corner, delete)


async def delete_with_if_match(corner: Corner) -> Guarded:
    """DELETE with If-Match (RFC 9110 section 13.1.1)."""

    async def delete(id_: str, version: str) -> UpstreamAnswer:
        return await corner.send("DELETE", f"{TYPE}/{id_}", if_match(version))

    return await _guarded(corner, delete)


async def _guarded(corner: Corner, delete: _Delete) -> Guarded:
    """The outdated version first: it must stay, with nothing lost of its history; then the current one."""
    made = await corner.second()
    outdated = await delete(made.id, made.first)
    if await corner.gone(made.id):
        return Guarded(guard=Guard.IGNORED, outdated=outdated.status)
    # Some servers take the URL for an order to remove that version from history: not what an undo wants either.
    if isinstance(await corner.lookups.version(TYPE, made.id, made.first), Absent):
        return Guarded(guard=Guard.UNSUPPORTED, outdated=outdated.status)
    fitting = await delete(made.id, made.version)
    guard = Guard.HONOURED if await corner.gone(made.id) else Guard.UNSUPPORTED
    return Guarded(guard=guard, outdated=outdated.status, fitting=fitting.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """A resource of the corner that was deleted, with the version of the deletion where the server tells it."""

    id: str
    older: str
    tombstone: str | None
    reads_as: int


async def deleted(corner: Corner) -> Deleted:
    """A plain DELETE, read back. Raises Unanswered when it is still there."""
    made = await corner.second()
    await corner.send("DELETE", f"{TYPE}/{made.id}")
    look = await corner.lookups.current(TYPE, made.id)
    if not isinstance(look, Absent):
        raise Unanswered("a deletion did not delete")
    reads_as = (await corner.send("GET", f"{TYPE}/{made.id}", (b"cache-control", b"no-cache"))).status
    return Deleted(id=made.id, older=made.version, tombstone=look.tombstone, reads_as=reads_as)


async def revival(corner: Corner) -> Revival:
    """PUT on a deleted id with If-Match on the last live version, then on the deletion's."""
    gone = await deleted(corner)
    body = corner.resource(gone.id, value="revived")
    outdated = await corner.put(gone.id, body, if_match(gone.older))
    if not await corner.gone(gone.id):
        return Revival(status=outdated.status, guarded=Guard.IGNORED)
    if gone.tombstone is not None:
        fitting = await corner.put(gone.id, body, if_match(gone.tombstone))
        if not await corner.gone(gone.id):
            return Revival(status=fitting.status, guarded=Guard.HONOURED)
    plain = await corner.put(gone.id, body)
    return Revival(status=plain.status, guarded=Guard.UNSUPPORTED)


async def labels(corner: Corner) -> Labels:
    """PUT without the tag, then the same with the header by which HAPI replaces tags instead of adding to them."""
    made = await corner.second()
    await corner.put(made.id, corner.resource(made.id, value="c", labelled=False))
    stick = await _tagged(corner, made.id)
    await corner.put(made.id, corner.resource(made.id, value="d"))
    await corner.put(made.id, corner.resource(made.id, value="e", labelled=False), *SNAPSHOT)
    return Labels(stick=stick, dropped_by_header=not await _tagged(corner, made.id))


async def _tagged(corner: Corner, id_: str) -> bool:
    meta = (await corner.seen(id_)).resource.get("meta")
    tags: Json = meta.get("tag") if isinstance(meta, dict) else None
    found = [each for each in tags if isinstance(each, dict)] if isinstance(tags, list) else list[JsonObject]()
    return any(each.get("system") == SYSTEM and each.get("code") == corner.mark for each in found)


async def expunge(corner: Corner) -> bool:
    """`$expunge` of one outdated version: that version must be gone, and the current one untouched."""
    made = await corner.second()
    answer = await corner.send("POST", f"{TYPE}/{made.id}/_history/{made.first}/$expunge", body=EXPUNGE_VERSION)
    if answer.status not in _SUCCESS:
        return False
    purged = isinstance(await corner.lookups.version(TYPE, made.id, made.first), Absent)
    return purged and (await corner.seen(made.id)).version == made.version
