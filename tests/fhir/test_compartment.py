from typing import cast

import pytest

from gateway.fhir.compartment import LinkProblem, patient_links
from gateway.fhir.json import JsonObject
from gateway.fhir.model import load
from gateway.policy import facts
from tests.fhir.cases import Row, label, sections

BASES = ("https://gw.example/fhir",)


@pytest.mark.parametrize("row", sections("compartment")["cases"], ids=label)
def test_the_patients_a_resource_is_about(row: Row) -> None:
    links = patient_links(cast("JsonObject", row["resource"]), BASES)
    assert links.applicable is row.get("applicable", True)
    assert list(links.ids) == row["ids"]
    assert [[problem.at, problem.form] for problem in links.problems] == row.get("problems", [])
    assert all(problem.text for problem in links.problems)


@pytest.mark.parametrize("type_name", sorted(load().compartment))
def test_every_type_of_the_compartment_names_its_patient(type_name: str) -> None:
    entry = load().compartment[type_name]
    for names in entry.paths:
        resource: JsonObject = {"reference": "Patient/1"}
        path = type_name
        kinds = []
        for name in names:
            kinds.append(load().fields[path][name])
            path = kinds[-1].type
        for kind in reversed(kinds):
            resource = {kind.name: [resource] if kind.many else resource}
        found = patient_links({"resourceType": type_name, **resource}, BASES)
        assert (found.applicable, found.ids, found.problems) == (True, ("1",), ())


def test_the_id_in_a_patient_that_is_created_is_no_link() -> None:
    resource: JsonObject = {"resourceType": "Patient", "id": "7", "link": [{"other": {"reference": "Patient/8"}}]}
    assert patient_links(resource, BASES, creating=True).ids == ("8",)


def test_policies_and_compartment_speak_of_the_same_problem() -> None:
    assert facts.LinkProblem is LinkProblem
