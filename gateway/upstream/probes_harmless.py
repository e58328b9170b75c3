"""Probes that change nothing: what the server says it is, and searches for what nobody ever wrote."""

from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.saga.intent import new_write_id
from gateway.saga.lookup_port import Hits, Trouble, Unclear
from gateway.saga.ports import AnswerLost, NotSent, Upstream, UpstreamRequest
from gateway.upstream.findings import Search
from gateway.upstream.lookups import UpstreamLookups

_OK, _SERVER_ERROR = 200, 500
_ACCEPT = ((b"accept", b"application/fhir+json"), (b"cache-control", b"no-cache"))
_LONG_AGO = 86_400.0
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """`CapabilityStatement.software`, empty where the server does not say. Never believed beyond the name."""

    name: str = ""
    version: str = ""


async def software(upstream: Upstream, limits: BodyLimits) -> Software | None:
    """From `/metadata`; None while the server cannot be asked."""
    try:
        answer = await upstream.send(UpstreamRequest(method="GET", path="metadata", headers=_ACCEPT))
    except (NotSent, AnswerLost):
        return None
    if answer.status >= _SERVER_ERROR:
        return None
    try:
        statement = parse(answer.body, limits) if answer.status == _OK else {}
    except GatewayError:
        return Software()
    said = statement.get("software")
    return Software(name=_text(said, "name"), version=_text(said, "version")) if isinstance(said, dict) else Software()


async def source_search(lookups: UpstreamLookups, type_: str) -> Search:
    """Two searches for request ids that nobody ever used must both find nothing.

    HAPI refuses the parameter when it does not store request ids. Of unknown software this alone proves nothing:
    servers answer an unknown parameter with everything or with nothing.
    """
    first = await lookups.by_request_id(type_, new_write_id(), _LONG_AGO)
    second = await lookups.by_request_id(type_, new_write_id(), _LONG_AGO)
    return Search(supported=_supported(first) and _supported(second), selective=first == () and second == ())


async def tag_search(lookups: UpstreamLookups, type_: str, system: str) -> Search:
    """A search for a tag that nobody ever used must find nothing."""
    hits = await lookups.by_tag(type_, system, new_write_id())
    return Search(supported=_supported(hits), selective=hits == ())


async def type_history(lookups: UpstreamLookups, type_: str, now: float) -> Search:
    """The type's history since a moment that is still to come must be empty."""
    hits = await lookups.history(type_, None, now + _LONG_AGO, probing=True)
    return Search(supported=_supported(hits), selective=hits == ())


def _supported(hits: Hits) -> bool:
    return not isinstance(hits, Unclear) or hits.trouble is Trouble.OUTAGE


def _text(said: JsonObject, name: str) -> str:
    value = said.get(name)
    # It is shown to people: no control characters for their terminal.
    return "".join(each for each in value if each.isprintable())[:_LONGEST_NAME] if isinstance(value, str) else ""
