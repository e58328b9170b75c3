"""`fhirpath --batch`: a line in, a line out."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.application import assemble
from gateway.cli.fhirpath_batch import answer

NOW = "2026-01-01T12:00:00Z"
PATIENT = {"resourceType": "Patient", "name": [{"given": ["A", "B"]}, {"family": "C"}], "birthDate": "2020-01"}


def asked(**case: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(answer(json.dumps({"id": 7, **case}), NOW))
    assert found.pop("id") == 7
    return found


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("name.given", [("string", "A"), ("string", "B")]),
        ("birthDate", [("date", "2020-01")]),
        ("name.count() > 1", [("boolean", True)]),
        ("2 | 1L | @T10:30 | @2020-01-01T10:00Z", None),
        ("today().toString() + %x.y", [("string", "2026-01-01d")]),
        ("4 'mg'", [("Quantity", {"value": 4, "unit": "mg"})]),
        ("photo", []),
        ("name.last()", [("HumanName", {"family": "C"})]),
    ],
)
def test_results_have_types(expression: str, result: list[tuple[str, object]] | None) -> None:
    found = asked(expression=expression, resource=PATIENT, variables={"x": {"y": "d"}})["result"]
    assert isinstance(found, list)
    shown = [(one["type"], one["value"]) for one in found]
    if result is None:
        assert [kind for kind, _ in shown] == ["integer", "integer64", "time", "dateTime"]
    else:
        assert shown == result


def test_decimals_keep_their_digits() -> None:
    line = '{"id": "a", "expression": "value.value | 1.10", "resource": {"resourceType": "Observation", '
    found = answer(line + '"valueQuantity": {"value": 1.50}}}', NOW)
    assert found == '{"id": "a", "result": [{"type": "decimal", "value": 1.50}, {"type": "decimal", "value": 1.10}]}'


@pytest.mark.parametrize(
    ("expression", "kind", "line", "column"),
    [
        ("name..x", "syntax", 1, 6),
        ("nme", "semantic", 1, 1),
        ("true and\n  nme.exists()", "semantic", 2, 3),
        ("name.foo()", "semantic", 1, 6),
        ("%zzz", "semantic", 1, 1),
        ("true and\n name.single().exists()", "execution", 2, 2),
        ("name.repeatAll($this)", "budget", 1, 1),
        # What the evaluation alone can only fail on is no fault of the text, and else it is.
        ("(1 | 2).not()", "execution", 1, 1),
        ("'a' - 'b'", "execution", 1, 1),
        ("@1974-12-25 + 7", "semantic", 1, 1),
        # What is always false fails nothing, and is not said to be the cause.
        ("(birthDate = 5) or name.single().exists()", "execution", 1, 20),
        ("name.family < 5", "execution", 1, 1),
        ("birthDate.as(dat)", "execution", 1, 14),
        ("@T10:00Z", "execution", 1, 8),
        ("name.select(defineVariable('a', 1)).select(%a)", "semantic", 1, 44),
    ],
)
def test_errors_have_kinds_and_places(expression: str, kind: str, line: int, column: int) -> None:
    error = asked(expression=expression, resource=PATIENT)["error"]
    assert isinstance(error, dict)
    assert (error["kind"], error["line"], error["column"]) == (kind, line, column)
    assert error["message"]


def test_half_a_character_is_answered_as_the_escape_that_it_was() -> None:
    said = answer(
        r'{"id": "\ud800", "expression": "name.given | \u0027é\ud83d\ude00\u0027", "resource": {"name": '
        r'{"given": "\udc00"}}}',
        NOW,
    )
    assert said.isascii() is False
    assert json.loads(said.encode("utf-8")) == {
        "id": "\ud800",
        "result": [{"type": "string", "value": "\udc00"}, {"type": "string", "value": "é😀"}],
    }


def test_a_path_a_version_and_a_context(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(PATIENT), encoding="utf-8")
    assert asked(expression="name.count()", resource=str(path))["result"] == [{"type": "integer", "value": 2}]
    assert "error" in asked(expression="1", resource=str(tmp_path / "absent.json"))
    assert "error" in asked(expression="1", version="R1")
    assert asked(expression="1", version="R5") == {"result": [{"type": "integer", "value": 1}]}
    untyped = {"birthDate": "2020-01"}
    assert asked(expression="birthDate is date", resource=untyped, context="Patient")["result"] == [
        {"type": "boolean", "value": True}
    ]


@pytest.mark.parametrize(
    "line", ["nonsense", "[]", "3", '{"expression": 4}', '{"expression": "1", "variables": 3}', "[" * 9999]
)
def test_a_line_that_is_no_case_is_answered_too(line: str) -> None:
    error = json.loads(answer(line, NOW))["error"]
    assert error["kind"] == "execution"


def test_the_verb_answers_line_by_line() -> None:
    given = "".join(json.dumps({"id": at, "expression": f"{at} + 1"}) + "\n\n" for at in range(50))
    result = CliRunner().invoke(assemble(["fhirpath"]), ["fhirpath", "--batch"], input=given)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["id"], one["result"][0]["value"]) for one in lines] == [(at, at + 1) for at in range(50)]


def test_static_type_and_explanation() -> None:
    runner = CliRunner()
    typed = runner.invoke(assemble(["fhirpath"]), ["fhirpath", "name.given", "--type", "--context", "Patient"])
    assert (typed.exit_code, typed.stdout) == (0, "string 0..*\n")
    explained = runner.invoke(
        assemble(["fhirpath"]), ["fhirpath", "name.exists(family = 'C')", "-", "--explain"], input=json.dumps(PATIENT)
    )
    assert json.loads(explained.stdout) == [True]
    assert '1:13\tfamily\t[{"type": "string", "value": "C"}]' in explained.stderr.splitlines()
    assert runner.invoke(assemble(["fhirpath"]), ["fhirpath"]).exit_code == 2
