"""The verb `fhirpath`, by the real command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.application import assemble

PATIENT = {
    "resourceType": "Patient",
    "name": [{"family": "Chalmers", "given": ["Ann", "B"]}],
    "birthDate": "1980-05-17",
    "multipleBirthInteger": 2,
}


@pytest.fixture
def patient(tmp_path: Path) -> str:
    path = tmp_path / "patient.json"
    path.write_text(json.dumps(PATIENT), encoding="utf-8")
    return str(path)


def run(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(assemble(["fhirpath"]), ["fhirpath", *arguments], input=given)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("name.given", ["Ann", "B"]),
        ("birthDate + 1 day", ["1980-05-18"]),
        ("name", PATIENT["name"]),
        ("multipleBirth > 1.5", [True]),
        ("now() > birthDate", [True]),
        ("5 'mg'", [{"value": 5.0, "unit": "mg"}]),
        ("photo", []),
    ],
)
def test_values_as_json(patient: str, expression: str, values: object) -> None:
    code, out, err = run(expression, patient)
    assert (code, err) == (0, "")
    assert json.loads(out) == values


def test_a_resource_on_standard_input_and_none_at_all() -> None:
    assert json.loads(run("name.family", "-", given=json.dumps(PATIENT))[1]) == ["Chalmers"]
    assert json.loads(run("1 + 1")[1]) == [2]
    assert json.loads(run("%resource.exists()")[1]) == [False]
    assert json.loads(run("a", "-", given='{"a": 1}')[1]) == [1]


def test_problems_are_shown_with_a_caret_and_a_hint(patient: str) -> None:
    code, out, err = run("true and\n  nam.family.exists()", patient)
    assert (code, out) == (3, "")
    assert err == "2:3: Patient has no element `nam`\n    nam.family.exists()\n    ^^^\n  did you mean `name`?\n"
    assert run("name.", patient)[2] == "1:6: the expression ends too early\n  name.\n       ^\n"


def test_an_evaluation_without_a_value(patient: str) -> None:
    code, out, err = run("name.given.single()", patient)
    assert (code, out, err) == (3, "", "error: single() met several items\n")


def test_files_that_hold_no_resource(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    assert run("1", str(broken))[0] == 2
    assert run("1", str(tmp_path / "absent.json"))[0] == 2
    assert "no JSON object" in run("1", "-", given="[1]")[2]
