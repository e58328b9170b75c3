"""Finds and reads policy files. The only part of this room that touches the file system."""

import re
from collections.abc import Sequence
from pathlib import Path

from gateway.policy.cases import FixtureUnusable
from gateway.policy.compiler import Compilation, SourceFile, compile_set
from gateway.policy.policy_set import Engines, PolicySet, Source
from gateway.policy.problems import PolicyErrors, Problem

MAX_FILE_BYTES = 1_000_000
MAX_FIXTURE_BYTES = 5_000_001  # one more than a body may have, so that a larger one is refused as such
_SUFFIXES = (".yaml", ".yml")
_FIXTURES = "fixtures"
_POLICY_KEY = re.compile(rb"""^(policy|'policy'|"policy")\s*:""", re.MULTILINE)


def load(paths: Sequence[Path], *, release: str, engines: Engines) -> PolicySet:
    """The policies of files and folders. Raises PolicyErrors, with every problem of every file."""
    return _usable(compile_paths(paths, release=release, engines=engines))


def load_sources(sources: Sequence[Source], *, release: str, engines: Engines) -> PolicySet:
    """A recorded set, compiled again. Raises PolicyErrors."""
    files = [SourceFile(source=source, shown=source.name) for source in sources]
    return _usable(compile_set(files, release=release, engines=engines))


def compile_paths(paths: Sequence[Path], *, release: str, engines: Engines) -> Compilation:
    """As `load`, with the problems as values and the warnings too."""
    files, problems = read_files(paths)
    if not files and problems:
        return Compilation(policy_set=None, problems=problems, documents=())
    compilation = compile_set(files, release=release, engines=engines)
    if not problems:
        return compilation
    return Compilation(policy_set=None, problems=problems + compilation.problems, documents=compilation.documents)


def read_files(paths: Sequence[Path]) -> tuple[tuple[SourceFile, ...], tuple[Problem, ...]]:
    """Every policy file below the paths, once, and what could not be read."""
    files: dict[Path, SourceFile] = {}
    problems: list[Problem] = []
    for path in paths:
        if path.is_dir():
            below = _policy_files(path)
            if not below:
                problems.append(_unread(path, "there is no policy file in this folder"))
        elif path.is_file():
            below = [path]
        else:
            problems.append(_unread(path, "there is no such file or folder"))
            continue
        for file in below:
            name = file.relative_to(path).as_posix() if file != path else file.name
            read = _read(file, name)
            if isinstance(read, Problem):
                problems.append(read)
            else:
                files.setdefault(file.resolve(), read)
    return tuple(files.values()), tuple(problems)


def _policy_files(folder: Path) -> list[Path]:
    """The YAML files of a folder and those below it; hidden ones aside, and test data below `fixtures`."""
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix not in _SUFFIXES or not path.is_file() or any(part.startswith(".") for part in parts):
            continue
        if _FIXTURES in parts[:-1] and not _is_policy(path):
            continue
        found.append(path)
    return found


def _is_policy(path: Path) -> bool:
    """A guard that strayed among the fixtures is loaded: nothing that says it is a policy is left out in silence."""
    return _POLICY_KEY.search(path.read_bytes()) is not None


def _read(file: Path, name: str) -> SourceFile | Problem:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return _unread(file, f"cannot be read: {error.strerror}")
    if len(content) > MAX_FILE_BYTES:
        return _unread(file, f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Problem(file=str(file), line=line, column=1, message="is not UTF-8")
    return SourceFile(source=Source(name=name, text=text), shown=str(file))


def read_fixture(policy_file: str, name: str) -> bytes:
    """A JSON file of a policy's tests, named relative to the policy file. Raises FixtureUnusable."""
    folder = Path(policy_file).resolve().parent
    file = (folder / name).resolve()
    if not file.is_relative_to(folder):
        raise FixtureUnusable(f"{name}: outside the folder of the policy file")
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_FIXTURE_BYTES)
    except OSError as error:
        raise FixtureUnusable(f"{name}: {error.strerror}") from None


def _unread(path: Path, message: str) -> Problem:
    return Problem(file=str(path), line=1, column=1, message=message)


def _usable(compilation: Compilation) -> PolicySet:
    if compilation.policy_set is None:
        raise PolicyErrors(compilation.problems)
    return compilation.policy_set
