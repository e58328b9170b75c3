"""What `doctor` found out, kept in a file: the probes that write are run by a person, never by a gateway's start."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.saga.capability import SNAPSHOT, Capability, FindLost, GuardedDelete
from gateway.upstream.findings import Findings
from gateway.upstream.interpretation import capability_of
from gateway.upstream.probes_harmless import Software


class BadCapabilityFile(Exception):
    """The file is not one that `doctor --write` made."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    software: str
    version: str
    guarded_delete: GuardedDelete
    guarded_update: bool
    find_lost_writes: FindLost
    numbered_versions: bool
    snapshot_header: bool
    purges: bool
    records_ids: bool = False  # files of the first release have not this line


def written(found: Findings) -> str:
    """The text of the file."""
    capability = capability_of(found)
    kept = _Kept(
        software=found.software,
        version=found.version,
        guarded_delete=capability.guarded_delete,
        guarded_update=capability.guarded_update,
        find_lost_writes=capability.find_lost,
        numbered_versions=capability.numbered_versions,
        snapshot_header=bool(capability.restore_headers),
        purges=capability.purges,
        records_ids=capability.records_ids,
    )
    return json.dumps(kept.model_dump(mode="json"), indent=2) + "\n"


def read(path: Path) -> tuple[Software, Capability]:
    """The capability, and the software that it was found for. Raises BadCapabilityFile."""
    try:
        kept = _Kept.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise BadCapabilityFile("not a file that `fhir-gateway doctor --write` made") from None
    capability = Capability(
        software=kept.software,
        guarded_delete=kept.guarded_delete,
        find_lost=kept.find_lost_writes,
        restore_headers=SNAPSHOT if kept.snapshot_header else (),
        numbered_versions=kept.numbered_versions,
        guarded_update=kept.guarded_update,
        purges=kept.purges,
        records_ids=kept.records_ids,
    )
    return Software(name=kept.software, version=kept.version), capability
