"""Uncached looks at the FHIR server: the current version, one version, by request id, by history."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from gateway import steady_clock
from gateway.errors import GatewayError
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.saga.lookup_port import Absent, Hits, Look, Seen, Trouble, Unclear
from gateway.saga.ports import AnswerLost, NotSent, Upstream, UpstreamAnswer, UpstreamRequest
from gateway.saga.proof import etag_version, located

# HAPI answers a repeated search from a cache for a minute, also an empty one (RFC 9111 section 5.2.1.4).
_UNCACHED = ((b"accept", b"application/fhir+json"), (b"cache-control", b"no-cache"))
_CLOCK_SKEW = 600.0  # seconds by which the server's clock may differ from ours
_DATE_MARGIN = 2.0  # `Date` has whole seconds, and the answer took some time
_PAGE = 200
_MOST_PAGES = 50
_OK, _NOT_FOUND, _GONE = 200, 404, 410
_TEMPORARY = frozenset({408, 425, 429})
_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501  # RFC 9110 section 15.6.2: it will not be otherwise in a minute
_SAFE_PATH = re.compile(r"[A-Za-z0-9\-._~%/?&=|:,$+]*\Z")


class UpstreamLookups:
    """`saga.lookup_port.Lookups` over the upstream port. `base` is its FHIR base, to tell paging links by."""

    def __init__(
        self, upstream: Upstream, limits: BodyLimits, *, base: str = "", clock: Callable[[], float] = steady_clock.now
    ) -> None:
        self._upstream, self._limits, self._clock = upstream, limits, clock
        self._base = base.rstrip("/") + "/"

    async def current(self, type_: str, id_: str) -> Look:
        """GET [type]/[id]."""
        return await self._read(type_, id_, f"{type_}/{id_}")

    async def version(self, type_: str, id_: str, version: str) -> Look:
        """GET [type]/[id]/_history/[version] (http://hl7.org/fhir/R4/http.html#vread)."""
        return await self._read(type_, id_, f"{type_}/{id_}/_history/{version}")

    async def by_request_id(self, type_: str, request_id: str, since: float) -> Hits:
        """GET [type]?_source=#id, bounded by time: HAPI keeps the request id in a column without an index."""
        query = f"_source=%23{quote(request_id, safe='')}&_lastUpdated=ge{_instant(since)}&_count={_PAGE}"
        return await self._pages(type_, query, asked=since)

    async def by_tag(self, type_: str, system: str, code: str) -> Hits:
        """GET [type]?_tag=system|code (http://hl7.org/fhir/R4/search.html#tag). Unverified."""
        return await self._pages(type_, f"_tag={quote(system, safe='')}%7C{quote(code, safe='')}&_count={_PAGE}")

    async def history(self, type_: str, id_: str | None, since: float, *, probing: bool = False) -> Hits:
        """GET [type]/_history or [type]/[id]/_history, since (http://hl7.org/fhir/R4/http.html#history)."""
        path = f"{type_}/_history" if id_ is None else f"{type_}/{id_}/_history"
        if not since:
            return await self._pages(path, f"_count={_PAGE}")
        return await self._pages(
            path, f"_since={_instant(since)}&_count={_PAGE}", since=since, asked=None if probing else since
        )

    async def _get(self, path: str, query: str = "") -> UpstreamAnswer | Unclear:
        try:
            answer = await self._upstream.send(
                UpstreamRequest(method="GET", path=path, query=query, headers=_UNCACHED, urgent=True)
            )
        except (NotSent, AnswerLost):
            return Unclear(trouble=Trouble.OUTAGE)
        if (answer.status >= _SERVER_ERROR and answer.status != _NOT_IMPLEMENTED) or answer.status in _TEMPORARY:
            return Unclear(trouble=Trouble.OUTAGE)
        return answer

    async def _read(self, type_: str, id_: str, path: str) -> Look:
        answer = await self._get(path)
        if isinstance(answer, Unclear):
            return answer
        if answer.status in (_NOT_FOUND, _GONE):
            where = located(answer)
            deleted = answer.status == _GONE
            return Absent(deleted=deleted, tombstone=etag_version(answer) or (where[2] if where else None))
        if answer.status != _OK:
            return Unclear(trouble=Trouble.UNSUPPORTED)
        return self._seen(type_, id_, answer)

    def _seen(self, type_: str, id_: str, answer: UpstreamAnswer) -> Seen | Unclear:
        tagged = etag_version(answer)
        try:
            resource = parse(answer.body, self._limits)
        except GatewayError:
            if tagged is None:
                return Unclear(trouble=Trouble.UNPARSEABLE)
            return Seen(id=id_, version=tagged, resource={}, body=answer.body, readable=False)
        version = tagged or _meta_version(resource)
        if version is None:
            return Unclear(trouble=Trouble.UNPARSEABLE)
        named = resource.get("id")
        if resource.get("resourceType") != type_ or not isinstance(named, str):
            named = ""  # kept as seen: whoever looks decides that it is another resource
        return Seen(id=named, version=version, resource=resource, body=answer.body)

    async def _pages(self, path: str, query: str, *, asked: float | None = None, since: float = 0.0) -> Hits:
        """Every page: a hit on the second one must not pass for none.

        What was made before `since`, by the server's clock, is left out. `asked` is the time in the query; where
        the clocks disagree about it, what is not found may be there all the same.
        """
        hits: list[Seen] = []
        for _ in range(_MOST_PAGES):
            page = await self._page(path, query)
            if isinstance(page, Unclear):
                return page
            bundle, ahead = page
            if ahead is not None and asked is not None and not self._agree(asked, ahead):
                return Unclear(trouble=Trouble.OUTAGE)
            hits += [hit for hit in _entries(bundle) if not _older(hit.resource, since, ahead)]
            following = self._next(bundle)
            if following is None:
                return tuple(hits)
            if isinstance(following, Unclear):
                return following
            path, query = following
        return Unclear(trouble=Trouble.UNSUPPORTED)

    def _agree(self, asked: float, ahead: float) -> bool:
        """Whether both clocks are the same within the skew, and the time asked about is not yet to come."""
        return abs(ahead) <= _CLOCK_SKEW and asked <= self._clock() + ahead + _CLOCK_SKEW

    async def _page(self, path: str, query: str) -> tuple[JsonObject, float | None] | Unclear:
        """The bundle, and by how many seconds the server's clock is ahead."""
        answer = await self._get(path, query)
        if isinstance(answer, Unclear):
            return answer
        if answer.status != _OK:
            return Unclear(trouble=Trouble.UNSUPPORTED)
        try:
            bundle = parse(answer.body, self._limits)
        except GatewayError:
            return Unclear(trouble=Trouble.UNPARSEABLE)
        if bundle.get("resourceType") != "Bundle":
            return Unclear(trouble=Trouble.UNPARSEABLE)
        return bundle, self._ahead(answer)

    def _ahead(self, answer: UpstreamAnswer) -> float | None:
        """From `Date` (RFC 9110 section 6.6.1), to the second; None when the server does not say."""
        try:
            date = parsedate_to_datetime(answer.header(b"date") or "")
        except ValueError:
            return None
        return date.timestamp() - self._clock()

    def _next(self, bundle: JsonObject) -> tuple[str, str] | Unclear | None:
        """The link to the next page, only below the base: a link elsewhere is not followed with our credentials."""
        links = bundle.get("link")
        for link in links if isinstance(links, list) else []:
            if isinstance(link, dict) and link.get("relation") == "next":
                return self._below(link.get("url"))
        return None

    def _below(self, url: object) -> tuple[str, str] | Unclear:
        if not isinstance(url, str) or not _SAFE_PATH.match(url):
            return Unclear(trouble=Trouble.UNSUPPORTED)
        where, _, query = url.partition("?")
        if f"{where}/" == self._base:  # HAPI pages at the base itself: [base]?_getpages=…
            return "", query
        if not where.startswith(self._base):
            return Unclear(trouble=Trouble.UNSUPPORTED)
        return where.removeprefix(self._base), query


def _entries(bundle: JsonObject) -> list[Seen]:
    seen: list[Seen] = []
    entries = bundle.get("entry")
    for entry in entries if isinstance(entries, list) else []:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict):
            continue  # a deletion has no resource
        id_, version = resource.get("id"), _meta_version(resource)
        if isinstance(id_, str) and version is not None:
            seen.append(Seen(id=id_, version=version, resource=resource, body=b""))
    return seen


def _older(resource: JsonObject, since: float, ahead: float | None) -> bool:
    """Whether a version was made before `since`, by the server's own clock. In doubt it was not."""
    meta = resource.get("meta")
    updated = meta.get("lastUpdated") if isinstance(meta, dict) else None
    if ahead is None or not isinstance(updated, str):
        return False
    try:
        return datetime.fromisoformat(updated).timestamp() < since + ahead - _DATE_MARGIN
    except ValueError:
        return False


def _meta_version(resource: JsonObject) -> str | None:
    meta = resource.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def _instant(seconds: float) -> str:
    """Earlier by the clock skew, in UTC with `Z` (a `+` would have to be encoded)."""
    return datetime.fromtimestamp(seconds - _CLOCK_SKEW, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
