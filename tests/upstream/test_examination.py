"""Every probe both ways: against a server that behaves, and against one that does not."""

import asyncio
from dataclasses import replace

import pytest

from gateway.saga.capability import SNAPSHOT, Capability, FindLost, GuardedDelete
from gateway.saga.ports import AnswerLost, NotSent, UpstreamAnswer, UpstreamRequest
from gateway.sandbox.fhir_server import FhirServer
from gateway.sandbox.quirks import Quirks
from gateway.upstream.corner import SYSTEM, TYPE
from gateway.upstream.examination import NoServer, examine
from gateway.upstream.findings import (
    ClientIds,
    Creation,
    Findings,
    Guard,
    Guarded,
    Labels,
    Recorded,
    References,
    Revival,
    Search,
)
from gateway.upstream.interpretation import Grade, capability_of, lines_of, settings_of
from tests.saga.world import BASE, LIMITS, AsgiUpstream


def a_server(**switches: object) -> AsgiUpstream:
    upstream = AsgiUpstream(FhirServer(), timeout=5)
    upstream.server.store.quirks = replace(Quirks(), **switches)  # type: ignore[arg-type] # test values
    return upstream


def examined(upstream: AsgiUpstream | None = None, *, writing: bool = True, **switches: object) -> Findings:
    return asyncio.run(examine(upstream or a_server(**switches), LIMITS, base=BASE, writing=writing))


def grades(found: Findings) -> dict[str, Grade]:
    return {line.topic: line.grade for line in lines_of(found)}


def test_a_server_that_behaves() -> None:
    found = examined(expunge=True, versioned_delete=False)
    assert found == Findings(
        software="fhir-policy-gateway sandbox",
        source=Search(supported=True, selective=True, finds=True, cached=False, older=True),
        tag=Search(supported=True, selective=True, finds=True),
        history=Search(supported=True, selective=True, finds=True, older=True),
        creation=Creation(status=201, version="1", location="absolute, versioned", proven=True, counts=True),
        recorded=Recorded(of_sixteen=16, of_longer=16),
        update=Guarded(guard=Guard.HONOURED, outdated=412, fitting=200),
        update_absent=Guarded(guard=Guard.HONOURED, outdated=412),
        unchanged=False,
        if_none_exist=True,
        client_ids=ClientIds(letters=201, digits=400),
        delete_version_url=Guarded(guard=Guard.UNSUPPORTED, outdated=405, fitting=405),
        delete_if_match=Guarded(guard=Guard.HONOURED, outdated=412, fitting=200),
        deleted_reads_as=410,
        revival=Revival(status=201, guarded=Guard.HONOURED),
        labels=Labels(stick=False, dropped_by_header=True),
        references=References(dangling_refused=True, delete_refused=True),
        expunge=True,
    )
    assert capability_of(found) == Capability(
        software="fhir-policy-gateway sandbox",
        guarded_delete=GuardedDelete.IF_MATCH,
        find_lost=FindLost.REQUEST_ID,
        guarded_update=True,
        purges=True,
        records_ids=True,
    )
    assert settings_of(found) == {"find_lost_writes": "request-id", "purge": "expunge"}
    assert set(grades(found).values()) == {Grade.GOOD}


def test_hapi_as_it_is_in_the_sandbox() -> None:
    upstream = a_server()
    upstream.server.store.quirks = replace(Quirks.hapi(), expunge=True)
    found = examined(upstream)
    assert found.source == Search(supported=True, selective=True, finds=True, cached=True, older=True)
    assert found.update_absent == Guarded(guard=Guard.IGNORED, outdated=201)
    assert found.delete_version_url == Guarded(guard=Guard.HONOURED, outdated=409, fitting=200)
    assert found.delete_if_match == Guarded(guard=Guard.IGNORED, outdated=200)
    assert found.labels == Labels(stick=True, dropped_by_header=True)
    capability = capability_of(found)
    assert (capability.guarded_delete, capability.restore_headers) == (GuardedDelete.VERSION_URL, SNAPSHOT)


