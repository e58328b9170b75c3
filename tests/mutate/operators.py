"""Small mistakes, made in the syntax tree of a module: one node changed at a time."""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

TABLE: Final = "table"  # the function of what stands outside of functions
_LEFT_ALONE: Final = frozenset({"isinstance", "Element", "getattr", "min", "max"})
# What counts work is judged by tests/fhirpath/test_work.py, by measuring; its numbers are no mistakes of the language.
_METERS: Final = frozenset({"spend", "read", "weigh", "_count"})
_METER_NAMES: Final = ("_WORK", "_STEP", "_STATES", "_SIMPLE", "_ROOT", "_EXPONENTIAL", "_LOGARITHM", "_POWER")
_COMPARED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_CALCULATED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
}


@dataclass(frozen=True, slots=True)
class Change:
    """What takes the place of a node."""

    node: ast.AST
    what: str
    make: Callable[[], ast.AST]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One module with one mistake. `name` says which, without a line number; `lines` are those of the statement."""

    module: str
    function: str
    name: str
    lines: range
    whole: ast.Module
    change: Change

    def tree(self) -> ast.Module:
        """The module with the mistake in it."""
        made = ast.copy_location(self.change.make(), self.change.node)
        memo: dict[int, object] = {id(self.change.node): made}
        return ast.fix_missing_locations(copy.deepcopy(self.whole, memo))


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its text."""
    tree = ast.parse(source)
    seen: dict[str, int] = {}
    for function, statement, change in _places(tree):
        key = f"{module.removeprefix('gateway.fhirpath.')} {function}: {change.what}"
        seen[key] = seen.get(key, 0) + 1
        yield Mutant(
            module=module,
            function=function,
            name=key if seen[key] == 1 else f"{key} #{seen[key]}",
            lines=range(statement.lineno, (statement.end_lineno or statement.lineno) + 1),
            whole=tree,
            change=change,
        )


def _places(tree: ast.Module) -> Iterator[tuple[str, ast.expr | ast.stmt, Change]]:
    waiting: list[tuple[str, ast.AST, ast.expr | ast.stmt | None]] = [("", node, None) for node in reversed(tree.body)]
    while waiting:
        function, node, statement = waiting.pop()
        if _is_skipped(node):
            continue
        if isinstance(node, ast.stmt | ast.expr):
            statement = node if statement is None or isinstance(node, ast.stmt) else statement
            for change in _changes(node):
                yield function or TABLE, _simple(statement), change
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}" if function else node.name
        waiting += [(function, child, statement) for child in reversed(list(_children(node)))]


def _simple(statement: ast.expr | ast.stmt) -> ast.expr | ast.stmt:
    """Of a compound statement only its head."""
    if isinstance(statement, ast.If | ast.While):
        return statement.test
    return statement.iter if isinstance(statement, ast.For) else statement


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "args", "keywords") and not isinstance(
            node, ast.Call
        ):
            continue
        yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, ast.AST))


