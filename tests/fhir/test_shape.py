import json
import time
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import IssueCode
from gateway.fhir.json import Json, JsonObject
from gateway.fhir.model import load
from gateway.fhir.shape import check, resource_types
from tests.fhir.cases import Row, label, sections

TABLE = sections("shape")
BASES = {row["name"]: cast("JsonObject", row["resource"]) for row in TABLE["bases"]}


def payload(row: Row) -> JsonObject:
    laid_over = BASES[row["on"]] | cast("JsonObject", row["with"])
    return {key: value for key, value in laid_over.items() if value != "<absent>"}


@pytest.mark.parametrize("row", TABLE["cases"], ids=label)
def test_the_faults_of_a_payload_are_named_with_their_places(row: Row) -> None:
    issues = check(payload(row))
    found = sorted([issue.code.value, *issue.expression] for issue in issues)
    assert found == sorted(cast("list[list[str]]", row["faults"]))
    assert str(row.get("says", "")) in " ".join(issue.text for issue in issues)


FOREIGN: dict[str, JsonObject] = {
    "Meta.project": {"resourceType": "Patient", "meta": {"project": "5d1c9b5e-0000-4000-8000-000000000000"}},
    "Meta.account": {"resourceType": "Patient", "meta": {"account": {"reference": "Organization/1"}}},
    "Meta.accounts": {"resourceType": "Patient", "meta": {"accounts": [{"reference": "Organization/1"}]}},
    "Meta.author": {"resourceType": "Patient", "meta": {"author": {"reference": "Practitioner/1"}}},
    "Meta.onBehalfOf": {"resourceType": "Patient", "meta": {"onBehalfOf": {"reference": "Patient/1"}}},
    "Meta.compartment": {"resourceType": "Patient", "meta": {"compartment": [{"reference": "Patient/1"}]}},
    "Binary.url": {"resourceType": "Binary", "contentType": "text/plain", "url": "http://a.example/b"},
    "ObservationDefinition.publisher": {
        "resourceType": "ObservationDefinition",
        "code": {"text": "t"},
        "publisher": "p",
    },
    "ResearchStudy.name": {"resourceType": "ResearchStudy", "status": "active", "name": "n"},
    "DeviceDefinition.bodySite": {"resourceType": "DeviceDefinition", "bodySite": {"text": "t"}},
}


@pytest.mark.parametrize("element", FOREIGN)
def test_elements_that_r4_does_not_have_are_refused(element: str) -> None:
    # HAPI drops them without a word, so what is judged would not be what is stored.
    owner = element.split(".", maxsplit=1)[0]
    place = "Patient.meta" if owner == "Meta" else owner
    assert [(issue.code, issue.expression) for issue in check(FOREIGN[element])] == [(IssueCode.STRUCTURE, (place,))]


def test_texts_repeat_neither_values_nor_unknown_names() -> None:
    canary: JsonObject = {
        "resourceType": "Observation",
        "status": "canary1",
        "canary2": "canary3",
        "code": {"text": 7, "canary4": {}},
        "subject": {"reference": "canary5?canary6"},
        "issued": "canary7",
        "contained": [{"resourceType": "canary8", "id": "canary9"}],
    }
    issues = check(canary)
    assert len(issues) >= 6
    assert "canary" not in repr(issues)


def test_a_payload_full_of_faults_costs_little_and_lists_few() -> None:
    started = time.perf_counter()
    many = check({"resourceType": "Patient"} | {f"x{number}": 1 for number in range(900)})
    most = check({"resourceType": "Patient"} | {f"x{number}": 1 for number in range(200_000)})
    assert time.perf_counter() - started < 5
    assert len(many) == 50
    assert [issue.code for issue in most] == [IssueCode.STRUCTURE]
    assert "200000" in most[0].text


