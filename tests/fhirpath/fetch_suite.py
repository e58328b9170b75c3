"""Brings the official FHIRPath suite and its example resources into the cache folder.

They come from the Maven artifact `org.hl7.fhir.testcases:fhir-test-cases`, by the ordinary client; a second run needs
no network. As a script it prints the folder: `python -m tests.fhirpath.fetch_suite`.
"""

import os
import subprocess
import zipfile
from pathlib import Path

VERSION = "1.7.69"
ARTIFACT = f"org.hl7.fhir.testcases:fhir-test-cases:{VERSION}"
PREFIX = "org/hl7/fhir/testcases/"
SUITE = "r4/fhirpath/tests-fhir-r4.xml"
# The suite names XML files; these are their JSON versions. Where the R5 folder alone has them, or has the one that
# the cases were written for, that is taken: what it holds is R4 as well.
EXAMPLES = {
    "patient-example": "r4/examples/patient-example.json",
    "observation-example": "r5/examples/observation-example.json",
    "questionnaire-example": "r4/examples/questionnaire-example.json",
    "codesystem-example": "r4/examples/codesystem-example.json",
    "explanationofbenefit-example": "r4/explanationofbenefit-example.json",
    "appointment-examplereq": "r4/appointment-examplereq.json",
    "patient-container-example": "r4/patient-container-example.json",
    "patient-name-extensions": "r4/patient-name-extensions.json",
    "patient-example-period": "r5/examples/patient-example-period.json",
    "valueset-example-expansion": "r5/examples/valueset-example-expansion.json",
    "parameters-example-types": "r5/examples/parameters-example-types.json",
}


def folder() -> Path:
    """Where the suite is kept: outside of the tree, named by its version."""
    home = os.environ.get("FHIR_GATEWAY_CACHE")
    root = Path(home) if home else Path.home() / ".cache" / "fhir-policy-gateway"
    return root / "fhirpath-suite" / VERSION


def ensure() -> Path:
    """The folder with the suite in it; fetched when it is not there yet. Raises when it cannot be fetched."""
    target = folder()
    if (target / "complete").exists():
        return target
    jar = _jar()
    if not jar.exists():
        subprocess.run(
            ["mvn", "-q", "-B", "dependency:get", f"-Dartifact={ARTIFACT}", "-Dtransitive=false"], check=True
        )
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(jar) as archive:
        for name in (SUITE, *EXAMPLES.values()):
            (target / Path(name).name).write_bytes(archive.read(PREFIX + name))
    (target / "complete").touch()
    return target


def _jar() -> Path:
    repository = Path(os.environ.get("MAVEN_REPOSITORY", Path.home() / ".m2" / "repository"))
    return repository / "org/hl7/fhir/testcases/fhir-test-cases" / VERSION / f"fhir-test-cases-{VERSION}.jar"


if __name__ == "__main__":
    print(ensure())  # noqa: T201 (a script)
