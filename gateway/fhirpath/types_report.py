"""Where the static pass puts what it finds, and the names that it may rely on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.fhirpath.model import Model
from gateway.fhirpath.problem import Problem
from gateway.fhirpath.tree import Node
from gateway.fhirpath.types_facts import Static


@dataclass(slots=True, kw_only=True)
class Report:
    """The problems of one tree, in the order in which they were met. `quiet`: nobody wants them."""

    model: Model
    names: Mapping[str, Static]
    types: tuple[str, ...] = ()
    quiet: bool = False
    problems: list[Problem] = field(default_factory=list)

    def problem(self, at: Node, message: str, hint: str | None = None, length: int | None = None) -> None:
        """Something that cannot be right."""
        self._add(at, message, hint, length, is_warning=False)

    def fails(self, at: Node, message: str, hint: str | None = None, length: int | None = None) -> None:
        """Something that the evaluation can only fail on."""
        self._add(at, message, hint, length, is_warning=False, kind="execution")

    def fixed(self, at: Node, message: str, hint: str | None = None) -> None:
        """Something that always has the same answer, such as `=` of a code and a number."""
        self._add(at, message, hint, None, is_warning=False, kind="fixed")

    def absent(self, at: Node, message: str, hint: str | None = None) -> None:
        """An element that the model has not, or not here."""
        self._add(at, message, hint, None, is_warning=False, is_absent=True)

    def code(self, at: Node, message: str, hint: str, *, is_warning: bool) -> None:
        """A literal that is none of the codes of its element."""
        self._add(at, message, hint, None, is_warning=is_warning, kind="fixed")

    def warning(self, at: Node, message: str, hint: str | None = None) -> None:
        """Something that is right for few inputs."""
        self._add(at, message, hint, None, is_warning=True)

    def several(self, at: Node, value: Static, message: str, hint: str | None = None) -> None:
        """One value is needed: certainly wrong where there are always several, else for some inputs."""
        self._add(at, message, hint, None, is_warning=value.least <= 1, kind="execution")

    def _add(
        self,
        at: Node,
        message: str,
        hint: str | None,
        length: int | None,
        *,
        is_warning: bool,
        is_absent: bool = False,
        kind: str = "semantic",
    ) -> None:
        if not self.quiet:
            self.problems.append(
                Problem(
                    message=message,
                    offset=at.offset,
                    length=at.length if length is None else length,
                    hint=hint,
                    is_warning=is_warning,
                    is_absent=is_absent,
                    kind=kind,
                )
            )

    def found(self) -> tuple[Problem, ...]:
        """Each problem once, in the order of the text."""
        unique = {(problem.offset, problem.message): problem for problem in self.problems}
        return tuple(sorted(unique.values(), key=lambda problem: problem.offset))
