"""Invariants of the generated model files; nothing is generated here."""

import json
import re
import shutil
from pathlib import Path
from typing import cast

import pytest

from gateway.definitions import rows
from gateway.fhir.model import Field, files, load, search_parameters
from tests.fhir.cases import Row, label, sections

MODEL = load()
TABLE = sections("elements")


def test_the_release_is_whole() -> None:
    assert len(MODEL.resources) == 146  # the 145 of the CompartmentDefinition, and Parameters
    assert len(MODEL.compartment) == 67  # the 66 of the CompartmentDefinition, and Task
    assert MODEL.compartment.keys() <= MODEL.resources
    assert {"Device", "Bundle", "Binary", "Parameters", "Contract", "GuidanceResponse"}.isdisjoint(MODEL.compartment)
    assert {"decimal", "instant", "xhtml"} <= MODEL.primitives


@pytest.mark.parametrize("row", TABLE["properties"], ids=label)
def test_a_type_has_as_many_properties_as_in_the_published_schemas(row: Row) -> None:
    within = f"{row['type']}."
    counted = sum(len(fields) for path, fields in MODEL.fields.items() if f"{path}.".startswith(within))
    assert counted == row["count"]


def test_the_published_schemas_have_the_same_types() -> None:
    types = {path.split(".", 1)[0] for path in MODEL.fields}
    # MetadataResource is abstract, and no schema is published for it.
    assert types - {"MetadataResource"} == {row["type"] for row in TABLE["properties"]}


@pytest.mark.parametrize("row", TABLE["foreign"], ids=label)
def test_no_element_comes_from_a_server_of_its_own_or_a_later_release(row: Row) -> None:
    elements = files.elements("R4")["paths"][str(row["type"])]
    assert elements.keys().isdisjoint(cast("list[str]", row["elements"]))


def test_references_name_types_of_fhir_only() -> None:
    targets = {target for fields in MODEL.fields.values() for field in fields.values() for target in field.targets}
    assert targets <= MODEL.resources


def test_every_field_holds_something_known() -> None:
    for path, fields in MODEL.fields.items():
        for name, field in fields.items():
            assert field.name == name
            assert field.primitive or field.type in MODEL.fields or field.type == "Resource", (path, name)


def test_choice_elements_are_expanded() -> None:
    fields = MODEL.fields["Observation"]
    values = {name for name, field in fields.items() if field.group == "value"}
    assert len(values) == 11
    assert fields["valueQuantity"] == Field(
        name="valueQuantity", type="Quantity", primitive=False, many=False, required=False, group="value"
    )
    assert len({name for name, field in MODEL.fields["Extension"].items() if field.group == "value"}) == 50


def test_content_references_backbones_and_targets() -> None:
    assert MODEL.fields["Observation.component"]["referenceRange"].type == "Observation.referenceRange"
    assert MODEL.fields["Observation"]["component"].type == "Observation.component"
    assert MODEL.fields["Observation"]["subject"].targets == ("Device", "Group", "Location", "Patient")
    assert MODEL.fields["Provenance"]["target"].targets == ()


def test_required_value_sets_list_their_codes() -> None:
    status = MODEL.fields["Observation"]["status"]
    assert MODEL.values[str(status.binding)][:2] == ("amended", "cancelled")
    unlisted = {
        field.binding
        for fields in MODEL.fields.values()
        for field in fields.values()
        if field.type == "code" and field.binding and field.binding not in MODEL.values
    }
    # Grammars and whole terminologies.
    assert unlisted <= {
        "http://hl7.org/fhir/ValueSet/mimetypes",
        "http://hl7.org/fhir/ValueSet/currencies",
        "http://hl7.org/fhir/ValueSet/ucum-units",
    }


def test_compartment_paths_lead_to_references() -> None:
    for type_name, entry in MODEL.compartment.items():
        assert entry.subject in entry.paths
        for names in entry.paths:
            path = type_name
            for name in names:
                path = MODEL.fields[path][name].type
            assert path == "Reference"
    assert MODEL.compartment["Observation"].subject == ("subject",)
    assert MODEL.compartment["Task"].subject == ("for",)
    assert MODEL.compartment["SupplyRequest"].paths == (("deliverTo",),)


def test_search_paths_lead_somewhere() -> None:
    parameters = search_parameters()
    assert parameters.keys() == MODEL.resources
    assert all(parameter.paths for known in parameters.values() for parameter in known.values())
    patient = parameters["Condition"]["patient"].paths
    assert [(path.names, path.type, path.target) for path in patient] == [(("subject",), "Reference", "Patient")]
    assert [path.names for path in parameters["Observation"]["value-concept"].paths] == [("valueCodeableConcept",)]
    assert "email" not in parameters["Patient"]  # where(system = 'email') is no plain path


def test_files_say_where_they_come_from() -> None:
    sources = [
        files.elements("R4")["source"],
        files.compartment("R4")["source"],
        files.search("R4")["source"],
    ]
    for source in sources:
        assert source == sources[0]
        assert source["artifact"] == "ca.uhn.hapi.fhir:hapi-fhir-validation-resources-r4"
        assert source["version"] == "8.8.0"
        hashes = source["sha256"]
        assert isinstance(hashes, dict)
        assert all(re.fullmatch(r"[0-9a-f]{64}", sha256) for sha256 in hashes.values())


SHIPPED = sorted(path.name for path in Path(files.__file__).parent.glob("r*.json"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_row_of_a_shipped_file_is_one_that_a_gateway_understands(name: str) -> None:
    section = cast("files.Section", name.removesuffix(".json").partition("-")[2])
    rows.check(section, (Path(files.__file__).parent / name).read_bytes())


def test_every_shipped_file_has_its_digest() -> None:
    digests = json.loads((Path(files.__file__).parent / files.DIGESTS).read_text())
    assert sorted(digests) == SHIPPED
    assert {"r4-elements.json", "r4b-elements.json", "r5-elements.json", "r4-search.json"} <= set(SHIPPED)


def test_a_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    kept = Path(files.__file__).parent
    for name in ("r4-patient-compartment.json", files.DIGESTS):
        shutil.copy(kept / name, tmp_path)
    path = tmp_path / "r4-patient-compartment.json"
    assert files.read(tmp_path, path.name) == files.compartment("R4")
    path.write_text(path.read_text().replace('"subject":"subject"', '"subject":"encounter"', 1))
    with pytest.raises(ValueError, match=r"r4-patient-compartment\.json is not the file that was generated"):
        files.read(tmp_path, path.name)


def test_a_release_without_files_is_told_as_such() -> None:
    with pytest.raises(FileNotFoundError):
        files.elements("R6")


def test_a_release_that_is_not_shipped_is_refused() -> None:
    with pytest.raises(ValueError, match="R5"):
        load("R5")


def test_only_ids_of_resources_are_ids() -> None:
    assert MODEL.fields["Observation"]["id"].type == "System.Id"
    assert MODEL.fields["ElementDefinition"]["id"].type == "System.String"  # such as `Observation.value[x]`
    assert MODEL.fields["Observation.component"]["id"].type == "System.String"
