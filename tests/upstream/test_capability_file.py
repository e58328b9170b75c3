"""What a doctor found is believed for the very software that it examined, and for no other."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.saga.capability import Capability, FindLost, GuardedDelete
from gateway.sandbox.fhir_server import FhirServer
from gateway.upstream import capability_file
from gateway.upstream.capability import HAPI, CapabilityProbe
from gateway.upstream.capability_file import BadCapabilityFile
from gateway.upstream.findings import Creation, Findings, Guard, Guarded, Labels, Recorded, Search
from gateway.upstream.probes_harmless import Software
from tests.saga.world import BASE, LIMITS, AsgiUpstream

FOUND = Findings(
    software="fhir-policy-gateway sandbox",
    creation=Creation(status=201, version="1", location="none", proven=True, counts=True),
    recorded=Recorded(of_sixteen=16, of_longer=16),
    source=Search(supported=True, selective=True, finds=True),
    update=Guarded(guard=Guard.HONOURED, outdated=412, fitting=200),
    delete_if_match=Guarded(guard=Guard.HONOURED, outdated=412, fitting=200),
    labels=Labels(stick=False, dropped_by_header=True),
    expunge=True,
)
KEPT = Capability(
    software="fhir-policy-gateway sandbox",
    guarded_delete=GuardedDelete.IF_MATCH,
    find_lost=FindLost.REQUEST_ID,
    guarded_update=True,
    purges=True,
    records_ids=True,
)


def kept(folder: Path, found: Findings = FOUND) -> tuple[Software, Capability]:
    path = folder / "capability.json"
    path.write_text(capability_file.written(found))
    return capability_file.read(path)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert kept(tmp_path) == (Software(name="fhir-policy-gateway sandbox"), KEPT)
    hapi = replace(FOUND, labels=Labels(stick=True, dropped_by_header=True), version="8.8.0")
    software, capability = kept(tmp_path, hapi)
    assert software.version == "8.8.0"
    assert capability.restore_headers == HAPI.restore_headers


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"software":"x"}', None])
def test_anything_else_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "capability.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadCapabilityFile):
        capability_file.read(path)


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "capability.json"
    path.write_text(capability_file.written(FOUND).replace('"purges"', '"unknown": 1, "purges"'))
    with pytest.raises(BadCapabilityFile):
        capability_file.read(path)


async def probed(
    tmp_path: Path, found: Findings = FOUND, *, wanted: str = "auto", source_disabled: bool = False
) -> Capability:
    upstream = AsgiUpstream(FhirServer(), timeout=5)
    upstream.server.store.quirks = replace(upstream.server.store.quirks, source_disabled=source_disabled)
    software, capability = kept(tmp_path, found)
    probe = CapabilityProbe(upstream, LIMITS, base=BASE, wanted=wanted, kept=(software, capability))
    return await probe.refresh()


async def test_the_examined_server_is_taken_at_the_doctors_word(tmp_path: Path) -> None:
    assert await probed(tmp_path) == KEPT
    assert (await probed(tmp_path, wanted="none")).find_lost is FindLost.NONE


async def test_what_can_be_switched_off_is_looked_at_again(tmp_path: Path) -> None:
    assert await probed(tmp_path, source_disabled=True) == replace(KEPT, find_lost=FindLost.HISTORY)


async def test_a_way_that_the_doctor_found_wanting_is_not_tried_again(tmp_path: Path) -> None:
    cut = await probed(tmp_path, replace(FOUND, recorded=Recorded(of_sixteen=8, of_longer=8)))
    assert cut.find_lost is FindLost.NONE


@pytest.mark.parametrize("other", [replace(FOUND, software="Other"), replace(FOUND, version="9")])
async def test_other_software_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture, other: Findings) -> None:
    with caplog.at_level(logging.WARNING):
        found = await probed(tmp_path, other)
    assert not found.purges
    assert found.guarded_delete is HAPI.guarded_delete
    assert "run fhir-gateway doctor again" in caplog.text
