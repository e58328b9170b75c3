"""`fhir-gateway check`: what it prints, and how it ends."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from gateway.cli.application import assemble
from tests.policy.policies import EXAMPLES, HEAD, rule, with_rules

GOOD = with_rules(HEAD, rule("resource.status == 'final'"))
BAD = GOOD + "titel: x\n"
ODD = HEAD


def run(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(assemble(["check"]), ["check", *arguments])
    return found.exit_code, found.output


def write(folder: Path, text: str, name: str = "one.yaml") -> str:
    (folder / name).write_text(text, "utf-8")
    return str(folder / name)


def test_the_examples_have_no_errors() -> None:
    code, text = run(str(EXAMPLES))
    assert code == 0
    assert "6 policies, 0 errors" in text


def test_problems_are_shown_with_place_caret_and_hint(tmp_path: Path) -> None:
    file = write(tmp_path, BAD)
    code, text = run(file)
    assert code == 3
    assert text.split("\n") == [
        f"{file}:8:1: unknown key titel",
        "    titel: x",
        "    ^^^^^",
        "    hint: did you mean title?",
        "0 policies, 1 error, 0 warnings",
        "",
    ]


def test_warnings_alone_are_no_failure(tmp_path: Path) -> None:
    file = write(tmp_path, ODD)
    code, text = run(file)
    assert code == 0
    assert text.startswith(f"{file}:2:1: warning: this policy permits without a rule of its own")
    assert text.endswith("1 policy, 0 errors, 1 warning\n")


def test_nothing_is_coloured_in_a_pipe(tmp_path: Path) -> None:
    assert "\x1b" not in run(write(tmp_path, BAD))[1]


def test_wrong_uses() -> None:
    assert run()[0] == 2
    assert run(str(EXAMPLES), "--fhir-version", "R3")[0] == 2
    assert run(str(EXAMPLES), "-o", "xml")[0] == 2


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    code, text = run(str(tmp_path / "gone"))
    assert code == 3
    assert "there is no such file or folder" in text


def test_json(tmp_path: Path) -> None:
    file = write(tmp_path, BAD)
    code, text = run(file, "-o", "json")
    assert code == 3
    assert json.loads(text) == {
        "problems": [
            {
                "file": file,
                "line": 8,
                "column": 1,
                "severity": "error",
                "message": "unknown key titel",
                "hint": "did you mean title?",
            }
        ],
        "summary": "0 policies, 1 error, 0 warnings",
    }


def test_github(tmp_path: Path) -> None:
    file = write(tmp_path, BAD, "a,b.yaml")
    assert run(file, "-o", "github")[1] == (
        f"::error file={file.replace(',', '%2C')},line=8,col=1::unknown key titel\n"
    )


def test_sarif(tmp_path: Path) -> None:
    file = write(tmp_path, BAD, "a b.yaml")
    run_of = json.loads(run(file, "-o", "sarif")[1])["runs"][0]
    assert run_of["results"] == [
        {
            "level": "error",
            "message": {"text": "unknown key titel"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": file.replace(" ", "%20")},
                        "region": {"startLine": 8, "startColumn": 1},
                    }
                }
            ],
        }
    ]


def test_junit(tmp_path: Path) -> None:
    tree = ET.fromstring(run(write(tmp_path, BAD + "<&: x\n"), "-o", "junit")[1])
    assert tree.attrib == {"name": "fhir-gateway check", "tests": "2", "failures": "2"}
    assert {case.attrib["name"] for case in tree} == {"unknown key titel", "unknown key <&"}


@pytest.mark.parametrize("output", ["text", "json", "junit", "sarif", "github"])
def test_every_format_ends_the_same_way(tmp_path: Path, output: str) -> None:
    assert run(write(tmp_path, GOOD), "-o", output)[0] == 0
    assert run(write(tmp_path, ODD), "-o", output)[0] == 0
    assert run(write(tmp_path, BAD), "-o", output)[0] == 3


def configuration(folder: Path, more: str = "") -> str:
    return write(
        folder,
        f"""listen: 127.0.0.1:0
public_url: http://127.0.0.1:8090/fhir
admin: 127.0.0.1:0
upstream: {{url: "http://127.0.0.1:8080/fhir", fhir_version: R4}}
issuers:
  - issuer: http://127.0.0.1:9000
    audiences: [http://127.0.0.1:8090/fhir]
policies: [{folder / "policies"}]
journal: sqlite:{folder / "journal.db"}
{more}""",
        "gateway.yaml",
    )


def test_a_configuration_is_checked_with_its_policies(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    write(tmp_path / "policies", GOOD)
    assert run(configuration(tmp_path)) == (0, "1 policy, 0 errors, 0 warnings\n")
    bad = write(tmp_path / "policies", BAD)
    code, text = run(configuration(tmp_path))
    assert code == 3
    assert text.startswith(f"{bad}:8:1: unknown key titel\n")


def test_problems_of_a_configuration_and_of_policies_are_listed_together(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    file = configuration(tmp_path, "lisen: x\n")
    bad = write(tmp_path, BAD)
    code, text = run(file, bad)
    assert code == 3
    assert f"{file}:10:1: " in text
    assert f"{bad}:8:1: unknown key titel" in text
