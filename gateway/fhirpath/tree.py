"""The tree of an expression: frozen nodes, each with its place in the text.

`offset` and `length` count code points from the start of the source. `a.b` is a `Path` whose step is a `Member`, a
`Function` or one of `$this`, `$index`, `$total`; a bare `a` is the `Member` alone, asked of the current `$this`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.temporal import Temporal


class Long(int):
    """An integer of 64 bits, written with an `L` (https://build.fhir.org/ig/HL7/FHIRPath/#long)."""

    __slots__ = ()


Constant: TypeAlias = str | bool | int | Decimal | Temporal | Quantity


@dataclass(frozen=True, slots=True)
class Node:
    """Any node."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A constant. The type of `value` is its System type; a Long is a `Long`."""

    value: Constant


@dataclass(frozen=True, slots=True)
class Empty(Node):
    """`{}`."""


@dataclass(frozen=True, slots=True)
class This(Node):
    """`$this`."""


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`$index`."""


@dataclass(frozen=True, slots=True)
class Total(Node):
    """`$total`."""


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """`%name`: an external constant, or what `defineVariable` named."""

    name: str


@dataclass(frozen=True, slots=True)
class Member(Node):
    """An element (or, as the first step, a type) by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Function(Node):
    """`name(arguments)`, asked of the base of its `Path`, or of `$this`."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Path(Node):
    """`base.step`."""

    base: Node
    step: Node


@dataclass(frozen=True, slots=True)
class Indexer(Node):
    """`base[index]`."""

    base: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`+operand` or `-operand`."""

    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`left operator right`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class TypeOp(Node):
    """`operand is Type` or `operand as Type`; `type` is the written name (`Quantity`, `System.String`)."""

    operator: str
    operand: Node
    type: str


@dataclass(frozen=True, slots=True)
class SortKey(Node):
    """An argument of `sort` that says its direction: `sort(family desc)`."""

    operand: Node
    descending: bool


def operands(node: Node) -> tuple[Node, ...]:
    """The direct parts of a node, in the order of the text."""
    read = _OPERANDS.get(type(node))
    return () if read is None else read(node)


_OPERANDS: Final[dict[type[Node], Callable[..., tuple[Node, ...]]]] = {
    Path: lambda node: (node.base, node.step),
    Function: lambda node: node.arguments,
    Binary: lambda node: (node.left, node.right),
    Indexer: lambda node: (node.base, node.index),
    **dict.fromkeys((Unary, TypeOp, SortKey), lambda node: (node.operand,)),
}


def type_name(node: Node) -> str | None:
    """The type that an argument names (`FHIR.Patient` in `ofType(FHIR.Patient)`), or None."""
    if isinstance(node, Member):
        return node.name
    if isinstance(node, Path) and isinstance(node.base, Member) and isinstance(node.step, Member):
        return f"{node.base.name}.{node.step.name}"
    return None
