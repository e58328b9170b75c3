"""Whatever stands in a file, it is a document or a list of problems with places; never an exception."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.document_reader import ReadPolicy, read_policy
from gateway.policy.problems import Problem
from tests.policy.policies import EXAMPLES, compiled

LAB = (EXAMPLES / "lab-results.yaml").read_text("utf-8")
KEYS = ["policy", "permit", "resources", "clients", "when", "mode", "params", "let", "rules", "tests", "x", "id", "cel"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["a", "create", "Observation", "", "enforce"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


def check_places(found: ReadPolicy | tuple[Problem, ...], text: str) -> None:
    if isinstance(found, ReadPolicy):
        return
    assert found
    lines = len(text.splitlines()) + 1
    assert all(problem.message and 1 <= problem.line <= lines and problem.column >= 1 for problem in found)
    assert all(problem.render() for problem in found)


@given(st.text())
def test_any_text(text: str) -> None:
    check_places(read_policy("a.yaml", text), text)


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8))
def test_any_document(value: dict[str, object]) -> None:
    text = json.dumps({"policy": "a", **value})
    check_places(read_policy("a.yaml", text), text)


@settings(max_examples=40)
@given(
    start=st.integers(0, len(LAB)), length=st.integers(0, 40), more=st.text(alphabet="ab:{}[]'\"\n -#&*|>%", max_size=5)
)
def test_any_edit_of_a_good_policy(start: int, length: int, more: str) -> None:
    text = LAB[:start] + more + LAB[start + length :]
    check_places(read_policy("a.yaml", text), text)
    compilation = compiled(text)
    errors = [problem for problem in compilation.problems if problem.is_error]
    assert (compilation.policy_set is None) is bool(errors)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_windows_line_ends_change_nothing(path: Path) -> None:
    text = path.read_text("utf-8")
    unix, windows = read_policy("a.yaml", text), read_policy("a.yaml", text.replace("\n", "\r\n"))
    assert isinstance(unix, ReadPolicy)
    assert isinstance(windows, ReadPolicy)
    assert unix.document == windows.document
