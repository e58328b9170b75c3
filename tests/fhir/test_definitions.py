"""The generator on a package of two types, small enough to read."""

import json
from pathlib import Path

import pytest

from gateway.definitions.codes import expand
from gateway.definitions.generate import generate, main
from gateway.definitions.paths import plain_paths
from gateway.definitions.sources import CodeSystem, ValueSet

PROFILE = "http://hl7.org/fhir/StructureDefinition/"


def structure(name: str, kind: str, elements: list[dict[str, object]], **more: object) -> dict[str, object]:
    snapshot = [{"path": name, "min": 0, "max": "*"}, *({"min": 0, "max": "1"} | element for element in elements)]
    about: dict[str, object] = {
        "resourceType": "StructureDefinition",
        "name": name,
        "kind": kind,
        "abstract": False,
        "fhirVersion": "4.0.1",
        "snapshot": {"element": snapshot},
    }
    return about | more


def parameter(code: str, kind: str, expression: str, base: str = "Thing") -> dict[str, object]:
    about: dict[str, object] = {"resourceType": "SearchParameter", "code": code, "base": [base], "type": kind}
    return about | ({"expression": expression} if expression else {})


THING = structure(
    "Thing",
    "resource",
    [
        {"path": "Thing.id", "type": [{"code": "http://hl7.org/fhirpath/System.String"}]},
        {
            "path": "Thing.status",
            "min": 1,
            "type": [{"code": "code"}],
            "binding": {"strength": "required", "valueSet": "urn:set|4.0.1"},
        },
        {"path": "Thing.kind", "type": [{"code": "code"}], "binding": {"strength": "preferred", "valueSet": "urn:set"}},
        {"path": "Thing.subject", "type": [{"code": "Reference", "targetProfile": [f"{PROFILE}Patient"]}]},
        {"path": "Thing.any", "type": [{"code": "Reference", "targetProfile": [f"{PROFILE}Resource"]}]},
        {"path": "Thing.value[x]", "type": [{"code": "string"}, {"code": "Reference"}]},
        {"path": "Thing.part", "max": "*", "type": [{"code": "BackboneElement"}]},
        {"path": "Thing.part.id", "type": [{"code": "http://hl7.org/fhirpath/System.String"}]},
        {"path": "Thing.part.part", "max": "*", "contentReference": "#Thing.part"},
    ],
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    files: dict[str, object] = {
        "profiles-types.json": [
            structure("string", "primitive-type", []),
            structure(
                "Extension",
                "complex-type",
                [
                    {"path": "Extension.id", "type": [{"code": "http://hl7.org/fhirpath/System.String"}]},
                    {"path": "Extension.url", "min": 1, "type": [{"code": "http://hl7.org/fhirpath/System.String"}]},
                ],
            ),
            structure("Special", "complex-type", [], derivation="constraint"),
        ],
        "profiles-resources.json": [THING, structure("Later", "resource", [], fhirVersion="4.3.0")],
        "valuesets.json": [
            {"resourceType": "ValueSet", "url": "urn:set", "compose": {"include": [{"system": "urn:system"}]}},
            {
                "resourceType": "CodeSystem",
                "url": "urn:system",
                "content": "complete",
                "concept": [{"code": "b", "concept": [{"code": "a"}]}],
            },
        ],
        "v3-codesystems.json": [],
        "search-parameters.json": [
            parameter("subject", "reference", "Thing.subject | Other.subject"),
            parameter("patient", "reference", "Thing.subject.where(resolve() is Patient)"),
            parameter("value", "token", "(Thing.value as string)"),
            parameter("odd", "token", "Thing.part.where(id = 'x')"),
            parameter("name", "string", "Thing.value.ofType(string)"),
            parameter("_query", "token", ""),
            parameter("_id", "token", "Resource.id", base="Resource"),
            parameter("elsewhere", "token", "Other.status", base="Other"),
        ],
    }
    r4 = folder / "dist" / "fhir" / "r4"
    r4.mkdir(parents=True)
    (folder / "package.json").write_text('{"name": "definitions", "version": "1.2.3"}')
    for name, content in files.items():
        assert isinstance(content, list)
        (r4 / name).write_text(json.dumps({"entry": [{"resource": resource} for resource in content]}))
    compartment = {"resource": [{"code": "Thing", "param": ["patient", "subject"]}, {"code": "Other"}]}
    (r4 / "compartmentdefinition-patient.json").write_text(json.dumps(compartment))
    return folder


def test_the_files_hold_what_the_definitions_say(package: Path, tmp_path: Path) -> None:
    written = {path.name: json.loads(path.read_text()) for path in generate(package, "R4", tmp_path)}
    elements = written["r4-elements.json"]
    assert elements["source"]["version"] == "1.2.3"
    assert list(elements["resources"]) == ["Thing"]
    assert elements["values"] == {"urn:set": ["a", "b"]}
    assert elements["paths"] == {
        "Extension": {"id": {"types": ["System.String"]}, "url": {"types": ["System.Uri"], "min": 1}},
        "Thing": {
            "id": {"types": ["System.Id"]},
            "status": {"types": ["code"], "min": 1, "binding": "urn:set"},
            "kind": {"types": ["code"]},
            "subject": {"types": ["Reference"], "targets": ["Patient"]},
            "any": {"types": ["Reference"]},
            "value[x]": {"types": ["string", "Reference"]},
            "part": {"types": ["BackboneElement"], "max": "*"},
        },
        "Thing.part": {"id": {"types": ["System.String"]}, "part": {"content": "Thing.part", "max": "*"}},
    }
    assert written["r4-patient-compartment.json"]["types"] == {"Thing": {"paths": ["subject"], "subject": "subject"}}
    search = written["r4-search.json"]
    assert search["common"] == {"_id": {"type": "token", "paths": [{"path": "id"}]}}
    assert search["types"]["Thing"] == {
        "patient": {"type": "reference", "paths": [{"path": "subject", "target": "Patient"}]},
        "subject": {"type": "reference", "paths": [{"path": "subject"}]},
        "value": {"type": "token", "paths": [{"path": "value", "as_type": "string"}]},
    }


def test_the_same_package_gives_the_same_bytes(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        main([str(package), "--to", str(folder)])
        contents.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert contents[0] == contents[1]
    assert "r4-elements.json" in capsys.readouterr().out


def test_a_compartment_parameter_that_is_no_path_stops_the_generator(package: Path, tmp_path: Path) -> None:
    file = package / "dist" / "fhir" / "r4" / "compartmentdefinition-patient.json"
    file.write_text(json.dumps({"resource": [{"code": "Thing", "param": ["odd"]}]}))
    with pytest.raises(ValueError, match="odd"):
        generate(package, "R4", tmp_path)


def test_a_type_without_a_subject_has_its_first_path(package: Path, tmp_path: Path) -> None:
    r4 = package / "dist" / "fhir" / "r4"
    parameters = [parameter("any", "reference", "Thing.any")]
    (r4 / "search-parameters.json").write_text(json.dumps({"entry": [{"resource": row} for row in parameters]}))
    (r4 / "compartmentdefinition-patient.json").write_text(
        json.dumps({"resource": [{"code": "Thing", "param": ["any"]}]})
    )
    written = {path.name: json.loads(path.read_text()) for path in generate(package, "R4", tmp_path)}
    assert written["r4-patient-compartment.json"]["types"]["Thing"]["subject"] == "any"


def test_value_sets_that_cannot_be_listed_are_left_out() -> None:
    def value_set(url: str, **compose: object) -> ValueSet:
        return ValueSet.model_validate({"resourceType": "ValueSet", "url": url, "compose": compose})

    system = CodeSystem.model_validate(
        {
            "resourceType": "CodeSystem",
            "url": "urn:s",
            "content": "complete",
            "concept": [{"code": "a"}, {"code": "b"}, {"code": "c"}],
        }
    )
    listed = expand(
        [
            value_set(
                "urn:some", include=[{"system": "urn:s"}], exclude=[{"system": "urn:s", "concept": [{"code": "b"}]}]
            ),
            value_set("urn:both", include=[{"valueSet": ["urn:some|1"], "concept": [{"code": "a"}]}]),
            value_set("urn:copy", include=[{"valueSet": ["urn:both"]}]),
            value_set("urn:filtered", include=[{"system": "urn:s", "filter": [{"op": "is-a"}]}]),
            value_set("urn:grammar", include=[{"system": "urn:ietf:bcp:47"}]),
            value_set("urn:lost", include=[{"valueSet": ["urn:nowhere"]}]),
            ValueSet.model_validate({"resourceType": "ValueSet", "url": "urn:empty"}),
        ],
        [system],
    )
    assert listed == {"urn:some": ["a", "c"], "urn:both": ["a"], "urn:copy": ["a"]}


def test_only_plain_paths_of_the_type_are_kept() -> None:
    assert plain_paths("Other.a | Thing.b.c", "Thing") == [{"path": "b.c"}]
    assert plain_paths("Thing.a.as(Quantity) | Thing.b.ofType(date)", "Thing") == [
        {"path": "a", "as_type": "Quantity"},
        {"path": "b", "as_type": "date"},
    ]
    assert plain_paths("Thing.a | Thing.b.exists()", "Thing") is None
    assert plain_paths("Other.a", "Thing") is None
