"""`make sabotage`: each safety line is removed in a copy of the tree; at least one test has to go red.

A red test is run again with the line back in its place, and has to be green: only then it missed the line.
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.sabotage.lines import LINES, Line

ROOT = Path(__file__).parents[2]
_COPIED = ("gateway", "tests", "policies", "deploy", "pyproject.toml", "README.md", "Makefile", "requirements.lock")
_SECONDS = 240
_RED, _GREEN = 1, 0
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/[^\s\[]+(?:\[.*?\](?= - |$))?)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one line fared. `problem` is None when a test missed it; `by` is that test."""

    line: Line
    by: str
    problem: str | None
    seconds: float


class Copy:
    """A copy of the tree in which tests run against the copied product."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy2(source, folder / name)
        where = self._run([sys.executable, "-c", "import gateway; print(gateway.__file__)"]).stdout
        assert Path(where.strip()).is_relative_to(folder), f"the copy would test {where.strip()}"

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1", "SEEDS": "0-400"}
        try:
            return subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            return subprocess.CompletedProcess(command, 124, stdout=str(late.stdout), stderr="")

    def tests(self, *which: str) -> "subprocess.CompletedProcess[str]":
        """Run tests until the first that fails."""
        return self._run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *which]
        )

    def sabotage(self, line: Line) -> Verdict:
        """Remove the line, see what goes red, put the line back, see it go green."""
        started = time.monotonic()
        path = self.folder / line.file
        text = path.read_text()
        changed = text
        for was, instead in line.edits:
            if changed.count(was) != 1:
                return Verdict(line=line, by="", problem=f"stands {changed.count(was)} times in {line.file}", seconds=0)
            changed = changed.replace(was, instead)
        if path.suffix == ".py":
            compile(changed, line.file, "exec")
        path.write_text(changed)
        try:
            ended = self.tests(*line.tests)
        finally:
            path.write_text(text)
        by, problem = self._judge(ended)
        return Verdict(line=line, by=by, problem=problem, seconds=time.monotonic() - started)

    def _judge(self, ended: "subprocess.CompletedProcess[str]") -> tuple[str, str | None]:
        if ended.returncode == _GREEN:
            return "", "no test misses it"
        found = _FAILED.search(ended.stdout)
        if ended.returncode != _RED or found is None:
            return "", f"pytest ended with {ended.returncode}: {ended.stdout[-1500:]}{ended.stderr[-500:]}"
        again = self.tests(found[1])
        if again.returncode != _GREEN:
            return found[1], f"red with the line in its place, too: {again.stdout[-1500:]}"
        return found[1], None


def main() -> None:
    """Exit code 1 when a line is not missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sabotage", description=__doc__)
    parser.add_argument("words", nargs="*", help="only lines whose name has one of these words")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    chosen = [line for line in LINES if not arguments.words or any(word in line.name for word in arguments.words)]
    waiting: queue.SimpleQueue[Line] = queue.SimpleQueue()
    for line in chosen:
        waiting.put(line)
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="sabotage-") as folder:

        def work(number: int) -> None:
            copy = Copy(Path(folder) / str(number))
            while not waiting.empty():
                verdict = copy.sabotage(waiting.get())
                verdicts.append(verdict)
                told = f"missed by {verdict.by}" if verdict.problem is None else f"NOT MISSED: {verdict.problem}"
                sys.stdout.write(f"{verdict.seconds:5.1f} s  {verdict.line.name}: {told}\n")
                sys.stdout.flush()

        workers = [threading.Thread(target=work, args=(number,)) for number in range(arguments.workers)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    survivors = [verdict for verdict in verdicts if verdict.problem is not None]
    sys.stdout.write(f"{len(verdicts) - len(survivors)} of {len(chosen)} safety lines are missed when they are gone\n")
    sys.exit(1 if survivors or len(verdicts) != len(chosen) else 0)


if __name__ == "__main__":
    main()