@pytest.mark.parametrize("switches", [{}, {"references_unchecked": True}, {"if_match_ignored_on_delete": True}])
def test_the_corner_is_left_clean(switches: dict[str, object]) -> None:
    upstream = a_server(**switches)
    upstream.server.store.load(b'{"resourceType":"Basic","id":"theirs","code":{"text":"x"}}')
    found = examined(upstream)
    assert (found.failed, found.left) == ((), ())
    assert [version.id for version in upstream.server.store.live(TYPE)] == ["theirs"]
    assert {version.type for version in upstream.server.store.history(None, None)} == {TYPE}


@pytest.mark.parametrize("switches", [{"version_ids": "uuid"}, {"version_ids": "skipping"}])
def test_versions_that_do_not_count_prove_no_creation(switches: dict[str, object]) -> None:
    found = examined(a_server(**switches))
    assert found.creation is not None
    assert (found.creation.proven, found.creation.counts) == (True, False)
    assert not capability_of(found).numbered_versions
    assert grades(found)["Proof of creation"] is Grade.BAD


def test_a_location_without_version_is_no_harm_beside_an_etag() -> None:
    found = examined(location_unversioned=True)
    assert found.creation is not None
    assert (found.creation.location, found.creation.proven) == ("absolute, unversioned", True)


def test_a_request_id_that_is_cut_finds_nothing() -> None:
    found = examined(request_id_length=8)
    assert found.recorded == Recorded(of_sixteen=8, of_longer=8)
    assert capability_of(found).find_lost is FindLost.HISTORY
    assert grades(found)["Request id recorded"] is Grade.LIMITED
    assert examined(request_id_length=0).recorded == Recorded(of_sixteen=0, of_longer=0)


def test_a_search_that_is_refused() -> None:
    found = examined(source_disabled=True)
    assert found.source is not None
    assert not found.source.supported
    assert settings_of(found)["find_lost_writes"] == "history"
    assert grades(found)["Found again by request id"] is Grade.LIMITED


class Fooled(AsgiUpstream):
    """Ignores `_source` and `_tag`, as real servers do with what they do not know."""

    async def send(self, request: UpstreamRequest, *, seconds: float | None = None) -> UpstreamAnswer:
        if "_source" in request.query or "_tag" in request.query:
            request = replace(request, query="_count=200" if self.timeout > 1 else "_id=nothing")
        return await super().send(request, seconds=seconds)


def test_a_search_that_answers_with_everything() -> None:
    upstream = Fooled(FhirServer(), timeout=5)
    upstream.server.store.load(b'{"resourceType":"Basic","id":"theirs","code":{"text":"x"}}')
    found = examined(upstream)
    assert found.source is not None
    assert (found.source.selective, found.source.proven) == (False, False)
    assert capability_of(found).find_lost is FindLost.HISTORY
    assert grades(found)["Found again by tag"] is Grade.LIMITED
    assert [version.id for version in upstream.server.store.live(TYPE)] == ["theirs"]


def test_a_search_that_answers_with_nothing() -> None:
    found = examined(Fooled(FhirServer(), timeout=0.9))
    assert found.source is not None
    assert (found.source.selective, found.source.finds) == (True, False)
    assert capability_of(found).find_lost is FindLost.HISTORY


@pytest.mark.parametrize(
    ("switches", "topic", "grade"),
    [
        ({"if_match_ignored_on_update": True}, "Guarded update", Grade.BAD),
        ({"stale_if_match_status": 409}, "Guarded update", Grade.GOOD),
        ({"if_match_ignored_when_absent": True}, "Guarded update of nothing", Grade.LIMITED),
        ({"if_match_ignored_on_delete": True}, "Guarded delete", Grade.GOOD),
        ({"if_match_ignored_on_delete": True, "versioned_delete": False}, "Guarded delete", Grade.BAD),
        ({"if_match_ignored_on_update": True}, "Revival of a deleted id", Grade.LIMITED),
        ({"tags_merged": True}, "Guarded restore", Grade.GOOD),
        ({"if_none_exist_ignored": True}, "If-None-Exist", Grade.LIMITED),
        ({"id_of_client_refused": True}, "Update as create", Grade.LIMITED),
        ({"references_unchecked": True}, "References", Grade.LIMITED),
        ({"expunge": True}, "Purge of history ($expunge)", Grade.GOOD),
        ({"expunge": False}, "Purge of history ($expunge)", Grade.LIMITED),
    ],
)
def test_what_differs_is_told(switches: dict[str, object], topic: str, grade: Grade) -> None:
    found = examined(a_server(**switches))
    assert (found.failed, found.left) == ((), ())
    assert grades(found)[topic] is grade