def _is_skipped(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        return name in _METERS or name in ("TypeVar", "compile", "lru_cache", "dataclass", "field")
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        return any(name.endswith(_METER_NAMES) or name == "__slots__" for name in names)
    return _is_of_work(node)


def _is_of_work(node: ast.AST) -> bool:
    """A function that counts, `env.left -= 1`, `if env.left < 0:`, sums with costs in them."""
    if isinstance(node, ast.FunctionDef):
        return node.name in _METERS
    if isinstance(node, ast.AugAssign):
        return isinstance(node.target, ast.Attribute) and node.target.attr == "left"
    if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
        return isinstance(node.test.left, ast.Attribute) and node.test.left.attr == "left"
    names = [one.id for one in ast.walk(node) if isinstance(one, ast.Name)] if isinstance(node, ast.BinOp) else []
    return any(name.endswith(_METER_NAMES) for name in names)


def _changes(node: ast.expr | ast.stmt) -> Iterator[Change]:
    for kind, changes in _KINDS:
        if isinstance(node, kind):
            yield from changes(node)


def _shown(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) < 70 else f"{text[:45]} … {text[-20:]}"


def _compare(node: ast.Compare) -> Iterator[Change]:
    (_, *more), other = node.ops, _COMPARED.get(type(node.ops[0]))
    if not more and other is not None:
        made = ast.Compare(node.left, [other()], node.comparators)
        yield Change(node, f"{_shown(node)} -> {_shown(made)}", lambda: made)


def _both(node: ast.BoolOp) -> Iterator[Change]:
    other = ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    yield Change(node, f"{_shown(node)} -> {_shown(other)}", lambda: other)
    for at in range(len(node.values)):
        rest = node.values[:at] + node.values[at + 1 :]
        made = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        yield Change(node, f"{_shown(node)} -> {_shown(made)}", lambda made=made: copy.copy(made))  # type: ignore[misc]


def _negation(node: ast.UnaryOp) -> Iterator[Change]:
    if isinstance(node.op, ast.Not | ast.USub):
        yield Change(node, f"{_shown(node)} -> {_shown(node.operand)}", lambda: copy.copy(node.operand))


def _calculation(node: ast.BinOp) -> Iterator[Change]:
    other = _CALCULATED.get(type(node.op))
    if other is not None and not isinstance(node.left, ast.Constant | ast.JoinedStr | ast.List):
        made = ast.BinOp(node.left, other(), node.right)
        yield Change(node, f"{_shown(node)} -> {_shown(made)}", lambda: made)


def _constant(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    made = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else None
    if made is not None:
        yield Change(node, f"{value!r} -> {made!r}", lambda: ast.Constant(made))


def _condition(node: ast.If) -> Iterator[Change]:
    for answer in (True, False):
        what = f"if {_shown(node.test)} -> if {answer}"
        yield Change(node.test, what, lambda answer=answer: ast.Constant(answer))  # type: ignore[misc]


def _choice(node: ast.IfExp) -> Iterator[Change]:
    made = ast.IfExp(node.test, node.orelse, node.body)
    yield Change(node, f"{_shown(node)} -> {_shown(made)}", lambda: made)


def _return(node: ast.Return) -> Iterator[Change]:
    value = node.value
    if isinstance(value, ast.Name) and value.id in ("TRUE", "FALSE"):
        other = ast.Name("FALSE" if value.id == "TRUE" else "TRUE", ast.Load())
        yield Change(value, f"return {value.id} -> return {other.id}", lambda: other)
    elif value is not None and ast.unparse(value) not in ("NONE", "None", "False"):  # nothing is no more true
        yield Change(value, f"return {_shown(value)} -> return nothing", lambda: ast.List([], ast.Load()))
    if isinstance(value, ast.Name) and value.id == "NONE":
        made = ast.List([ast.Constant(True)], ast.Load())
        yield Change(value, "return NONE -> return [True]", lambda: made)


def _call(node: ast.Call) -> Iterator[Change]:
    first, second = (*node.args, None, None)[:2]
    is_pair = len(node.args) == 2 and not any(isinstance(one, ast.Starred) for one in node.args)
    if is_pair and not (isinstance(node.func, ast.Name) and node.func.id in _LEFT_ALONE):
        assert first is not None
        assert second is not None
        made = ast.Call(node.func, [second, first], node.keywords)
        yield Change(node, f"{_shown(node)} -> {_shown(made)}", lambda: made)
    if isinstance(node.func, ast.Name) and node.func.id in ("all", "any", "min", "max"):
        other = {"all": "any", "any": "all", "min": "max", "max": "min"}[node.func.id]
        swapped = ast.Call(ast.Name(other, ast.Load()), node.args, node.keywords)
        yield Change(node, f"{_shown(node)} -> {_shown(swapped)}", lambda: swapped)


def _filter(node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> Iterator[Change]:
    for generator in node.generators:
        for test in generator.ifs:
            yield Change(test, f"if {_shown(test)} in a comprehension -> no condition", lambda: ast.Constant(True))


def _slice(node: ast.Subscript) -> Iterator[Change]:
    if isinstance(node.slice, ast.Slice):
        yield Change(node, f"{_shown(node)} -> {_shown(node.value)}", lambda: copy.copy(node.value))


_KINDS: Final[tuple[tuple[type[ast.AST] | tuple[type[ast.AST], ...], Callable[..., Iterator[Change]]], ...]] = (
    (ast.Compare, _compare),
    (ast.BoolOp, _both),
    (ast.UnaryOp, _negation),
    (ast.BinOp, _calculation),
    (ast.Constant, _constant),
    (ast.If, _condition),
    (ast.IfExp, _choice),
    (ast.Return, _return),
    (ast.Call, _call),
    ((ast.ListComp, ast.GeneratorExp, ast.SetComp), _filter),
    (ast.Subscript, _slice),
)
