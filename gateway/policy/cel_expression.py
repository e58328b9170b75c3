"""What the expressions of both CEL engines have in common: what they read, and how several are joined into one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gateway.policy import cel_check, cel_lenient
from gateway.policy.cel_cost import Loops
from gateway.policy.cel_tree import Node
from gateway.policy.expression import Compiled, Evaluated, ExpressionProblem

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class CelSource(ABC, Generic[P]):
    """A compiled CEL source: one program per resource type (shared where the types read alike)."""

    source: str
    reading: cel_check.Reading
    roots: Mapping[str, Node]
    programs: Mapping[str, P]
    keeps_value: bool = False
    warnings: tuple[ExpressionProblem, ...] = ()
    loops: Loops = field(default_factory=Loops)

    @property
    def names(self) -> frozenset[str]:
        """The subset of NAMES that is read."""
        return self.reading.names

    @property
    def lets(self) -> frozenset[str]:
        """Which `let.x` is read."""
        return self.reading.lets

    @property
    def elements(self) -> frozenset[tuple[str, str]]:
        """What is read of each name."""
        return self.reading.elements

    @abstractmethod
    def evaluate(self, bound: object) -> Evaluated:
        """As `Compiled`."""


E = TypeVar("E", bound=CelSource[object])


def join(
    parts: tuple[Compiled, ...], kind: type[E], programs: Callable[[Mapping[str, Node]], Mapping[str, object]]
) -> E | None:
    """One expression that is true exactly when every part is; None for no parts, foreign parts or no shared type.

    Types for which every part reads alike share one tree.
    """
    mine = [part for part in parts if isinstance(part, kind)]
    if not mine or len(mine) != len(parts):
        return None
    shared = frozenset.intersection(*(frozenset(part.roots) for part in mine))
    if not shared:
        return None
    joined: dict[tuple[int, ...], Node] = {}
    roots = {}
    for name in sorted(shared):
        trees = tuple(part.roots[name] for part in mine)
        key = tuple(map(id, trees))
        roots[name] = joined.get(key) or joined.setdefault(key, cel_lenient.conjunction(trees))
    return kind(
        source=" && ".join(f"({part.source})" for part in mine),
        reading=cel_check.Reading.union([part.reading for part in mine]),
        roots=roots,
        programs=programs(roots),
        loops=Loops.union([part.loops for part in mine]),
    )
