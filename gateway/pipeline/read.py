"""Interactions that change nothing: forwarded for authenticated clients within their scopes, streamed.

What a scope cannot be held to while the answer streams by is refused, never let through: a filtered scope on a
search, a `patient/` scope on anything that does not name its Patient, a parameter that brings in other types.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.errors import (
    Forbidden,
    InteractionNotSupported,
    Issue,
    IssueCode,
    Malformed,
    Unavailable,
    UpstreamFault,
    UpstreamTimedOut,
)
from gateway.fhir import media_type, search_query, shape
from gateway.fhir.compartment import patient_links
from gateway.fhir.interaction import InteractionCode, Reading
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.identity.principal import Principal
from gateway.identity.scopes import grant
from gateway.pipeline import scope
from gateway.pipeline.request import Answer, Forwarded, Request, Streamed, Trace
from gateway.pipeline.scope import Concerned
from gateway.saga.ports import AnswerLost, NotSent, StreamedAnswer, Upstream, UpstreamAnswer, UpstreamRequest

_FORM = (b"content-type", b"application/x-www-form-urlencoded")
_ACCEPT = (b"accept", b"application/fhir+json")
# The single quote is allowed by RFC 3986, but not everywhere kept as it is.
_NOT_IN_QUERY = re.compile(r"[^A-Za-z0-9\-._~!$&()*+,;=:@/?%|]")
_SINGLE = (InteractionCode.READ, InteractionCode.VREAD)
_SEARCHES = (InteractionCode.SEARCH_TYPE, InteractionCode.SEARCH_SYSTEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """The read line. `forwarded` is the configuration's `reads: forward`; `bases` are this server's own URLs."""

    upstream: Upstream
    bases: tuple[str, ...]
    limits: BodyLimits
    forwarded: bool

    async def read(self, request: Request, reading: Reading, principal: Principal, trace: Trace) -> Answer:
        """Forward one read, history or search."""
        if not self.forwarded:
            raise InteractionNotSupported(
                Issue(code=IssueCode.NOT_SUPPORTED, text="Reads are not forwarded by this gateway.")
            )
        media_type.accept(request.values("accept"))
        form = await self._form(request, reading)
        upstream_request = UpstreamRequest(
            method="POST" if reading.by_post else request.method,
            path=reading.path,
            query=encoded(reading.query),
            headers=(*request.end_to_end, _ACCEPT, *((_FORM,) if reading.by_post else ())),
            body=form,
        )
        started = time.perf_counter()
        try:
            if reading.type is None:
                return await self._page(upstream_request, principal, trace)
            granted = scope.granted(principal, reading.code, reading.type)
            if reading.code in _SEARCHES:
                _search_within(reading, form, principal, self.bases, patient_only=granted.patient_only)
            if granted.filters or (granted.patient_only and reading.code not in _SEARCHES):
                return await self._one(upstream_request, reading, principal, trace)
            streamed = self.upstream.stream(upstream_request)
            return await self._streamed(streamed, trace)
        finally:
            trace.upstream_seconds = time.perf_counter() - started

    async def _form(self, request: Request, reading: Reading) -> bytes:
        if not reading.by_post:
            return b""
        media_type.form_content_type(request.values("content-type"))
        return await request.body()

    async def _streamed(self, streamed: StreamedAnswer, trace: Trace) -> Answer:
        try:
            entered = await streamed.__aenter__()
        except (NotSent, AnswerLost) as fault:
            raise lost(fault) from None
        trace.upstream_status = entered.status
        return Streamed(answer=entered)

    async def _whole(self, upstream_request: UpstreamRequest, trace: Trace) -> UpstreamAnswer:
        try:
            answer = await self.upstream.send(upstream_request)
        except (NotSent, AnswerLost) as fault:
            raise lost(fault) from None
        trace.upstream_status = answer.status
        return answer

    async def _one(self, request: UpstreamRequest, reading: Reading, principal: Principal, trace: Trace) -> Answer:
        """One resource under a scope that has to be held against its content: read whole, judged, then given."""
        if reading.code not in _SINGLE or request.method != "GET":
            raise Forbidden(
                Issue(
                    code=IssueCode.FORBIDDEN,
                    text="The token's scopes are narrower than this interaction, and cannot be enforced on it.",
                )
            )
        # A 304 has no content to hold the scope against.
        plain = tuple(header for header in request.headers if not header[0].startswith(b"if-"))
        answer = await self._whole(
            UpstreamRequest(method="GET", path=request.path, query=request.query, headers=plain), trace
        )
        if answer.status == 200:  # noqa: PLR2004
            resource = self._parsed(answer)
            granted = scope.granted(principal, reading.code, reading.type or "")
            scope.bound(granted, principal, resource, None, Concerned.of(patient_links(resource, self.bases)))
        return Forwarded(status=answer.status, headers=answer.headers, body=answer.body)

    async def _page(self, request: UpstreamRequest, principal: Principal, trace: Trace) -> Answer:
        """A further page of a search: its types show only in its content."""
        answer = await self._whole(request, trace)
        if answer.status == 200:  # noqa: PLR2004
            for resource in _entries(self._parsed(answer)):
                type_ = resource.get("resourceType")
                found = grant(principal, InteractionCode.SEARCH_TYPE, type_) if isinstance(type_, str) else None
                if found is None or not found.allowed or (type_ == "Bundle"):
                    raise Forbidden(
                        Issue(code=IssueCode.FORBIDDEN, text="The token's scopes do not cover every type on this page.")
                    )
                scope.bound(found, principal, resource, None, Concerned.of(patient_links(resource, self.bases)))
        return Forwarded(status=answer.status, headers=answer.headers, body=answer.body)

    def _parsed(self, answer: UpstreamAnswer) -> JsonObject:
        try:
            return parse(answer.body, self.limits)
        except Malformed:
            raise UpstreamFault(
                Issue(code=IssueCode.PROCESSING, text="The server's answer cannot be held against the token's scopes.")
            ) from None


def encoded(query: str) -> str:
    """A raw query with what no URL may hold as it is percent-encoded (RFC 3986 section 3.4): its meaning stays."""
    return _NOT_IN_QUERY.sub(lambda found: f"%{ord(found[0]):02X}", query)


def _search_within(
    reading: Reading, form: bytes, principal: Principal, bases: tuple[str, ...], *, patient_only: bool
) -> None:
    """Hold a search to the token's scopes by its parameters. Raises Forbidden, Malformed, NotAcceptable."""
    # Of a search by POST both the form and the URL's query count (http://hl7.org/fhir/R4/http.html#search).
    both = "&".join(part for part in (reading.query, form.decode("latin-1")) if part)
    query = search_query.parse(both, reading.type, bases=bases)
    media_type.accept((), query.formats)
    if query.concerns_other_types:
        every = all(
            scope.unconditionally(principal, InteractionCode.SEARCH_TYPE, each) for each in shape.resource_types("R4")
        )
        if not every:
            raise Forbidden(
                Issue(
                    code=IssueCode.FORBIDDEN,
                    text="This search can bring in other types; the token's scopes do not cover all of them.",
                ),
                missing_scope="system/*.rs",
            )
    if patient_only and query.patient_ids != (principal.patient,):
        raise Forbidden(
            Issue(code=IssueCode.FORBIDDEN, text="The token reaches one Patient only: name it in the search.")
        )


def _entries(bundle: JsonObject) -> Iterator[JsonObject]:
    entries = bundle.get("entry")
    for entry in entries if isinstance(entries, list) else []:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict):
            yield resource


def lost(fault: NotSent | AnswerLost) -> Unavailable | UpstreamFault | UpstreamTimedOut:
    """What a client of a read is told when the server did not answer."""
    if isinstance(fault, NotSent):
        return Unavailable(Issue(code=IssueCode.TRANSIENT, text="The FHIR server cannot be reached."))
    if fault.timed_out:
        return UpstreamTimedOut(Issue(code=IssueCode.TIMEOUT, text="The FHIR server did not answer in time."))
    return UpstreamFault(Issue(code=IssueCode.TRANSIENT, text="The FHIR server's answer broke off."))
