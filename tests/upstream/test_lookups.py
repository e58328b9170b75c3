"""Looks and probes against the sandbox's FHIR server, and against answers that no honest server gives."""

import json
import time
from dataclasses import replace

import pytest

from gateway.fhir.json import JsonObject
from gateway.saga.capability import FindLost, GuardedDelete
from gateway.saga.lookup_port import Absent, Seen, Trouble, Unclear
from gateway.saga.ports import AnswerLost, NotSent, StreamedAnswer, UpstreamAnswer, UpstreamRequest
from gateway.sandbox.fhir_server import FhirServer
from gateway.sandbox.quirks import Quirks
from gateway.upstream.capability import CONSERVATIVE, CapabilityProbe
from gateway.upstream.lookups import UpstreamLookups
from tests.saga.world import BASE, LIMITS, PATIENT, AsgiUpstream, observation, request

Wire = UpstreamAnswer | Exception


class Scripted:
    """Answers in order, and keeps what was asked."""

    def __init__(self, *answers: Wire) -> None:
        self.answers, self.asked = list(answers), list[UpstreamRequest]()

    async def send(self, request: UpstreamRequest, *, seconds: float | None = None) -> UpstreamAnswer:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stream(self, request: UpstreamRequest) -> StreamedAnswer:
        raise NotImplementedError


def answer(status: int, body: object = None, **headers: str) -> UpstreamAnswer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return UpstreamAnswer(
        status=status, headers=tuple((name.encode(), value.encode()) for name, value in headers.items()), body=raw
    )


def looking(*answers: Wire) -> tuple[UpstreamLookups, Scripted]:
    upstream = Scripted(*answers)
    return UpstreamLookups(upstream, LIMITS, base=BASE, clock=lambda: 1_000_000_000.0), upstream


def bundle(*versions: str, following: str | None = None) -> JsonObject:
    made: JsonObject = {"resourceType": "Bundle", "entry": [{"resource": stored(each)} for each in versions]}
    if following is not None:
        made["link"] = [{"relation": "self", "url": "x"}, {"relation": "next", "url": following}]
    return made


def stored(version: str, updated: str = "2001-09-09T01:46:40.000Z") -> JsonObject:
    return {"resourceType": "Observation", "id": "o1", "meta": {"versionId": version, "lastUpdated": updated}}


@pytest.fixture
def upstream() -> AsgiUpstream:
    made = AsgiUpstream(FhirServer())
    made.server.store.load(PATIENT)
    return made


async def test_looks_at_a_real_history(upstream: AsgiUpstream) -> None:
    lookups = UpstreamLookups(upstream, LIMITS, base=BASE)
    body = observation("final", id_="o1")
    await upstream.send(request("PUT", "Observation/o1", body, (b"x-request-id", b"abcdefghijklmnop")))
    current, version = await lookups.current("Observation", "o1"), await lookups.version("Observation", "o1", "1")
    assert isinstance(current, Seen)
    assert current == version
    assert (current.id, current.version, current.resource["status"]) == ("o1", "1", "final")
    assert await lookups.current("Observation", "o2") == Absent()
    hits = await lookups.by_request_id("Observation", "abcdefghijklmnop", time.time())
    assert isinstance(hits, tuple)
    assert [hit.id for hit in hits] == ["o1"]
    assert await lookups.by_request_id("Observation", "abcdefghijklmnoq", time.time()) == ()
    await upstream.send(request("DELETE", "Observation/o1", b""))
    assert await lookups.current("Observation", "o1") == Absent(deleted=True, tombstone="2")
    history = await lookups.history("Observation", "o1", time.time())
    assert isinstance(history, tuple)
    assert [hit.version for hit in history] == ["1"]
    assert len(await lookups.history("Observation", None, time.time()) or ()) == 1  # type: ignore[arg-type] # a tuple


async def test_a_cached_search_is_not_believed(upstream: AsgiUpstream) -> None:
    upstream.server.store.quirks = Quirks.hapi()
    lookups = UpstreamLookups(upstream, LIMITS, base=BASE)
    assert await lookups.by_request_id("Observation", "abcdefghijklmnop", time.time()) == ()
    body = observation("final", id_="o1")
    await upstream.send(request("PUT", "Observation/o1", body, (b"x-request-id", b"abcdefghijklmnop")))
    hits = await lookups.by_request_id("Observation", "abcdefghijklmnop", time.time())
    assert isinstance(hits, tuple)
    assert len(hits) == 1


