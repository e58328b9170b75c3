"""A CEL syntax tree as frozen values: what `cel.expr.Expr` says, without protobuf.

The shapes follow https://github.com/google/cel-spec/blob/master/proto/cel/expr/syntax.proto one to one; node ids
join a node to its type and its position in the `Tree` that holds it. An id of 0 means a node made by the gateway.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Scalar: TypeAlias = bool | int | float | str | bytes | None


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A `uint` literal, kept apart from `int`: CEL gives them different types."""

    value: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal."""

    value: Scalar | Unsigned
    id: int = 0


@dataclass(frozen=True, slots=True)
class Ident:
    """A name: a variable, a macro's iteration variable or (dotted) a qualified variable."""

    name: str
    id: int = 0


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or `has(operand.field)` when `test_only`."""

    operand: "Node"
    field: str
    test_only: bool = False
    id: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """`function(args)` or `target.function(args)`; operators are calls named `_==_`, `_&&_`, `_?._` and so on."""

    function: str
    args: "tuple[Node, ...]" = ()
    target: "Node | None" = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list literal. `optional` holds the indices of the `?` elements."""

    elements: "tuple[Node, ...]" = ()
    optional: tuple[int, ...] = ()
    id: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a map or message literal. `key` is a node for maps and a field name for messages."""

    key: "Node | str"
    value: "Node"
    optional: bool = False
    id: int = 0


@dataclass(frozen=True, slots=True)
class StructOf:
    """A map literal, or a message literal when `message` is not empty."""

    message: str = ""
    entries: tuple[Entry, ...] = ()
    id: int = 0


@dataclass(frozen=True, slots=True)
class Comprehension:
    """What the macros `all`, `exists`, `exists_one`, `map` and `filter` expand to."""

    iter_var: str
    iter_range: "Node"
    accu_var: str
    accu_init: "Node"
    loop_condition: "Node"
    loop_step: "Node"
    result: "Node"
    iter_var2: str = ""
    id: int = 0


Node: TypeAlias = Constant | Ident | Select | Call | ListOf | StructOf | Comprehension


@dataclass(frozen=True, slots=True)
class Type:
    """A checked type. `kind`: dyn, null, list, map, message, optional, type, error, function, or a primitive's name.

    `name` is the message name (`fhir.Observation`); `items` is the element type of a list or optional.
    """

    kind: str
    name: str = ""
    items: "Type | None" = None


DYN = Type("dyn")


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed (`types` empty) or checked expression. `positions`: node id -> code point offset, 0-based."""

    root: Node
    types: Mapping[int, Type] = field(default_factory=dict)
    positions: Mapping[int, int] = field(default_factory=dict)

    def type_of(self, node: Node) -> Type:
        """The checked type of a node; `dyn` where the checker recorded none."""
        return self.types.get(node.id, DYN)


def children(node: Node) -> tuple[Node, ...]:
    """The direct parts of a node, in source order."""
    match node:
        case Select():
            return (node.operand,)
        case Call():
            return node.args if node.target is None else (node.target, *node.args)
        case ListOf():
            return node.elements
        case StructOf():
            return tuple(
                part for e in node.entries for part in ((e.value,) if isinstance(e.key, str) else (e.key, e.value))
            )
        case Comprehension():
            return (node.iter_range, node.accu_init, node.loop_condition, node.loop_step, node.result)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """Every node, parents before their parts."""
    yield node
    for part in children(node):
        yield from walk(part)
