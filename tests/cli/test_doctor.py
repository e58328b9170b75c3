"""The verb as an operator types it, against the sandbox's FHIR server on a real socket."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.application import assemble
from gateway.sandbox.fhir_server import FhirServer
from gateway.sandbox.quirks import Quirks
from gateway.sandbox.serving import free_port, server
from gateway.sandbox.store import Store
from gateway.upstream import capability_file

CONFIG = """\
listen: 127.0.0.1:8090
public_url: http://127.0.0.1:8090/fhir
admin: 127.0.0.1:9090
upstream: {{url: "http://127.0.0.1:{port}/fhir", timeout: 5s}}
issuers:
  - issuer: http://127.0.0.1:9190/realms/push
    audiences: [http://127.0.0.1:8090/fhir]
policies: [policies/]
journal: sqlite:journal.db
"""


@dataclass(frozen=True)
class Place:
    """A configuration, and the server that it names."""

    config: Path
    store: Store

    def doctor(self, *arguments: str) -> Result:
        line = ["doctor", "--config", str(self.config), *arguments]
        return CliRunner(env={"COLUMNS": "220"}).invoke(assemble(line), line)


def configured(folder: Path, port: int) -> Path:
    (folder / "policies").mkdir()
    path = folder / "gateway.yaml"
    path.write_text(CONFIG.format(port=port))
    return path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    port, store = free_port(), Store()
    store.quirks = replace(Quirks.hapi(), expunge=True)
    running = server(FhirServer(store), port)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve()), daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not running.started:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    yield Place(configured(tmp_path, port), store)
    running.should_exit = True
    thread.join(10)


def test_the_report_says_what_was_seen_and_what_follows(place: Place) -> None:
    shown = place.doctor("--yes")
    assert shown.exit_code == 0, shown.output
    assert "\x1b" not in shown.output, "no colours where nobody sees them"
    lines = {line.split("  ")[0].strip(): line for line in shown.output.splitlines()}
    assert "DELETE [id]/_history/[version]" in lines["Guarded delete"]
    assert "with X-Meta-Snapshot-Mode" in lines["Guarded restore"]
    assert "16 of 16 characters" in lines["Request id recorded"]
    assert "  find_lost_writes: request-id" in shown.output
    assert list(place.store.live("Basic")) == []


def test_the_report_for_programs(place: Place) -> None:
    shown = place.doctor("--yes", "-o", "json")
    report = json.loads(shown.stdout)
    assert report["capability"] == {
        "guarded_delete": "version-url",
        "guarded_update": True,
        "find_lost_writes": "request-id",
        "numbered_versions": True,
        "restore_headers": ["x-meta-snapshot-mode"],
        "purges": True,
    }
    assert report["settings"] == {"find_lost_writes": "request-id", "purge": "expunge"}
    assert {line["grade"] for line in report["report"]} == {"good", "limited"}
    assert report["left_behind"] == report["failed"] == []


def test_nothing_is_written_without_a_yes(place: Place) -> None:
    shown = place.doctor()
    assert shown.exit_code == 2
    assert "Basic" in shown.output
    assert "--read-only" in shown.output
    assert place.store.events == []


def test_read_only_writes_nothing(place: Place) -> None:
    shown = place.doctor("--read-only")
    assert shown.exit_code == 0
    assert "not probed" in shown.output
    assert {event.method for event in place.store.events} == {"GET"}
    assert place.doctor("--read-only", "--write", "x.json").exit_code == 2


def test_what_was_found_is_kept(place: Place, tmp_path: Path) -> None:
    kept = tmp_path / "capability.json"
    assert place.doctor("--yes", "--write", str(kept)).exit_code == 0
    software, capability = capability_file.read(kept)
    assert software.name == "fhir-policy-gateway sandbox"
    assert capability.purges
    assert place.doctor("--yes", "--write", str(tmp_path / "no" / "folder.json")).exit_code == 1


def test_what_stays_behind_is_named_and_is_no_success(place: Place) -> None:
    place.store.quirks = replace(place.store.quirks, delete_forbidden=True)
    shown = place.doctor("--yes")
    assert shown.exit_code == 1
    (first, *_) = place.store.live("Basic")
    assert f"Could not be removed: Basic/{first.id}." in shown.output
    assert "The probe deletion broke off" in shown.output


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    place = Place(configured(tmp_path, free_port()), Store())
    shown = place.doctor("--yes")
    assert shown.exit_code == 1
    assert "does not answer" in shown.output


def test_a_wrong_configuration(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("listen: 1\n")
    shown = Place(path, Store()).doctor("--yes")
    assert shown.exit_code == 3
    assert f"{path}:1:" in shown.output