@pytest.mark.parametrize("trouble", [NotSent("x"), AnswerLost("x"), answer(500), answer(503), answer(429), answer(408)])
async def test_an_outage_tells_nothing(trouble: Wire) -> None:
    lookups, _ = looking(trouble)
    assert await lookups.current("Observation", "o1") == Unclear(trouble=Trouble.OUTAGE)
    assert await lookups.history("Observation", "o1", 0.0) == Unclear(trouble=Trouble.OUTAGE)


@pytest.mark.parametrize("status", [400, 401, 403, 405, 302, 204])
async def test_a_refused_look_is_no_absence(status: int) -> None:
    lookups, _ = looking(answer(status))
    assert await lookups.version("Observation", "o1", "1") == Unclear(trouble=Trouble.UNSUPPORTED)
    assert await lookups.by_request_id("Observation", "x", 0.0) == Unclear(trouble=Trouble.UNSUPPORTED)


async def test_what_cannot_be_read_keeps_its_version() -> None:
    lookups, _ = looking(answer(200, b'{"a":1,"a":2}', etag='W/"7"'))
    look = await lookups.current("Observation", "o1")
    assert isinstance(look, Seen)
    assert (look.version, look.readable, look.resource) == ("7", False, {})
    for unusable in (answer(200, b"<html>"), answer(200, {"resourceType": "Observation", "id": "o1"})):
        lookups, _ = looking(unusable)
        assert await lookups.current("Observation", "o1") == Unclear(trouble=Trouble.UNPARSEABLE)


@pytest.mark.parametrize("found", [{"resourceType": "Patient", "id": "o1"}, {"resourceType": "Observation"}])
async def test_another_resource_is_not_taken_for_the_one_asked_for(found: JsonObject) -> None:
    lookups, _ = looking(answer(200, found, etag='W/"1"'))
    look = await lookups.current("Observation", "o1")
    assert isinstance(look, Seen)
    assert look.id == ""


async def test_every_page_is_read() -> None:
    lookups, upstream = looking(
        answer(200, bundle("3", following=f"{BASE}?_getpages=abc&_offset=1")),
        answer(200, bundle("2", following=f"{BASE}/Observation/_history?page=3")),
        answer(200, bundle("1")),
    )
    hits = await lookups.history("Observation", None, 1_000_000_000.0)
    assert isinstance(hits, tuple)
    assert [hit.version for hit in hits] == ["3", "2", "1"]
    assert [(each.path, each.query) for each in upstream.asked[1:]] == [
        ("", "_getpages=abc&_offset=1"),
        ("Observation/_history", "page=3"),
    ]


@pytest.mark.parametrize("following", ["http://evil.example/fhir/x", "http://fhir.example/fhirx/y", f"{BASE}/a b"])
async def test_a_page_elsewhere_is_not_followed(following: str) -> None:
    lookups, upstream = looking(answer(200, bundle("1", following=following)))
    assert await lookups.history("Observation", None, 0.0) == Unclear(trouble=Trouble.UNSUPPORTED)
    assert len(upstream.asked) == 1


async def test_pages_without_end_tell_nothing() -> None:
    lookups, upstream = looking(answer(200, bundle("1", following=f"{BASE}/Observation/_history?page=1")))
    assert await lookups.history("Observation", None, 0.0) == Unclear(trouble=Trouble.UNSUPPORTED)
    assert len(upstream.asked) == 50


@pytest.mark.parametrize("body", [b"<html>", {"resourceType": "Observation"}])
async def test_a_search_that_answers_no_bundle_tells_nothing(body: object) -> None:
    lookups, _ = looking(answer(200, body))
    assert await lookups.by_request_id("Observation", "x", 0.0) == Unclear(trouble=Trouble.UNPARSEABLE)


@pytest.mark.parametrize(
    ("date", "updated", "kept"),
    [
        ("Sun, 09 Sep 2001 01:46:40 GMT", "2001-09-09T01:46:40Z", True),
        ("Sun, 09 Sep 2001 01:46:40 GMT", "2001-09-09T01:45:50Z", True),  # perhaps of a machine whose clock is behind
        ("Sun, 09 Sep 2001 01:46:40 GMT", "2001-09-09T01:45:30Z", False),
        ("Sun, 09 Sep 2001 09:46:40 GMT", "2001-09-09T01:46:40Z", True),  # looked for eight hours later
        ("no date", "2001-09-09T01:46:40Z", True),
        ("no date", "2001-09-09T01:40:00Z", False),
        ("Sun, 09 Sep 2001 01:46:40 GMT", "no time", True),
    ],
)
@pytest.mark.parametrize("ours", [0.0, -300.0, 300.0, 86_400.0])
async def test_versions_from_before_are_left_out_by_the_servers_clock_alone(
    date: str, updated: str, kept: bool, ours: float
) -> None:
    """Whatever the clock said of the machine on which the write began, or says of this one."""
    found: JsonObject = {"resourceType": "Bundle", "entry": [{"resource": stored("1", updated)}, {}, {"resource": {}}]}
    lookups, _ = looking(answer(200, found, date=date))
    hits = await lookups.history("Observation", None, 1_000_000_000.0 + ours, by_server=1_000_000_000.0)
    assert isinstance(hits, tuple)
    assert len(hits) == int(kept)


