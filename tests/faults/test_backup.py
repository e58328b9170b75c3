"""A journal that is put back from an older backup: what it says is open was settled since, later entries lack.

Nobody is harmed: versions are looked at before anything is touched, and each entry ends closed or stuck.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.saga.settle import CrashPoint
from tests.faults.processes import MUST_NOT_STAY, Gateway, Hospital, observation


def backed_up(gateway: Gateway, point: CrashPoint, path: str, body: bytes) -> Path:
    """A copy of the journal, with its key, from the moment at which the gateway died in the midst of a write."""
    gateway.start(FHIR_GATEWAY_CRASH_AT=point.value)
    assert gateway.push("PUT", path, body) is None
    assert gateway.ended() == -9
    backup = gateway.folder.with_name("backup")
    backup.mkdir()
    for file in gateway.folder.glob("journal.db*"):
        shutil.copy(file, backup)
    return backup


def put_back(gateway: Gateway, backup: Path) -> None:
    """As the runbook has it: every file of the journal is replaced."""
    for file in gateway.folder.glob("journal.db*"):
        file.unlink()
    for file in backup.iterdir():
        shutil.copy(file, gateway.folder)


def changes(hospital: Hospital, path: str) -> list[tuple[str, str]]:
    """What was done to a resource, and under which request id."""
    events = [event for event in hospital.events() if event["target"] == path and event["effect"] != "none"]
    return [(event["effect"], event["request_id"]) for event in events]


def entries(gateway: Gateway) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(gateway.folder / "journal.db")) as connection:
        return connection.execute("SELECT state, coalesce(reason, '') FROM intent").fetchall()


@pytest.mark.parametrize("point", [CrashPoint.AFTER_INTENT, CrashPoint.AFTER_SEND, CrashPoint.AFTER_STORED])
def test_an_allowed_write_that_was_settled_since(gateway: Gateway, hospital: Hospital, point: CrashPoint) -> None:
    """It is looked at once more, and stays; one that never left is not sent."""
    path = f"Observation/backup-{point.value}"
    backup = backed_up(gateway, point, path, observation(id=path.partition("/")[2]))
    gateway.start().settled()
    before = changes(hospital, path)
    assert gateway.stop() == 0
    put_back(gateway, backup)
    gateway.start().settled()
    assert changes(hospital, path) == before
    assert gateway.states() == {"rejected" if point is CrashPoint.AFTER_INTENT else "committed": 1}


@pytest.mark.parametrize("point", [CrashPoint.AFTER_STORED, CrashPoint.AFTER_COMPENSATING])
def test_an_undone_write_that_comes_back(gateway: Gateway, hospital: Hospital, point: CrashPoint) -> None:
    """What was restored since is not restored again."""
    path = f"Observation/restored-{point.value}"
    id_ = path.partition("/")[2]
    hospital.put(id_, "preliminary")
    backup = backed_up(gateway, point, path, observation(note=MUST_NOT_STAY, id=id_))
    gateway.start().settled()
    before = changes(hospital, path)
    assert [effect for effect, _ in before] == ["created", "updated", "updated"]
    assert gateway.stop() == 0
    put_back(gateway, backup)
    gateway.start().settled()
    assert changes(hospital, path) == before
    assert gateway.states() == {"undone": 1}


def test_what_somebody_wrote_since_is_not_touched(gateway: Gateway, hospital: Hospital) -> None:
    """The old entry would remove a version; another one is current, so a person decides."""
    path = "Observation/rewritten"
    backup = backed_up(gateway, CrashPoint.AFTER_COMPENSATING, path, observation(note=MUST_NOT_STAY, id="rewritten"))
    gateway.start().settled()
    assert gateway.stop() == 0
    hospital.put("rewritten", "amended")
    before = changes(hospital, path)
    put_back(gateway, backup)
    gateway.start().settled()
    assert changes(hospital, path) == before
    current = hospital.current(path)
    assert current is not None
    assert current["status"] == "amended"
    ((state, reason),) = entries(gateway)
    assert (state, reason) == ("stuck", "another writer changed the resource after this write")


def test_entries_that_are_missing(gateway: Gateway, hospital: Hospital) -> None:
    """Writes of after the backup that were settled stay as they are; the outcome of none of them is known any more."""
    path = "Observation/before-backup"
    backup = backed_up(gateway, CrashPoint.AFTER_STORED, path, observation(id="before-backup"))
    gateway.start().settled()
    later = gateway.push("PUT", "Observation/after-backup", observation(id="after-backup"))
    assert later is not None
    assert later.status_code == 201
    assert gateway.stop() == 0
    before = changes(hospital, "Observation/after-backup")
    put_back(gateway, backup)
    gateway.start().settled()
    assert changes(hospital, "Observation/after-backup") == before
    headers = {"authorization": f"Bearer {hospital.token}"}
    asked = f"{gateway.base}/$write-outcome?decision={later.headers['x-decision-id']}"
    assert hospital.client.get(asked, headers=headers).status_code == 404


def test_a_journal_without_its_key(gateway: Gateway, hospital: Hospital) -> None:
    """A backup that left the key out: nothing is undone by what cannot be read; the entry says which key it needs."""
    path = "Observation/keyless"
    backup = backed_up(gateway, CrashPoint.AFTER_STORED, path, observation(note=MUST_NOT_STAY, id="keyless"))
    (backup / "journal.db.payload-key").unlink()
    before = changes(hospital, path)
    put_back(gateway, backup)
    gateway.start().settled()
    ((state, reason),) = entries(gateway)
    assert state == "stuck"
    assert "which is not among the journal's keys" in reason
    assert changes(hospital, path) == before
