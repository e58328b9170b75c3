"""A syntax tree as cel-python's evaluator walks it.

The evaluator works on the parser's trees. They are built directly, without the levels of precedence in between and
without a text in between: rewritten trees need no syntax for what CEL has none for.
"""

from collections.abc import Callable
from typing import Any, Final

import lark

from gateway.policy.cel_tree import Call, Comprehension, Constant, Ident, ListOf, Node, Select, StructOf

STEPS: Final = "__steps"
_LOGICAL: Final = {"_&&_": "conditionaland", "_||_": "conditionalor"}


def build(root: Node, value: Callable[[object], Any]) -> Any:
    """The lark tree; `value` makes the evaluator's values of literals."""
    return _Builder(value).node(root)


def _tree(rule: str, children: list[Any]) -> Any:
    meta: Any = lark.tree.Meta()  # type: ignore[no-untyped-call]
    meta.line = meta.column = 1  # the evaluator's errors carry a position, which nobody reads
    return lark.Tree(rule, children, meta)


def _token(text: str) -> Any:
    return lark.Token("IDENT", text, line=1, column=1)


def _call(function: str, *arguments: Any) -> Any:
    return _tree("primary", [_tree("ident_arg", [_token(function), _tree("exprlist", list(arguments))])])


def _name(name: str) -> Any:
    return _tree("primary", [_tree("ident", [_token(name)])])


class _Builder:
    def __init__(self, value: Callable[[object], Any]) -> None:
        self.value = value

    def _constant(self, value: object) -> Any:
        return _tree("constant", [self.value(value)])

    def node(self, node: Node) -> Any:  # noqa: PLR0911 (one per kind)
        match node:
            case Constant():
                return self._constant(node.value)
            case Ident():
                return _name(node.name)
            case Select():
                function = "_has" if node.test_only else "_select"
                return _call(function, self.node(node.operand), self._constant(node.field))
            case Call():
                return self._call(node)
            case ListOf():
                items = [_tree("exprlist", [self.node(item) for item in node.elements])] if node.elements else []
                return _tree("primary", [_tree("list_lit", items)])
            case StructOf():
                parts = [
                    self.node(part) for e in node.entries if not isinstance(e.key, str) for part in (e.key, e.value)
                ]
                return _tree("map_of", parts)
            case _:
                return self._macro(node)

    def _call(self, node: Call) -> Any:  # noqa: PLR0911 (one per kind)
        arguments = [self.node(argument) for argument in node.args]
        if node.function == "_?_:_":
            return _tree("expr", [_call("_bool", arguments[0]), *arguments[1:]])
        if node.function in _LOGICAL:
            return _tree(_LOGICAL[node.function], [_call("_bool", argument) for argument in arguments])
        if node.function == "!_":
            return _tree("unary", [_tree("unary_not", []), _call("_bool", *arguments)])
        if node.function == "-_":
            return _call("_neg", *arguments)
        if isinstance(node.target, Ident) and node.target.name == "optional":
            return _call(f"_{node.function}", *arguments)
        if node.function == "orValue" and node.target is not None and len(arguments) == 1:
            return _tree("or_value", [self.node(node.target), *arguments])
        target = [] if node.target is None else [self.node(node.target)]
        return _call(node.function, *target, *arguments)

    def _macro(self, node: Comprehension) -> Any:
        name = node.accu_var.removeprefix("@")
        step = node.loop_step
        body = step.args[0] if name in ("exists_one", "filter") else step.args[1]  # type: ignore[union-attr]
        if name == "map":
            body = body.elements[0]  # type: ignore[union-attr]
        counted = self.node(body) if name == "map" else _call("_bool", self.node(body))
        counted = _call("_step", _name(STEPS), counted)
        items = _call("_items", self.node(node.iter_range))
        variable = _name(node.iter_var)
        return _tree("member_dot_arg", [items, _token(name), _tree("exprlist", [variable, counted])])
