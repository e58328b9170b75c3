"""Runs every probe once. A probe that breaks off says so in the findings; the others go on."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gateway.fhir.resource import BodyLimits
from gateway.saga.ports import Upstream
from gateway.upstream import probes_harmless, probes_undo, probes_writing
from gateway.upstream.corner import SYSTEM, TYPE, Corner, Unanswered
from gateway.upstream.findings import Findings, Search
from gateway.upstream.lookups import UpstreamLookups

T = TypeVar("T")
_UNKNOWN = Search(supported=False, selective=False)


class NoServer(Exception):
    """The FHIR server cannot be asked at all."""


@dataclass(slots=True)
class _Round:
    """Probes one after another; keeps the reasons of those that broke off."""

    failed: list[tuple[str, str]] = field(default_factory=list)

    async def take(self, name: str, probe: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await probe()
        except Unanswered as reason:
            self.failed.append((name, str(reason)))
            return None


async def examine(upstream: Upstream, limits: BodyLimits, *, base: str, writing: bool) -> Findings:
    """What the server does. `writing`: with the probes that write into a scratch corner, which is cleaned up.

    Raises NoServer.
    """
    software = await probes_harmless.software(upstream, limits)
    if software is None:
        raise NoServer
    lookups = UpstreamLookups(upstream, limits, base=base)
    found = Findings(
        software=software.name,
        version=software.version,
        source=await probes_harmless.source_search(lookups, TYPE),
        tag=await probes_harmless.tag_search(lookups, TYPE, SYSTEM),
        history=await probes_harmless.type_history(lookups, TYPE, time.time()),
    )
    if not writing:
        return found
    corner = Corner(upstream=upstream, lookups=lookups, limits=limits)
    try:
        found = await _written(found, corner)
    finally:
        left = await corner.clean()
    return replace(found, left=left)


async def _written(found: Findings, corner: Corner) -> Findings:
    round_, now = _Round(), time.time()
    take = round_.take
    creation = await take("creation", lambda: probes_writing.creation(corner))
    if creation is None or creation.status >= 300:  # noqa: PLR2004 (nothing below works where nothing is created)
        return replace(found, creation=creation, failed=tuple(round_.failed))
    source, tag, history = found.source or _UNKNOWN, found.tag or _UNKNOWN, found.history or _UNKNOWN
    found = replace(
        found,
        creation=creation,
        recorded=await take("request id", lambda: probes_writing.recorded(corner)),
        source=await take("_source", lambda: probes_writing.found_by_request_id(corner, source, now)) or source,
        tag=await take("_tag", lambda: probes_writing.found_by_tag(corner, tag)) or tag,
        history=await take("_history", lambda: probes_writing.found_in_history(corner, history, now)) or history,
        update=await take("guarded update", lambda: probes_writing.guarded_update(corner)),
        update_absent=await take("update of nothing", lambda: probes_writing.guarded_update_of_nothing(corner)),
        unchanged=await take("unchanged update", lambda: probes_writing.unchanged_update(corner)),
        if_none_exist=await take("If-None-Exist", lambda: probes_writing.conditional_create(corner)),
        client_ids=await take("client ids", lambda: probes_writing.client_ids(corner)),
        references=await take("references", lambda: probes_writing.references(corner)),
    )
    gone = await take("deletion", lambda: probes_undo.deleted(corner))
    found = replace(
        found,
        delete_version_url=await take("delete by version", lambda: probes_undo.delete_by_version_url(corner)),
        delete_if_match=await take("delete with If-Match", lambda: probes_undo.delete_with_if_match(corner)),
        deleted_reads_as=gone.reads_as if gone else None,
        revival=await take("revival", lambda: probes_undo.revival(corner)),
        labels=await take("labels", lambda: probes_undo.labels(corner)),
        expunge=await take("$expunge", lambda: probes_undo.expunge(corner)),
    )
    return replace(found, failed=tuple(round_.failed))
