"""`make mutate`: every mutant of the FHIRPath language has to be missed by a fast test, or be listed as no mistake.

Each mutant lives in a process of its own, forked from one that has read all tables: there the engine is imported
anew with the changed module. Only the checks that reach the changed lines are run; one that never ends is missed.
"""

import argparse
import gc
import importlib
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from ruamel.yaml import YAML

from tests.mutate.operators import TABLE, Mutant, mutants
from tests.mutate.rows import Row, all_rows

ROOT: Final = Path(__file__).parents[2]
_PACKAGE: Final = "gateway.fhirpath"
_FOLDER: Final = ROOT / "gateway" / "fhirpath"
_LISTED: Final = ROOT / "tests" / "cases" / "mutants.yaml"
MODULES: Final = (
    *sorted(f"library.{path.stem}" for path in (_FOLDER / "library").glob("*.py") if path.stem != "__init__"),
    *(
        "arithmetic",
        "calculation",
        "comparison",
        "constructs",
        "criteria",
        "equality",
        "logic",
        "markup",
        "navigation",
        "ordering",
        "patterns",
    ),
    *("quantity", "temporal", "type_tests", "ucum"),
    *sorted(path.stem for path in _FOLDER.glob("types_*.py")),
)
_SECONDS: Final = 20  # of CPU: a busy machine ends no mutant
_MEMORY: Final = 2 << 30
# What holds the engine. The model of FHIR's elements does not, and takes long to read.
_HOLDERS: Final = (f"{_PACKAGE}.", "tests.fhirpath.test_", "gateway.cli.fhirpath_")
_KEPT: Final = f"{_PACKAGE}.model"
_SEED: Final = 5
_SHORT: Final = 8  # of the longest rows of the report


