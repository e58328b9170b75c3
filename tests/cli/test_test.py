"""`fhir-gateway test`: what it prints, and how it ends."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from gateway.cli.application import assemble
from tests.policy.policies import EXAMPLES, HEAD, example, rule, with_rules

TESTS = """tests:
  - name: a final result is accepted
    given: {create: final.json}
    expect: allow
"""
GOOD = with_rules(HEAD, rule("resource.status == 'final'")) + TESTS
WRONG = GOOD.replace("expect: allow", "expect: {deny: [r]}")
BROKEN = GOOD.replace("'final'", "'amended'")


def run(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(assemble(["test"]), ["test", *arguments])
    return found.exit_code, found.output


def write(folder: Path, text: str) -> str:
    (folder / "final.json").write_text(json.dumps(example("hba1c")), "utf-8")
    (folder / "one.yaml").write_text(text, "utf-8")
    return str(folder / "one.yaml")


def test_the_examples_pass() -> None:
    code, text = run(str(EXAMPLES))
    assert code == 0
    assert text.endswith("tests of 6 policies, 0 failed\n")
    assert run(str(EXAMPLES), "--with-set")[0] == 0


def test_what_passes_is_listed(tmp_path: Path) -> None:
    assert run(write(tmp_path, GOOD)) == (
        0,
        "a\n  pass  a final result is accepted\n1 test of 1 policy, 0 failed\n",
    )


def test_what_fails_is_told_with_its_place_and_reasons(tmp_path: Path) -> None:
    file = write(tmp_path, BROKEN)
    code, text = run(file)
    assert code == 4
    assert text.split("\n") == [
        "a",
        "  FAIL  a final result is accepted",
        f"        {file}:9:5: expected allow, got deny by r",
        "        r: fail: The rule r does not hold.",
        "1 test of 1 policy, 1 failed",
        "",
    ]


def test_policies_that_are_wrong_are_not_tested(tmp_path: Path) -> None:
    code, text = run(write(tmp_path, GOOD + "x: 1\n"))
    assert code == 3
    assert text.endswith("1 error: no test was run\n")


def test_no_test_at_all_is_a_failure_unless_allowed(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD.removesuffix(TESTS))
    assert run(file) == (4, "0 tests of 1 policy, 0 failed\n")
    assert run(file, "--allow-empty")[0] == 0


def test_json(tmp_path: Path) -> None:
    file = write(tmp_path, WRONG)
    code, text = run(file, "-o", "json")
    assert code == 4
    assert json.loads(text) == {
        "tests": [
            {
                "policy": "a",
                "name": "a final result is accepted",
                "file": file,
                "line": 9,
                "column": 5,
                "passed": False,
                "problem": "expected deny by r, got allow",
                "details": [],
            }
        ],
        "summary": "1 test of 1 policy, 1 failed",
    }


def test_junit_sarif_and_github(tmp_path: Path) -> None:
    file = write(tmp_path, WRONG)
    tree = ET.fromstring(run(file, "-o", "junit")[1])
    assert tree.attrib["failures"] == "1"
    assert tree[0][0].attrib["message"] == "expected deny by r, got allow"
    found = json.loads(run(file, "-o", "sarif")[1])["runs"][0]["results"]
    assert [each["message"]["text"] for each in found] == ["a final result is accepted: expected deny by r, got allow"]
    assert run(file, "-o", "github")[1] == (
        f"::error file={file},line=9,col=5::a final result is accepted: expected deny by r, got allow\n"
    )


@pytest.mark.parametrize("output", ["text", "json", "junit", "sarif", "github"])
def test_every_format_ends_the_same_way(tmp_path: Path, output: str) -> None:
    assert run(write(tmp_path, GOOD), "-o", output)[0] == 0
    assert run(write(tmp_path, WRONG), "-o", output)[0] == 4
    assert run(write(tmp_path, GOOD + "x: 1\n"), "-o", output)[0] == 3
