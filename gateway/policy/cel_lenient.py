"""Gives a checked CEL tree the meaning of absent elements that the policy language promises.

CEL alone fails when a key is absent. In FHIR nearly every element is optional and an absent repeating element is
an empty list (http://hl7.org/fhir/R4/json.html: arrays are never empty, they are left out). So, for elements that
the FHIR model knows (never inside `claims` and other untyped values):

- `x.list` reads as `x.?list.orValue([])`, with every element above it optional too;
- `has(a.b.c)` becomes `a.?b.?c.hasValue()`, or asks for a non-empty list where `c` repeats;
- what the author's own `?` follows may be absent as well: `resource.meta.?versionId` never fails over `meta`;
- a single element that is read bare stays as it is, and fails when it is absent;
- of an optional, `x[0]` reads as `x[?0]`.

On the way declared `params` become literals, so that programs of several policies can share one activation, and
`request.time` becomes a timestamp.
"""

from collections.abc import Mapping
from dataclasses import replace

from gateway.policy.cel_tree import (
    Call,
    Comprehension,
    Constant,
    Entry,
    Ident,
    ListOf,
    Node,
    Select,
    StructOf,
    Tree,
)
from gateway.policy.cel_types import Types
from gateway.policy.cel_values import plain

NULLABLE = frozenset({"prior", "patient", "stored"})  # null when there is none, and then like a record of nothing
_EMPTY = ListOf()


def lenient(tree: Tree, types: Types, params: Mapping[str, object]) -> Node:
    """The tree to evaluate on plain JSON values. `params`: declared name -> JSON value."""
    return _Lenient(tree, types, params).strict(tree.root)


def literal(value: object) -> Node:
    """A JSON value as an expression. Raises TypeError for anything else (`cel_check.check_params` comes first)."""
    match value:
        case None | bool() | int() | float() | str():
            return Constant(value)
        case list() | tuple():
            return ListOf(tuple(literal(item) for item in value))
        case Mapping():
            return StructOf(entries=tuple(Entry(Constant(str(k)), literal(v)) for k, v in value.items()))
        case _:
            raise TypeError(f"not a JSON value: {type(value).__name__}")


def conjunction(roots: tuple[Node, ...]) -> Node:
    """`&&` of at least one tree, balanced, so that hundreds of rules stay shallow."""
    if len(roots) == 1:
        return roots[0]
    middle = len(roots) // 2
    return Call("_&&_", (conjunction(roots[:middle]), conjunction(roots[middle:])))


class _Lenient:
    def __init__(self, tree: Tree, types: Types, params: Mapping[str, object]) -> None:
        self.tree, self.types = tree, types
        self.literals = {f"params.{name}": literal(plain(value)) for name, value in params.items()}

    def strict(self, node: Node) -> Node:  # noqa: PLR0911 (one per kind)
        """The node as a value: an absent single element fails."""
        match node:
            case Ident():
                return self.literals.get(node.name, node)
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListOf():
                return replace(node, elements=tuple(map(self.strict, node.elements)))
            case StructOf():
                return replace(node, entries=tuple(map(self._entry, node.entries)))
            case Comprehension():
                return replace(
                    node,
                    iter_range=self.strict(node.iter_range),
                    accu_init=self.strict(node.accu_init),
                    loop_condition=self.strict(node.loop_condition),
                    loop_step=self.strict(node.loop_step),
                    result=self.strict(node.result),
                )
            case _:
                return node

    def _select(self, node: Select) -> Node:
        message = self._message(node.operand)
        if message is None:
            return replace(node, operand=self.strict(node.operand))
        repeats = self.types.repeats(message, node.field)
        if node.test_only:
            found = self._optional_select(node.operand, Constant(node.field))
            if not repeats:
                return Call("hasValue", target=found)
            return Call("_>_", (Call("size", (Call("orValue", (_EMPTY,), found),)), Constant(0)))
        if repeats:
            return Call("orValue", (_EMPTY,), self._optional_select(node.operand, Constant(node.field)))
        read = replace(node, operand=self.strict(node.operand))
        return Call("timestamp", (read,)) if self.types.is_timestamp(message, node.field) else read

    def _call(self, node: Call) -> Node:
        if node.function == "_?._" and self._message(node.args[0]) is not None:
            return self._optional_select(node.args[0], node.args[1])
        if node.function == "_[_]" and self.tree.type_of(node.args[0]).kind == "optional":
            # Of an optional the C++ engine's `[9]` gives an optional that holds the error: hasValue() would be true.
            node = replace(node, function="_[?_]")
        target = None if node.target is None else self.strict(node.target)
        return replace(node, target=target, args=tuple(map(self.strict, node.args)))

    def _entry(self, entry: Entry) -> Entry:
        key = entry.key if isinstance(entry.key, str) else self.strict(entry.key)
        return replace(entry, key=key, value=self.strict(entry.value))

    def _optional_select(self, operand: Node, field: Node) -> Node:
        return Call("_?._", (self._optional(operand), field))

    def _optional(self, node: Node) -> Node:
        """The node as something that `.?` can look into, absent or not: `a.b` becomes `a.?b`."""
        if isinstance(node, Select) and not node.test_only and self._message(node.operand) is not None:
            return self._optional_select(node.operand, Constant(node.field))
        if isinstance(node, Ident) and node.name in NULLABLE:
            return Call("ofNonZeroValue", (node,), Ident("optional"))
        return self.strict(node)

    def _message(self, node: Node) -> str | None:
        found = self.tree.type_of(node)
        return found.name if found.kind == "message" else None
