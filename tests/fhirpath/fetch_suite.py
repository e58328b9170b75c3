"""Brings the official FHIRPath suites and the published resources that they speak of into the cache folder.

They come from the Maven artifact `org.hl7.fhir.testcases:fhir-test-cases`, by the ordinary client; a second run needs
no network. As a script it prints the folder: `python -m tests.fhirpath.fetch_suite`.

    RELEASE/tests.xml       the suite of a release (r4, r4b, r5)
    RELEASE/inputs/         the resources that it names, as XML or JSON
    RELEASE/examples/       published examples of the release, as JSON
"""

import os
import re
import subprocess
from pathlib import Path
from zipfile import ZipFile

VERSION = "1.7.69"
ARTIFACT = f"org.hl7.fhir.testcases:fhir-test-cases:{VERSION}"
RELEASES = ("r4", "r4b", "r5")
_PREFIX = "org/hl7/fhir/testcases/"


def cache_root() -> Path:
    """Where downloads are kept: outside of the tree."""
    home = os.environ.get("FHIR_GATEWAY_CACHE")
    return Path(home) if home else Path.home() / ".cache" / "fhir-policy-gateway"


def folder() -> Path:
    """Where the suites are kept, named by their version."""
    return cache_root() / "fhirpath-suites" / VERSION


def ensure() -> Path:
    """The folder with the suites in it; fetched when they are not there yet. Raises when they cannot be fetched."""
    target = folder()
    if (target / "complete").exists():
        return target
    with ZipFile(_jar()) as archive:
        for release in RELEASES:
            _unpack(archive, release, target / release)
    (target / "complete").touch()
    return target


def _unpack(archive: ZipFile, release: str, target: Path) -> None:
    for part in ("inputs", "examples"):
        (target / part).mkdir(parents=True, exist_ok=True)
    suite = archive.read(f"{_PREFIX}{release}/fhirpath/tests-fhir-{release}.xml")
    (target / "tests.xml").write_bytes(suite)
    names = archive.namelist()
    for wanted in set(re.findall(r'inputfile="([^"]+)"', suite.decode("utf-8"))):
        found = [
            f"{_PREFIX}{place}{wanted}" for place in (f"{release}/", f"{release}/examples/", "r5/", "r5/examples/")
        ]
        present = [name for name in found if name in names]
        if present:
            (target / "inputs" / wanted).write_bytes(archive.read(present[0]))
    for name in names:
        if re.fullmatch(rf"{_PREFIX}{release}/examples/[^/]+\.json", name):
            (target / "examples" / name.rpartition("/")[2]).write_bytes(archive.read(name))


def _jar() -> Path:
    repository = Path(os.environ.get("MAVEN_REPOSITORY", Path.home() / ".m2" / "repository"))
    jar = repository / "org/hl7/fhir/testcases/fhir-test-cases" / VERSION / f"fhir-test-cases-{VERSION}.jar"
    if not jar.exists():
        subprocess.run(
            ["mvn", "-q", "-B", "dependency:get", f"-Dartifact={ARTIFACT}", "-Dtransitive=false"], check=True
        )
    return jar


if __name__ == "__main__":
    print(ensure())  # noqa: T201 (a script)
