"""The generator on a jar of two types, small enough to read."""

import hashlib
import json
from pathlib import Path
from xml.sax.saxutils import quoteattr
from zipfile import ZipFile

import pytest
from pydantic import ValidationError

from gateway.definitions import rows
from gateway.definitions.codes import expand
from gateway.definitions.generate import generate, main
from gateway.definitions.paths import plain_paths
from gateway.definitions.sources import CodeSystem, ValueSet
from gateway.fhir.model import files

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


FILES: dict[str, list[dict[str, object]]] = {
    "profile/profiles-types.xml": [
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
    "profile/profiles-resources.xml": [
        THING,
        {"resourceType": "CompartmentDefinition", "code": "Device", "resource": [{"code": "Thing", "param": ["odd"]}]},
        {
            "resourceType": "CompartmentDefinition",
            "code": "Patient",
            "resource": [{"code": "Thing", "param": ["patient", "subject"]}, {"code": "Other"}, {"code": "Task"}],
        },
    ],
    "valueset/valuesets.xml": [
        {"resourceType": "ValueSet", "url": "urn:set", "compose": {"include": [{"system": "urn:system"}]}},
        {
            "resourceType": "CodeSystem",
            "url": "urn:system",
            "content": "complete",
            "concept": [{"code": "b", "concept": [{"code": "a"}]}],
        },
    ],
    "valueset/v3-codesystems.xml": [],
    "sp/search-parameters.json": [
        parameter("subject", "reference", "Thing.subject | Other.subject"),
        parameter("patient", "reference", "Thing.subject.where(resolve() is Patient)"),
        parameter("value", "token", "(Thing.value as string)"),
        parameter("odd", "token", "Thing.part.where(id = 'x')"),
        parameter("any", "reference", "Thing.any"),
        parameter("name", "string", "Thing.value.ofType(string)"),
        parameter("_query", "token", ""),
        parameter("_id", "token", "Resource.id", base="Resource"),
        parameter("elsewhere", "token", "Other.status", base="Other"),
        parameter("patient", "reference", "Task.for.where(resolve() is Patient)", base="Task"),
        parameter("focus", "reference", "Task.focus", base="Task"),
    ],
}


def xml(name: str, content: object) -> str:
    """The XML of a JSON element, as http://hl7.org/fhir/R4/xml.html has it."""
    if isinstance(content, list):
        return "".join(xml(name, each) for each in content)
    if isinstance(content, dict):
        inner = "".join(xml(key, value) for key, value in content.items() if key != "resourceType")
        return f"<{name}>{inner}</{name}>"
    text = json.dumps(content) if isinstance(content, bool) else str(content)
    return f"<{name} value={quoteattr(text)}/>"


def pack(jar: Path, changed: dict[str, list[dict[str, object]]] | None = None) -> Path:
    with ZipFile(jar, "w") as archive:
        about = "#Generated by Maven\ngroupId=org.example\nartifactId=definitions\nversion=1.2.3\n"
        archive.writestr("META-INF/maven/org.example/definitions/pom.properties", about)
        for name, content in (FILES | (changed or {})).items():
            if name.endswith(".json"):
                text = json.dumps({"entry": [{"resource": each} for each in content]})
            else:
                entries = [
                    f"<entry><resource>{xml(str(each['resourceType']), each)}</resource></entry>" for each in content
                ]
                text = f'<Bundle xmlns="http://hl7.org/fhir">{"".join(entries)}</Bundle>'
            archive.writestr(f"org/hl7/fhir/r4/model/{name}", text)
    return jar


def about_thing(*codes: str) -> dict[str, list[dict[str, object]]]:
    """The resources with a Patient compartment of Thing alone, by these parameters."""
    members = [{"code": "Thing", "param": list(codes)}]
    compartment: dict[str, object] = {"resourceType": "CompartmentDefinition", "code": "Patient", "resource": members}
    return {"profile/profiles-resources.xml": [THING, compartment]}


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    return pack(tmp_path / "definitions.jar")


def test_the_files_hold_what_the_definitions_say(jar: Path, tmp_path: Path) -> None:
    written = {path.name: json.loads(path.read_text()) for path in generate(jar, "R4", tmp_path)}
    elements = written["r4-elements.json"]
    source = elements["source"]
    assert (source["artifact"], source["version"]) == ("org.example:definitions", "1.2.3")
    assert source["sha256"].keys() == {"jar", *FILES}
    assert source["sha256"]["jar"] == hashlib.sha256(jar.read_bytes()).hexdigest()
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
    assert written["r4-patient-compartment.json"]["types"] == {
        "Task": {"paths": ["focus", "for"], "subject": "for"},
        "Thing": {"paths": ["subject"], "subject": "subject"},
    }
    search = written["r4-search.json"]
    assert search["common"] == {"_id": {"type": "token", "paths": [{"path": "id"}]}}
    assert search["types"]["Thing"] == {
        "any": {"type": "reference", "paths": [{"path": "any"}]},
        "patient": {"type": "reference", "paths": [{"path": "subject", "target": "Patient"}]},
        "subject": {"type": "reference", "paths": [{"path": "subject"}]},
        "value": {"type": "token", "paths": [{"path": "value", "as_type": "string"}]},
    }


def test_the_same_jar_gives_the_same_bytes(jar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        main([str(jar), "--to", str(folder)])
        contents.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert contents[0] == contents[1]
    assert "r4-elements.json" in capsys.readouterr().out


def test_a_gateway_reads_what_was_written_and_nothing_else(jar: Path, tmp_path: Path) -> None:
    other = json.dumps({"r5-elements.json": "of another release"})
    (tmp_path / files.DIGESTS).write_text(other)
    written = generate(jar, "R4", tmp_path)
    for path in written:
        assert files.read(tmp_path, path.name) == json.loads(path.read_text())
    digests = json.loads((tmp_path / files.DIGESTS).read_text())
    assert digests.keys() == {"r5-elements.json", *(path.name for path in written)}


@pytest.mark.parametrize(
    ("section", "content"),
    [
        ("elements", {"paths": {"Thing": {"id": {"kinds": ["id"]}}}}),
        ("elements", {"paths": {"Thing": {"id": {"types": "id"}}}}),
        ("elements", {"paths": {"Thing": {"id": {"types": ["id"], "min": "1"}}}}),
        ("patient-compartment", {"types": {"Thing": {"paths": ["subject"]}}}),
        ("search", {"common": {"_id": {"type": "string", "paths": []}}}),
    ],
)
def test_a_row_that_no_gateway_understands_stops_the_generator(
    section: files.Section, content: dict[str, object]
) -> None:
    sound: dict[files.Section, dict[str, object]] = {
        "elements": {name: {} for name in ("resources", "primitives", "parents", "abstract", "paths", "values")},
        "patient-compartment": {"types": {}},
        "search": {"types": {}, "common": {}},
    }
    whole = {"source": {}, **sound[section]}
    rows.check(section, json.dumps(whole).encode())
    with pytest.raises(ValidationError):
        rows.check(section, json.dumps(whole | content).encode())


def test_definitions_of_another_version_stop_the_generator(tmp_path: Path) -> None:
    later = structure("Later", "complex-type", [], fhirVersion="4.3.0")
    jar = pack(tmp_path / "mixed.jar", {"profile/profiles-types.xml": [later]})
    with pytest.raises(ValueError, match=r"not of FHIR 4\.0\.1: Later"):
        generate(jar, "R4", tmp_path)


def test_xml_that_repeats_what_stands_once_stops_the_generator(tmp_path: Path) -> None:
    twice = structure("Thing", "resource", []) | {"kind": ["resource", "primitive-type"]}
    jar = pack(tmp_path / "twice.jar", {"profile/profiles-types.xml": [twice]})
    with pytest.raises(ValidationError, match="kind is there 2 times"):
        generate(jar, "R4", tmp_path)


def test_a_compartment_parameter_that_is_no_path_stops_the_generator(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="odd"):
        generate(pack(tmp_path / "odd.jar", about_thing("odd")), "R4", tmp_path)


def test_a_type_without_a_subject_has_its_first_path(tmp_path: Path) -> None:
    generate(pack(tmp_path / "any.jar", about_thing("any")), "R4", tmp_path)
    written = json.loads((tmp_path / "r4-patient-compartment.json").read_text())
    assert written["types"]["Thing"]["subject"] == "any"


def test_value_sets_that_cannot_be_listed_are_left_out() -> None:
    def value_set(url: str, **compose: object) -> ValueSet:
        return ValueSet.model_validate({"url": url, "compose": compose})

    system = CodeSystem.model_validate(
        {
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
            ValueSet.model_validate({"url": "urn:empty"}),
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
