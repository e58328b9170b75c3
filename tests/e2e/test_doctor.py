"""HAPI as the doctor sees it, and what follows: purge, and writes whose answers were lost."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.sandbox.running import gateway_command
from tests.e2e.door import Door
from tests.e2e.records import MUST_NOT_STAY, result, text, unique
from tests.e2e.relay import Relay
from tests.e2e.servers import Servers
from tests.e2e.test_undo import found, marked, versions

NOTE = [{"text": MUST_NOT_STAY}]


def doctor(door: Door, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command: list[str | Path] = [gateway_command(), "doctor", "--config", door.configuration(), "--yes", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_doctor_knows_hapi(own_door: Door, tmp_path: Path) -> None:
    kept = tmp_path / "capability.json"
    ran = doctor(own_door, "-o", "json", "--write", str(kept))
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["software"] == "HAPI FHIR Server"
    assert report["capability"] == {
        "guarded_delete": "version-url",
        "guarded_update": True,
        "find_lost_writes": "request-id",
        "numbered_versions": True,
        "restore_headers": ["x-meta-snapshot-mode"],
        "purges": True,
    }
    lines = {line["topic"]: line for line in report["report"]}
    assert {topic for topic, line in lines.items() if line["grade"] != "good"} == {"Guarded update of nothing"}
    assert "If-Match ignored" in lines["Guarded delete"]["seen"]
    assert "cached without no-cache" in lines["Found again by request id"]["seen"]
    left = own_door.ask("GET", "Basic?_count=200", headers={"cache-control": "no-cache"}, upstream=True).json()
    assert [entry for entry in left.get("entry", []) if "urn:fhir-gateway:doctor" in str(entry)] == []
    assert json.loads(kept.read_text())["version"] == report["version"]


@pytest.fixture(scope="module")
def purging(servers: Servers, members: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    assert members.upstream == servers.hapi.base
    door = Door(tmp_path_factory.mktemp("purging"), servers.hapi.base, servers.keycloak)
    kept = door.folder / "capability.json"
    assert doctor(door, "--write", str(kept)).returncode == 0
    door.start(FHIR_GATEWAY_UPSTREAM__PURGE="expunge", FHIR_GATEWAY_UPSTREAM__CAPABILITY_FILE=str(kept))
    yield door
    door.close()


def test_what_was_removed_leaves_history(purging: Door) -> None:
    path = f"Observation/{unique('purged')}"
    answer = purging.ask("PUT", path, content=text(result(id=path.partition("/")[2], note=NOTE)))
    assert answer.status_code == 409, answer.text
    assert purging.ask("GET", path, upstream=True).status_code == 410
    assert purging.ask("GET", f"{path}/_history/1", upstream=True).status_code == 404
    code = unique("purged")
    assert purging.ask("POST", "Observation", content=text(marked(code, note=NOTE))).status_code == 409
    assert versions(purging, code) == []


def test_what_was_replaced_leaves_history_and_its_neighbours_stay(purging: Door) -> None:
    path = f"Observation/{unique('purged')}"
    record = result(id=path.partition("/")[2])
    assert purging.ask("PUT", path, content=text(record)).status_code == 201
    answer = purging.ask("PUT", path, content=text({**record, "note": NOTE}))
    assert answer.status_code == 409, answer.text
    assert [purging.ask("GET", f"{path}/_history/{version}", upstream=True).status_code for version in (1, 2, 3)] == [
        200,
        404,
        200,
    ]


@pytest.fixture(scope="module", params=["request-id", "history", "assigned-id", "tag"])
def relayed(
    servers: Servers, members: Door, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Door, Relay]]:
    """A gateway whose way to HAPI can lose a request or an answer, by either way of finding a write again."""
    assert members.upstream == servers.hapi.base
    port = int(servers.hapi.base.rpartition(":")[2].partition("/")[0])
    with Relay(port) as relay:
        folder = tmp_path_factory.mktemp(str(request.param))
        door = Door(folder, f"http://127.0.0.1:{relay.port}/fhir", servers.keycloak)
        door.start(FHIR_GATEWAY_UPSTREAM__TIMEOUT="2s", FHIR_GATEWAY_UPSTREAM__FIND_LOST_WRITES=str(request.param))
        yield door, relay
        door.close()


def creating(door: Door) -> str:
    """How a creation leaves the gateway."""
    return "PUT /fhir/Observation/g-" if door.folder.name.startswith("assigned-id") else "POST /fhir/Observation"


def test_a_creation_whose_answer_was_lost_is_found_and_kept(relayed: tuple[Door, Relay]) -> None:
    door, relay = relayed
    code = unique("lost")
    before = relay.lost
    relay.lose(creating(door))
    answer = door.ask("POST", "Observation", content=text(marked(code)))
    assert relay.lost == before + 1
    assert answer.status_code == 201, answer.text
    (stored,) = found(door, code)
    assert answer.headers["location"] == f"{door.base}/Observation/{stored}/_history/1"
    plain = door.ask("POST", "Observation", content=text(marked(unique("kept"))))
    assert plain.headers["location"].startswith(f"{door.base}/Observation/"), "HAPI sends none to a PUT"


def test_a_creation_whose_answer_was_lost_and_must_not_stay_is_removed(relayed: tuple[Door, Relay]) -> None:
    door, relay = relayed
    code = unique("lost")
    before = relay.lost
    relay.lose(creating(door))
    answer = door.ask("POST", "Observation", content=text(marked(code, note=NOTE)))
    assert (relay.lost, answer.status_code) == (before + 1, 409), answer.text
    (stored,) = versions(door, code)
    assert door.ask("GET", f"Observation/{stored}", upstream=True).status_code == 410


def test_an_update_whose_answer_was_lost_is_restored(relayed: tuple[Door, Relay]) -> None:
    door, relay = relayed
    path = f"Observation/{unique('lost')}"
    record = result(id=path.partition("/")[2])
    assert door.ask("PUT", path, content=text(record)).status_code == 201
    before = relay.lost
    relay.lose("PUT /fhir/Observation")
    answer = door.ask("PUT", path, content=text({**record, "note": NOTE}))
    assert (relay.lost, answer.status_code) == (before + 1, 409), answer.text
    after = door.ask("GET", path, upstream=True)
    assert after.headers["etag"] == 'W/"3"'
    assert "note" not in after.json()


def test_an_undo_whose_answer_was_lost_is_proven_by_a_look(relayed: tuple[Door, Relay]) -> None:
    door, relay = relayed
    code = unique("lost")
    before = relay.lost
    relay.lose("DELETE /fhir/Observation")
    answer = door.ask("POST", "Observation", content=text(marked(code, note=NOTE)))
    assert (relay.lost, answer.status_code) == (before + 1, 409), answer.text
    (stored,) = versions(door, code)
    assert door.ask("GET", f"Observation/{stored}", upstream=True).status_code == 410


def test_a_creation_that_never_arrived_ends_as_not_written(relayed: tuple[Door, Relay]) -> None:
    door, relay = relayed
    code = unique("lost")
    relay.lose(creating(door), deliver=False)
    started = time.monotonic()
    answer = door.ask("POST", "Observation", content=text(marked(code)))
    assert answer.status_code >= 500
    outcome = f"$write-outcome?decision={answer.headers['x-decision-id']}"
    while (told := door.ask("GET", outcome)).status_code != 200 or "open" in told.text:
        assert time.monotonic() < started + 30, door.process.last_lines()
        time.sleep(0.2)
    assert time.monotonic() - started > 5, "not found is believed only when it can no longer be applied"
    assert found(door, code) == []
    assert door.ask("POST", "Observation", content=text(marked(code))).status_code == 201
