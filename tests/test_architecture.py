"""The shape of the tree itself; which room may import which is said in pyproject.toml and checked by import-linter."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "gateway").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
TOP_LEVEL = {
    "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "deploy", "gateway", "policies", "pyproject.toml",
    "requirements.lock", "tests",
}  # fmt: skip
# Names that name no room.
VAGUE = re.compile(r"(?:^|_)(?:utils?|helpers?|common|misc|managers?|services?|data|info)(?:_|$)")
PURE = ("errors.py", "fhir/", "policy/", "saga/table.py")
LONGEST_MODULE, LONGEST_FUNCTION = 400, 60


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [name for name in listed.stdout.split("\0") if name]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_is_small(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= LONGEST_MODULE


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_function_fits_on_a_page(path: Path) -> None:
    long = {f.name: f.end_lineno - f.lineno for f in functions(path) if f.end_lineno is not None}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_and_its_classes_have_names_that_say_something(path: Path) -> None:
    classes = [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
    words = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in classes]
    assert [name for name in (path.stem, *words) if VAGUE.search(name)] == []


@pytest.mark.parametrize("path", [p for p in MODULES if named(p).removeprefix("gateway/").startswith(PURE)], ids=named)
def test_what_decides_reads_no_clock(path: Path) -> None:
    """import-linter sees modules; `datetime.now()` hides in one that pure code needs for its types."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    clocks = {"now", "utcnow", "today"}
    assert [call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr in clocks] == []


@pytest.mark.parametrize("path", TESTS, ids=named)
def test_a_test_asserts_something_and_is_never_skipped(path: Path) -> None:
    text = path.read_text("utf-8")
    asserts = re.compile(r"\b(assert|check|expect|wait_for)\b|pytest\.raises|\b(check|expect)_")
    idle = [
        function.name
        for function in functions(path)
        if function.name.startswith("test_") and not asserts.search(ast.get_source_segment(text, function) or "")
    ]
    assert idle == []
    if path != Path(__file__):
        assert not re.search(r"pytest\.(skip|xfail|importorskip)|mark\.(skip|skipif|xfail)\b", text)


def test_nothing_lies_around_at_the_top() -> None:
    top = {name.partition("/")[0] for name in tracked()}
    assert {name for name in top if not name.startswith(".")} - TOP_LEVEL == set()


def test_the_lock_pins_every_package_by_hash_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert "://" not in lock
    pinned = re.split(r"\n(?=\S)", lock.strip())
    assert len(pinned) > 20
    assert [package.split()[0] for package in pinned if "==" not in package or "--hash=sha256:" not in package] == []


def test_the_lock_holds_everything_that_the_project_needs() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    wanted = re.findall(r'^    "([a-z0-9.-]+)(?:\[[a-z]+\])?>=', project, re.MULTILINE)
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    assert {name.replace(".", "-") for name in wanted} - set(locked) == set()