@pytest.mark.parametrize(
    ("date", "by_server", "agree"),
    [
        ("Sun, 09 Sep 2001 01:46:40 GMT", None, True),
        ("Sun, 09 Sep 2001 01:57:40 GMT", None, False),  # more than ten minutes ahead of us
        ("Sun, 09 Sep 2001 01:57:40 GMT", 1_000_000_000.0, True),
        ("Sun, 09 Sep 2001 01:46:00 GMT", 1_000_000_000.0, True),
        ("Sun, 09 Sep 2001 01:45:30 GMT", 1_000_000_000.0, False),  # its own clock was set back since
    ],
)
async def test_nothing_found_tells_nothing_where_the_clocks_disagree(
    date: str, by_server: float | None, agree: bool
) -> None:
    lookups, upstream = looking(answer(200, {"resourceType": "Bundle"}, date=date))
    for look in (lookups.history("Observation", None, 1e9, by_server=by_server),
                 lookups.by_request_id("Observation", "x", 1e9, by_server=by_server)):  # fmt: skip
        assert await look == (() if agree else Unclear(trouble=Trouble.OUTAGE))
    assert all("2001-09-09T01:36:40Z" in each.query for each in upstream.asked)


async def test_the_sandbox_is_probed(upstream: AsgiUpstream) -> None:
    probe = CapabilityProbe(upstream, LIMITS, base=BASE)
    assert probe.capability() == replace(CONSERVATIVE, known=False)
    assert not probe.probed
    found = await probe.refresh()
    assert (found.guarded_delete, found.find_lost) == (GuardedDelete.VERSION_URL, FindLost.REQUEST_ID)
    assert probe.capability() == found
    upstream.server.store.quirks = Quirks(source_disabled=True)
    assert (await probe.refresh()).find_lost is FindLost.HISTORY


async def test_an_operators_choice_counts(upstream: AsgiUpstream) -> None:
    assert CapabilityProbe(upstream, LIMITS, wanted="none").capability().find_lost is FindLost.NONE
    probe = CapabilityProbe(upstream, LIMITS, base=BASE, wanted="history")
    assert (await probe.refresh()).find_lost is FindLost.HISTORY


@pytest.mark.parametrize("reply", [NotSent("x"), AnswerLost("x"), answer(503, b"x")])
async def test_a_server_that_cannot_be_asked_stays_unknown(reply: Wire) -> None:
    probe = CapabilityProbe(Scripted(reply), LIMITS)
    assert not (await probe.refresh()).known
    assert not probe.probed


@pytest.mark.parametrize("reply", [answer(401, b"x"), answer(200, b"<html>"), answer(200, {"resourceType": "Patient"})])
async def test_a_server_that_does_not_say_what_it_is_is_trusted_with_nothing(reply: Wire) -> None:
    probe = CapabilityProbe(Scripted(reply), LIMITS)
    assert await probe.refresh() == CONSERVATIVE
    assert probe.probed


async def test_unknown_software_is_trusted_with_nothing() -> None:
    named = answer(200, {"resourceType": "CapabilityStatement", "software": {"name": "Other"}})
    assert await CapabilityProbe(Scripted(named), LIMITS).refresh() == replace(CONSERVATIVE, software="Other")
    bare = answer(200, {"resourceType": "CapabilityStatement"})
    assert await CapabilityProbe(Scripted(bare), LIMITS).refresh() == CONSERVATIVE


async def test_a_server_that_answers_with_everything_records_nothing() -> None:
    named = answer(200, {"resourceType": "CapabilityStatement", "software": {"name": "HAPI FHIR Server"}})
    probe = CapabilityProbe(Scripted(named, answer(200, bundle("1"))), LIMITS)
    found = await probe.refresh()
    assert (found.guarded_delete, found.find_lost) == (GuardedDelete.VERSION_URL, FindLost.HISTORY)