def test_an_update_that_no_guard_holds_back_is_not_called_guarded() -> None:
    found = examined(if_match_ignored_on_update=True)
    assert found.update == Guarded(guard=Guard.IGNORED, outdated=200)
    assert found.revival == Revival(status=201, guarded=Guard.IGNORED)
    assert not capability_of(found).guarded_update


def test_nothing_is_written_by_the_harmless_probes() -> None:
    upstream = a_server()
    found = examined(upstream, writing=False)
    assert {each.method for each in upstream.requests} == {"GET"}
    assert not found.wrote
    assert settings_of(found) == {"find_lost_writes": "auto"}
    assert capability_of(found) == Capability(software=found.software)
    assert set(grades(found).values()) == {Grade.UNKNOWN}


def test_a_server_that_forbids_deletion_is_told_of_what_stays() -> None:
    upstream = a_server(delete_forbidden=True)
    found = examined(upstream)
    assert {name for name, _ in found.failed} >= {"deletion", "revival"}
    assert len(found.left) == len(list(upstream.server.store.live(TYPE))) > 0
    assert grades(found)["Guarded delete"] is Grade.BAD


def test_a_server_that_refuses_creation_is_asked_nothing_more() -> None:
    upstream = a_server()

    async def refuse(request: UpstreamRequest) -> UpstreamAnswer | None:
        return UpstreamAnswer(status=403, headers=(), body=b"") if request.method == "POST" else None

    upstream.before.append(refuse)
    found = examined(upstream)
    assert found.creation == Creation(status=403, version=None, location="none", proven=False)
    assert {each.method for each in upstream.requests} == {"GET"}
    assert grades(found)["Proof of creation"] is Grade.BAD


def test_a_probe_that_breaks_off_does_not_stop_the_others() -> None:
    upstream = a_server()
    count = 0

    async def lose(request: UpstreamRequest) -> UpstreamAnswer | None:
        nonlocal count
        if request.method == "POST":
            count += 1
            if count == 2:
                await upstream._exchange(request)
                raise AnswerLost("lost")
        return None

    upstream.before.append(lose)
    found = examined(upstream)
    assert found.failed == (("request id", "no answer"),)
    assert found.left == ()
    assert list(upstream.server.store.live(TYPE)) == [], "what was created without an answer is found and removed"
    assert capability_of(found).find_lost is FindLost.HISTORY


def test_an_id_that_somebody_else_took_is_not_touched() -> None:
    upstream = a_server()
    taken: list[str] = []

    async def take(request: UpstreamRequest) -> UpstreamAnswer | None:
        if request.method == "DELETE" and not taken:
            id_ = request.path.split("/")[1]
            taken.append(id_)
            upstream.server.store.load(f'{{"resourceType":"Basic","id":"{id_}","code":{{"text":"x"}}}}'.encode())
            raise NotSent("refused")
        return None

    upstream.before.append(take)
    examined(upstream)
    assert [version.id for version in upstream.server.store.live(TYPE)] == taken


def test_everything_that_is_written_says_whose_it_is() -> None:
    upstream = a_server()
    examined(upstream)
    bodies = [each.body for each in upstream.requests if each.method in ("POST", "PUT") and "$" not in each.path]
    assert len(bodies) > 20
    assert all(SYSTEM.encode() in body for body in bodies)


@pytest.mark.parametrize("trouble", [NotSent("x"), AnswerLost("x")])
def test_a_server_that_cannot_be_asked(trouble: Exception) -> None:
    upstream = a_server()

    async def fail(request: UpstreamRequest) -> UpstreamAnswer | None:
        raise trouble

    upstream.before.append(fail)
    with pytest.raises(NoServer):
        examined(upstream)
