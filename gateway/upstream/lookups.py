"""Uncached looks at the FHIR server: the current version, one version, by request id, by history."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

from gateway import steady_clock
from gateway.errors import GatewayError
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.saga.content import updated_at
from gateway.saga.lookup_port import Absent, Hits, Look, Seen, Trouble, Unclear
from gateway.saga.ports import AnswerLost, NotSent, Upstream, UpstreamAnswer, UpstreamRequest
from gateway.saga.proof import etag_version, located
from gateway.upstream.server_clock import date_of

# HAPI answers a repeated search from a cache for a minute, also an empty one (RFC 9111 section 5.2.1.4).
_UNCACHED = ((b"accept", b"application/fhir+json"), (b"cache-control", b"no-cache"))
_CLOCK_SKEW = 600.0  # seconds by which the server's clock may differ from ours
_NODES_DIFFER = 60.0  # seconds by which the clocks of one server's machines may differ
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

    async def by_request_id(self, type_: str, request_id: str, since: float, *, by_server: float | None = None) -> Hits:
        """GET [type]?_source=#id, bounded by time: HAPI keeps the request id in a column without an index."""
        asked = _instant(since if by_server is None else by_server)
        query = f"_source=%23{quote(request_id, safe='')}&_lastUpdated=ge{asked}&_count={_PAGE}"
        return await self._pages(type_, query, asked=since, by_server=by_server)

    async def by_tag(self, type_: str, system: str, code: str) -> Hits:
        """GET [type]?_tag=system|code (http://hl7.org/fhir/R4/search.html#tag). Unverified."""
        return await self._pages(type_, f"_tag={quote(system, safe='')}%7C{quote(code, safe='')}&_count={_PAGE}")

    async def history(
        self, type_: str, id_: str | None, since: float, *, by_server: float | None = None, probing: bool = False
    ) -> Hits:
        """GET [type]/_history or [type]/[id]/_history, since (http://hl7.org/fhir/R4/http.html#history)."""
        path = f"{type_}/_history" if id_ is None else f"{type_}/{id_}/_history"
        if not since:
            return await self._pages(path, f"_count={_PAGE}")
        query = f"_since={_instant(since if by_server is None else by_server)}&_count={_PAGE}"
        return await self._pages(path, query, asked=None if probing else since, by_server=by_server)

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

    async def _pages(
        self, path: str, query: str, *, asked: float | None = None, by_server: float | None = None
    ) -> Hits:
        """Every page: a hit on the second one must not pass for none.

        What was made clearly before `by_server`, the time asked about on the server's own clock, is left out. Where
        that is not known, `asked` is the time in the query by a clock of ours, perhaps another machine's; where the
        clocks disagree about it, what is not found may be there all the same.
        """
        hits: list[Seen] = []
        for _ in range(_MOST_PAGES):
            page = await self._page(path, query)
            if isinstance(page, Unclear):
                return page
            bundle, date = page
            if date is not None and asked is not None and not self._agree(asked, date, by_server):
                return Unclear(trouble=Trouble.OUTAGE)
            hits += [hit for hit in _entries(bundle) if not _older(hit.resource, by_server)]
            following = self._next(bundle)
            if following is None:
                return tuple(hits)
            if isinstance(following, Unclear):
                return following
            path, query = following
        return Unclear(trouble=Trouble.UNSUPPORTED)

    def _agree(self, asked: float, date: float, by_server: float | None) -> bool:
        """Whether the time asked about has come for the server, too; its own word needs no other clock."""
        if by_server is not None:
            return by_server <= date + _NODES_DIFFER
        return abs(date - self._clock()) <= _CLOCK_SKEW and asked <= date + _CLOCK_SKEW

    async def _page(self, path: str, query: str) -> tuple[JsonObject, float | None] | Unclear:
        """The bundle, and what time it is on the server, when it says so."""
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
        return bundle, date_of(answer)

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


def _older(resource: JsonObject, by_server: float | None) -> bool:
    """Whether a version was clearly made before an instant of the server's own clock. In doubt it was not."""
    updated = updated_at(resource)
    return by_server is not None and updated is not None and updated < by_server - _NODES_DIFFER


def _meta_version(resource: JsonObject) -> str | None:
    meta = resource.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def _instant(seconds: float) -> str:
    """Earlier by the clock skew, in UTC with `Z` (a `+` would have to be encoded)."""
    return datetime.fromtimestamp(seconds - _CLOCK_SKEW, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
