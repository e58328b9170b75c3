"""CEL text to a syntax tree, by cel-python's parser.

Its grammar knows no optional syntax: `x.?name` and `x[?i]` are spelled without the `?`, in as many characters, and
the places are remembered. Macros become the comprehensions that the specification defines
(https://github.com/google/cel-spec/blob/master/doc/langdef.md#macros), named by their accumulator (`@exists`).
"""

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import lark
from celpy.celparser import CELParseError, CELParser
from celpy.evaluation import celbytes, celstr

from gateway.policy.cel_source import spell
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
    Unsigned,
)

_Rule: TypeAlias = Any  # a lark tree, whose children are trees or tokens
_OPTIONAL: Final = re.compile(
    r"""("[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'|//[^\n]*)|\.\?(\s*)([A-Za-z_]\w*)|\[\?"""
)
_MACROS: Final = frozenset({"all", "exists", "exists_one", "filter", "map"})
_FILTERED: Final = 3  # map() with a condition
_OPERATORS: Final = {
    "relation_lt": "_<_",
    "relation_le": "_<=_",
    "relation_gt": "_>_",
    "relation_ge": "_>=_",
    "relation_eq": "_==_",
    "relation_ne": "_!=_",
    "relation_in": "@in",
    "addition_add": "_+_",
    "addition_sub": "_-_",
    "multiplication_mul": "_*_",
    "multiplication_div": "_/_",
    "multiplication_mod": "_%_",
    "unary_not": "!_",
    "unary_neg": "-_",
}
_INT_BITS: Final = 63


class CelSyntaxError(Exception):
    """The text is not CEL. `offset` counts code points from 0."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def parse(source: str) -> Tree:
    """The tree of a source text, untyped. Raises CelSyntaxError."""
    optionals: set[int] = set()

    def without_mark(found: re.Match[str]) -> str:
        if found[1]:
            return found[0]
        optionals.add(found.start())
        return f"._{found[3]}{found[2]}" if found[3] else "[ "

    text = _OPTIONAL.sub(without_mark, spell(source))
    try:
        tree = CELParser().parse(text)
    except CELParseError as problem:
        raise CelSyntaxError("syntax error", _offset(source, problem.line or 1, problem.column or 1)) from problem
    reader = _Reader(text, optionals)
    root = reader.node(tree)
    if reader.optionals:
        raise CelSyntaxError("optional list and map entries are not supported here", min(reader.optionals))
    return Tree(root, positions=reader.positions)


def _offset(source: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = source.find("\n", start) + 1
    return max(0, min(start + column - 1, len(source)))


class _Reader:
    def __init__(self, text: str, optionals: set[int]) -> None:
        self.text, self.optionals = text, optionals
        self.positions: dict[int, int] = {}

    def _new(self, at: int) -> int:
        number = len(self.positions) + 1
        self.positions[number] = at
        return number

    def _after(self, tree: _Rule) -> int:
        """Where the next word begins after a rule; `[]` and `{}` do not tell where they end."""
        at: int = tree.meta.end_pos or 0
        return at + len(self.text[at:]) - len(self.text[at:].lstrip())

    def node(self, tree: _Rule) -> Node:
        """Skips the grammar's levels of precedence down to the rule that says something."""
        while len(tree.children) == 1 and tree.data in _LEVELS:
            tree = tree.children[0]
        return _READERS[tree.data](self, tree)

    def ternary(self, tree: _Rule) -> Node:
        parts = tuple(map(self.node, tree.children))
        return Call("_?_:_", parts, id=self._new(self._after(tree.children[0])))

    def logical(self, tree: _Rule) -> Node:
        function = "_||_" if tree.data == "conditionalor" else "_&&_"
        left, right = map(self.node, tree.children)
        return Call(function, (left, right), id=self._new(self._after(tree.children[0])))

    def binary(self, tree: _Rule) -> Node:
        partial, right = tree.children
        left = self.node(partial.children[0])
        at = self._after(partial.children[0])
        return Call(_OPERATORS[partial.data], (left, self.node(right)), id=self._new(at))

    def unary(self, tree: _Rule) -> Node:
        sign, operand = tree.children
        return Call(_OPERATORS[sign.data], (self.node(operand),), id=self._new(tree.meta.start_pos or 0))

    def select(self, tree: _Rule) -> Node:
        operand, token = tree.children
        name, at = str(token), token.start_pos
        if at - 1 in self.optionals:
            self.optionals.discard(at - 1)
            field = Constant(name[1:], self._new(at + 1))
            return Call("_?._", (self.node(operand), field), id=self._new(at - 1))
        inner = self.node(operand)
        if inner == Ident("params", inner.id):
            return Ident(f"params.{name}", self._new(at))
        return Select(inner, name, id=self._new(at))

    def method(self, tree: _Rule) -> Node:
        target, token = self.node(tree.children[0]), tree.children[1]
        arguments = self._arguments(tree.children[2:])
        name = str(token)
        if name in _MACROS and arguments and isinstance(arguments[0], Ident):
            variable, at = arguments[0].name, token.start_pos
            if name == "map" and len(arguments) == _FILTERED:
                target, arguments = self._macro("filter", target, variable, arguments[1], at), arguments[1:]
            if len(arguments) == 2:  # noqa: PLR2004 (variable and body)
                return self._macro(name, target, variable, arguments[1], at)
        return Call(name, arguments, target, self._new(token.start_pos))

    def function(self, tree: _Rule) -> Node:
        token = tree.children[0]
        arguments = self._arguments(tree.children[1:])
        if str(token) == "has":
            if len(arguments) == 1 and isinstance(arguments[0], Select):
                return Select(arguments[0].operand, arguments[0].field, True, self._new(token.start_pos))
            raise CelSyntaxError("has() takes one element path", token.start_pos)
        return Call(str(token), arguments, id=self._new(token.start_pos))

    def _arguments(self, found: list[_Rule]) -> tuple[Node, ...]:
        return tuple(self.node(item) for part in found for item in part.children)

    def _macro(self, name: str, items: Node, variable: str, body: Node, at: int) -> Node:
        accu: Node = Ident(f"@{name}")
        true, one = Constant(True), Constant(1)
        init: Node = ListOf()
        step: Node = Call("_+_", (accu, ListOf((body,))))
        result = accu
        match name:
            case "all":
                init, step = true, Call("_&&_", (accu, body))
            case "exists":
                init, step = Constant(False), Call("_||_", (accu, body))
            case "exists_one":
                init, step = Constant(0), Call("_?_:_", (body, Call("_+_", (accu, one)), accu))
                result = Call("_==_", (accu, one))
            case "filter":
                step = Call("_?_:_", (body, Call("_+_", (accu, ListOf((Ident(variable),)))), accu))
        return Comprehension(variable, items, f"@{name}", init, true, step, result, id=self._new(at))

    def index(self, tree: _Rule) -> Node:
        operand, index = tree.children
        at = self._after(operand)
        function = "_[?_]" if at in self.optionals else "_[_]"
        self.optionals.discard(at)
        return Call(function, (self.node(operand), self.node(index)), id=self._new(at))

    def message(self, tree: _Rule) -> Node:
        return StructOf("message", id=self._new(tree.meta.start_pos or 0))

    def ident(self, tree: _Rule) -> Node:
        return Ident(str(tree.children[0]), self._new(tree.children[0].start_pos))

    def inner(self, tree: _Rule) -> Node:
        return self.node(tree.children[0])

    def list_of(self, tree: _Rule) -> Node:
        return ListOf(self._arguments(tree.children), id=self._new(tree.meta.start_pos or 0))

    def map_of(self, tree: _Rule) -> Node:
        nodes = self._arguments(tree.children)
        entries = tuple(Entry(key, value) for key, value in zip(nodes[::2], nodes[1::2], strict=True))
        return StructOf(entries=entries, id=self._new(tree.meta.start_pos or 0))

    def literal(self, tree: _Rule) -> Node:
        token = tree.children[0]
        try:
            value = _LITERALS[token.type](token)
        except (ValueError, OverflowError) as problem:
            raise CelSyntaxError("not a literal of CEL", token.start_pos) from problem
        return Constant(value, self._new(token.start_pos))