def main() -> None:
    """Exit code 1 when a mutant survives that is not listed, or a listed one is missed after all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants whose name has one of these words")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--each", type=int, help="so many of each function, drawn with a fixed seed")
    arguments = parser.parse_args()
    known = list(all_mutants())
    chosen = _chosen(known, arguments.words, arguments.each)
    listed = {name: group for group, names in _listed().items() for name in names}
    rows = all_rows()
    reached = _reached(rows)
    started = time.monotonic()
    wrong = end_of(None, rows, reached)
    if wrong is not None:
        sys.exit(f"without any mistake a check misses one: {wrong}")
    gone = sorted(listed.keys() - {mutant.name for mutant in known})
    ends: dict[str, str | None] = {}
    for name, end in _all_ends(chosen, rows, reached, arguments.workers):
        ends[name] = end
        if end is None and name not in listed:
            sys.stdout.write(f"NOT MISSED: {name}\n")
            sys.stdout.flush()
    survivors = [mutant.name for mutant in chosen if ends[mutant.name] is None]
    missed = [name for name in listed if ends.get(name) is not None]
    new = [name for name in survivors if name not in listed]
    for name in gone:
        sys.stdout.write(f"there is no such mutant, take it off the list: {name}\n")
    for name in missed:
        sys.stdout.write(f"missed now, take it off the list: {name} (by {ends[name]})\n")
    by = Counter(name.split(" ")[0] for name in survivors)
    sys.stdout.write(
        f"{len(chosen)} mutants of {len({(one.module, one.function) for one in chosen})} functions: "
        f"{len(chosen) - len(survivors)} missed by a test, {len(survivors) - len(new)} listed, {len(new)} not missed, "
        f"in {time.monotonic() - started:.0f} s; survivors by module: {dict(by.most_common(_SHORT))}\n"
    )
    sys.exit(1 if new or missed or gone else 0)


def all_mutants() -> Iterator[Mutant]:
    """Of every module, in the order of its text."""
    for module in MODULES:
        source = (_FOLDER / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        yield from mutants(f"{_PACKAGE}.{module}", source)


def _chosen(known: list[Mutant], words: list[str], each: int | None) -> list[Mutant]:
    drawn = known if each is None else _drawn(known, each)
    return [one for one in drawn if not words or any(word in one.name for word in words)]


def _drawn(known: list[Mutant], each: int) -> list[Mutant]:
    by_function: dict[tuple[str, str], list[Mutant]] = {}
    for mutant in known:
        by_function.setdefault((mutant.module, mutant.function), []).append(mutant)
    drawn = []
    for (_, function), of_function in by_function.items():
        drawn += random.Random(f"{_SEED} {function}").sample(of_function, min(each, len(of_function)))
    return drawn


def _listed() -> dict[str, list[str]]:
    groups = YAML(typ="safe").load(_LISTED.read_text(encoding="utf-8")) or []
    return {str(group["why"]): group["mutants"] for group in groups}


def _reached(rows: list[Row]) -> dict[tuple[str, int], list[int]]:
    """Which checks reach which line, by running each under a trace."""
    found: dict[tuple[str, int], list[int]] = {}
    folder = str(_FOLDER)
    lines: set[tuple[str, int]] = set()

    def local(frame: FrameType, event: str, _argument: object) -> object:
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def start(frame: FrameType, _event: str, _argument: object) -> object:
        if not frame.f_code.co_filename.startswith(folder):
            return None
        lines.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    for at, row in enumerate(rows):
        lines.clear()
        sys.settrace(start)  # type: ignore[arg-type]
        try:
            row.run()
        finally:
            sys.settrace(None)
        for place in lines:
            found.setdefault(place, []).append(at)
    return found


def _all_ends(
    chosen: list[Mutant], rows: list[Row], reached: dict[tuple[str, int], list[int]], workers: int
) -> Iterator[tuple[str, str | None]]:
    """How each mutant ended: which check missed it, or None."""
    running: dict[int, tuple[Mutant, int]] = {}
    waiting = list(reversed(chosen))
    while waiting or running:
        while waiting and len(running) < workers:
            mutant = waiting.pop()
            child, reading = _started(mutant, rows, reached)
            running[child] = (mutant, reading)
        child, status = os.wait()
        mutant, reading = running.pop(child)
        yield mutant.name, _said(reading, status)


def end_of(mutant: Mutant | None, rows: list[Row], reached: dict[tuple[str, int], list[int]]) -> str | None:
    """How one mutant ends; None: no check misses it. Without a mutant, of the engine as it is."""
    child, reading = _started(mutant, rows, reached)
    return _said(reading, os.waitpid(child, 0)[1])


def _started(mutant: Mutant | None, rows: list[Row], reached: dict[tuple[str, int], list[int]]) -> tuple[int, int]:
    gc.freeze()  # the children share what was read
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _live(mutant, rows, reached, writing)
    os.close(writing)
    return child, reading


def _said(reading: int, status: int) -> str | None:
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    survived = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
    return None if survived else said or "it did not end"


def _live(mutant: Mutant | None, rows: list[Row], reached: dict[tuple[str, int], list[int]], out: int) -> None:
    """The life of one mutant: exit code 0 when no check misses it. None: the engine as it is."""
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    code = 1
    try:
        _import_with(mutant)
        name = "import"
        for at in _checks(mutant, reached) or range(len(rows)):
            name = rows[at].name
            rows[at].run()
        code = 0
    except BaseException as error:  # noqa: BLE001 (whatever a mistake leads to)
        os.write(out, f"{name if code and 'name' in locals() else 'import'}: {type(error).__name__}".encode())
    finally:
        os._exit(code)


def _checks(mutant: Mutant | None, reached: dict[tuple[str, int], list[int]]) -> list[int]:
    """Those that reach the changed lines; none of a table, which is made at the import, and which all may look into."""
    if mutant is None or mutant.function == TABLE:
        return []
    path = str(_FOLDER / f"{mutant.module.removeprefix(_PACKAGE + '.').replace('.', '/')}.py")
    return sorted({at for line in mutant.lines for at in reached.get((path, line), ())})


def _import_with(mutant: Mutant | None) -> None:
    """Everything that knows the engine is imported anew; the changed module from its changed tree."""
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        if mutant is not None and fullname == mutant.module:
            return compile(mutant.tree(), self.get_filename(fullname), "exec", dont_inherit=True)
        return original(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
    _forget()
    importlib.import_module(f"{_PACKAGE}.engine")


def _forget() -> None:
    for name in list(sys.modules):
        if name.startswith(_HOLDERS) and name != _KEPT:
            del sys.modules[name]
            package, _, word = name.rpartition(".")
            if package in sys.modules and hasattr(sys.modules[package], word):
                delattr(sys.modules[package], word)  # `from package import word` would find the old one


if __name__ == "__main__":
    main()
