"""Writes the model files of `gateway/fhir/model/` from HL7's own definitions of FHIR R4, R4B and R5.

    python -m gateway.definitions.generate JAR [--release R4] [--to FOLDER]

The jars are Maven's ca.uhn.hapi.fhir:hapi-fhir-validation-resources-r4, -r4b and -r5 (`make model` fetches them): the
files that HL7 publishes at http://hl7.org/fhir/R4/downloads.html, and what HAPI itself validates with. Packages made
for one server are no source: they add elements of their own, which other servers drop without a word. The output is
deterministic: same jar, same bytes. R4B and R5 get the element model alone, which is what FHIRPath needs of them.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from gateway.definitions import rows
from gateway.definitions.codes import expand
from gateway.definitions.compartment import patient_compartment
from gateway.definitions.elements import element_model
from gateway.definitions.package import Package
from gateway.definitions.search import search_parameters
from gateway.definitions.sources import (
    CodeSystem,
    CompartmentDefinition,
    SearchParameter,
    StructureDefinition,
    ValueSet,
)
from gateway.fhir.model.files import DIGESTS, Section, digest, name_of

MODEL_FOLDER = Path(__file__).parent.parent / "fhir" / "model"
_PROFILES = ("profile/profiles-types.xml", "profile/profiles-resources.xml")
_CORE = "hl7.fhir.r5.core-5.0.0.tgz"
# Per release the files with its types, and with its value sets and code systems.
_FILES = {
    "R4": (_PROFILES, ("valueset/valuesets.xml", "valueset/v3-codesystems.xml")),
    "R4B": (_PROFILES, ("valueset/valuesets.xml",)),
    "R5": ((_CORE,), (_CORE, "hl7.terminology-5.1.0.tgz")),
}


def generate(jar: Path, release: str, to: Path) -> list[Path]:
    """Writes the files of a release; returns their paths."""
    profiles, terminology = _FILES[release]
    with Package(jar, release) as package:
        structures = [each for file in profiles for each in package.read(file, StructureDefinition)]
        value_sets = [each for file in terminology for each in package.read(file, ValueSet)]
        code_systems = [each for file in terminology for each in package.read(file, CodeSystem)]
        elements = element_model(structures, expand(value_sets, code_systems), release)
        sections: dict[Section, Mapping[str, Mapping[str, object]]] = {"elements": elements}
        if release == "R4":
            parameters = package.read("sp/search-parameters.json", SearchParameter)
            compartments = package.read("profile/profiles-resources.xml", CompartmentDefinition)
            sections["patient-compartment"] = patient_compartment(compartments, parameters)
            sections["search"] = search_parameters(parameters, list(elements["resources"]))
        source = package.provenance()
    written = []
    for name, content in sections.items():
        path = to / name_of(release, name)
        path.write_text(_text({"source": source, **content}), "utf-8")
        rows.check(name, path.read_bytes())
        written.append(path)
    _note_digests(to, written)
    return written


def _note_digests(folder: Path, written: list[Path]) -> None:
    """Writes down the digests of these files beside those of the other releases."""
    path = folder / DIGESTS
    digests = json.loads(path.read_bytes()) if path.exists() else {}
    digests |= {each.name: digest(each.read_bytes()) for each in written}
    path.write_text(json.dumps(digests, indent=1, sort_keys=True) + "\n", "utf-8")


def _text(sections: Mapping[str, Mapping[str, object]]) -> str:
    """JSON with one line per entry of each section, so that a change of the definitions reads well in a diff."""
    blocks = []
    for name, entries in sections.items():
        lines = [f"  {_compact(key)}: {_compact(value)}" for key, value in entries.items()]
        blocks.append(f" {_compact(name)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m gateway.definitions.generate", description=__doc__)
    parser.add_argument("jar", type=Path, help="the jar of definitions")
    parser.add_argument("--release", default="R4", choices=list(_FILES))
    parser.add_argument("--to", type=Path, default=MODEL_FOLDER)
    options = parser.parse_args(arguments)
    for path in generate(options.jar, options.release, options.to):
        print(f"{path.name}: {path.stat().st_size} bytes")  # noqa: T201 (a command's output)


if __name__ == "__main__":
    main()
