"""What is wrong with a policy set: every problem of every file at once, each with its place and a hint."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class ProblemSeverity(StrEnum):
    """An error keeps the set from being used; a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem. `line` and `column` count from 1; `length` is the width of the caret; `excerpt` the source line."""

    file: str
    line: int
    column: int
    message: str
    hint: str | None = None
    severity: ProblemSeverity = ProblemSeverity.ERROR
    length: int = 1
    excerpt: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether the set cannot be used."""
        return self.severity is ProblemSeverity.ERROR

    def __str__(self) -> str:
        kind = "" if self.is_error else "warning: "
        return f"{self.file}:{self.line}:{self.column}: {kind}{self.message}"

    def render(self) -> str:
        """The problem as a person reads it: its place, the source line with a caret, and the hint."""
        lines = [str(self)]
        if self.excerpt is not None:
            room = max(1, len(self.excerpt) - self.column + 1)
            lines += [f"    {self.excerpt}", "    " + " " * (self.column - 1) + "^" * max(1, min(self.length, room))]
        if self.hint is not None:
            lines.append(f"    hint: {self.hint}")
        return "\n".join(lines)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each problem once, by file, line and column."""
    return tuple(sorted(set(problems), key=lambda p: (p.file, p.line, p.column, p.severity, p.message)))


class PolicyErrors(Exception):
    """A policy set that cannot be used. Carries every problem found, warnings included."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