def test_of_a_large_payload_the_first_faults_are_named() -> None:
    name: JsonObject = {"given": [None] * 200_000}
    (issue,) = check({"resourceType": "Patient", "name": [name]})
    assert issue.expression == ("Patient.name[0]",)
    (issue,) = check({"resourceType": "Patient", "name": [{"zzz": 1}] * 20_000, "birthDate": "1970"})
    assert issue.expression == ("Patient.name[0]",)


def test_depth_of_a_payload_is_not_depth_of_the_stack() -> None:
    inner: JsonObject = {"url": "urn:a", "valueBoolean": True}
    for _ in range(60):
        inner = {"url": "urn:a", "extension": [inner]}
    assert check({"resourceType": "Patient", "extension": [inner]}) == ()
    for _ in range(140):
        inner = {"url": "urn:a", "extension": [inner]}
    assert {issue.text for issue in check({"resourceType": "Patient", "extension": [inner]})} <= {"Nested too deep."}


def test_the_types_are_those_of_the_release() -> None:
    assert len(resource_types()) == 146
    assert {"Patient", "Parameters", "Binary"} <= resource_types()
    with pytest.raises(ValueError, match="R3"):
        resource_types("R3")


def minimal(path: str, depth: int = 0) -> JsonObject:
    """The smallest object of a path, with every required element."""
    model = load()
    made: JsonObject = {"resourceType": path} if path in model.resources else {}
    groups = set()
    for field in model.fields[path].values():
        if not field.required or field.group in groups:
            continue
        if field.group:
            groups.add(field.group)
        value = sample(field.type, field.binding, depth)
        made[field.name] = [value] if field.many else value
    if not made and depth < 9:
        made["extension"] = [{"url": "urn:x", "valueCode": "x"}]
    if path == "Extension":
        made["valueCode"] = "x"
    return made


def sample(type_name: str, binding: str | None, depth: int) -> Json:
    model = load()
    if binding in model.values and type_name == "code":
        return model.values[str(binding)][0]
    fixed: dict[str, Json] = {
        "boolean": True,
        "integer": 1,
        "positiveInt": 1,
        "unsignedInt": 1,
        "decimal": 1.5,
        "date": "2024-01-31",
        "dateTime": "2024-01-31",
        "instant": "2024-01-31T00:00:00Z",
        "time": "10:00:00",
        "base64Binary": "YQ==",
        "oid": "urn:oid:1.2",
        "uuid": "urn:uuid:0a0a0a0a-0000-4000-8000-000000000001",
    }
    if type_name in fixed:
        return fixed[type_name]
    if type_name == "Reference":
        return {"reference": "Patient/1"}
    if type_name == "Resource":
        return minimal("Basic", depth + 1)
    return minimal(type_name, depth + 1) if type_name in model.fields else "x"


@pytest.mark.parametrize("type_name", sorted(resource_types()))
def test_the_smallest_resource_of_every_type_has_one_reading_and_no_required_part_may_go(type_name: str) -> None:
    smallest = minimal(type_name)
    assert check(smallest) == ()
    for name in smallest:
        rest = {key: value for key, value in smallest.items() if key != name}
        codes = {issue.code for issue in check(rest)}
        assert codes == ({IssueCode.STRUCTURE} if name == "resourceType" else codes & {IssueCode.REQUIRED}) or (
            name == "extension" and not codes
        )


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["", "x", "#a", "final"])
)
NAMES = """status code text value valueString _status coding extension url contained id resourceType subject
    reference component given entry resource zzz _x"""
names = st.sampled_from(NAMES.split())
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5), max_leaves=15
)


@given(st.dictionaries(names, anything, max_size=6), st.sampled_from(["Observation", "Bundle", "Patient", "Extension"]))
def test_any_json_is_checked_without_an_exception_or_a_change(resource: JsonObject, type_name: str) -> None:
    given_resource: JsonObject = {"resourceType": type_name, **resource}
    before = json.dumps(given_resource)
    issues = check(given_resource)
    assert json.dumps(given_resource) == before
    assert all(issue.text for issue in issues)
