"""What a checked tree reads."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.policy.cel_source import LET
from gateway.policy.cel_tree import Call, Comprehension, Ident, Node, Select, Tree, children
from gateway.policy.expression import NAMES


@dataclass(frozen=True, slots=True)
class Reading:
    """`names`: the subset of NAMES that is read. `lets`: which `let.x`. `written`: elements and functions named."""

    names: frozenset[str] = frozenset()
    lets: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()

    @staticmethod
    def union(parts: "Iterable[Reading]") -> "Reading":
        """What all of them read together."""
        found = list(parts)
        return Reading(
            names=frozenset().union(*(part.names for part in found)),
            lets=frozenset().union(*(part.lets for part in found)),
            written=frozenset().union(*(part.written for part in found)),
        )


def read(tree: Tree) -> Reading:
    """Collects what the tree reads; iteration variables of macros hide names."""
    names: set[str] = set()
    lets: set[str] = set()
    written: set[str] = set()

    def visit(node: Node, hidden: frozenset[str]) -> None:
        match node:
            case Ident() if node.name not in hidden:
                names.add(_name(node.name))
            case Select():
                written.add(node.field)
                if isinstance(node.operand, Ident) and node.operand.name == LET and LET not in hidden:
                    lets.add(node.field)
            case Call():
                written.add(node.function)
            case Comprehension():
                visit(node.iter_range, hidden)
                visit(node.accu_init, hidden)
                inside = hidden | {node.iter_var, node.iter_var2, node.accu_var}
                for part in (node.loop_condition, node.loop_step, node.result):
                    visit(part, inside)
                return
        for part in children(node):
            visit(part, hidden)

    visit(tree.root, frozenset())
    return Reading(frozenset(names & set(NAMES)), frozenset(lets), frozenset(written))


def _name(written: str) -> str:
    return "let" if written == LET else written.partition(".")[0]