def _integer(token: lark.Token) -> int:
    value = int(token, 16 if "x" in token.lower() else 10)
    if not -(2**_INT_BITS) <= value < 2**_INT_BITS:
        raise ValueError("past 64 bits")
    return value


_LITERALS: Final[dict[str, Callable[[lark.Token], bool | int | float | str | bytes | Unsigned | None]]] = {
    "INT_LIT": _integer,
    "UINT_LIT": lambda token: Unsigned(int(token[:-1], 16 if "x" in token.lower() else 10)),
    "FLOAT_LIT": float,
    "STRING_LIT": lambda token: str(celstr(token)),
    "MLSTRING_LIT": lambda token: str(celstr(token)),
    "BYTES_LIT": lambda token: bytes(celbytes(token)),
    "BOOL_LIT": lambda token: str(token) == "true",
    "NULL_LIT": lambda _: None,
}
_LEVELS: Final = frozenset(
    {"expr", "conditionalor", "conditionaland", "relation", "addition", "multiplication", "unary", "member", "primary"}
)
_READERS: Final[dict[str, Callable[[_Reader, _Rule], Node]]] = {
    "expr": _Reader.ternary,
    "conditionalor": _Reader.logical,
    "conditionaland": _Reader.logical,
    "relation": _Reader.binary,
    "addition": _Reader.binary,
    "multiplication": _Reader.binary,
    "unary": _Reader.unary,
    "member_dot": _Reader.select,
    "member_dot_arg": _Reader.method,
    "member_index": _Reader.index,
    "member_object": _Reader.message,
    "ident": _Reader.ident,
    "dot_ident": _Reader.ident,
    "ident_arg": _Reader.function,
    "dot_ident_arg": _Reader.function,
    "paren_expr": _Reader.inner,
    "list_lit": _Reader.list_of,
    "map_lit": _Reader.map_of,
    "literal": _Reader.literal,
}
