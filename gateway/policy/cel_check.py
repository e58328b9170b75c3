"""What the gateway itself checks on a tree that the engine's type checker has passed, and what the tree reads."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import re2  # the same expressions as the engine's own RE2 takes

from gateway.policy.cel_problems import Draft, closest, spoken
from gateway.policy.cel_source import LET
from gateway.policy.cel_tree import (
    Call,
    Comprehension,
    Constant,
    Ident,
    ListOf,
    Node,
    Select,
    StructOf,
    Tree,
    children,
    walk,
)
from gateway.policy.cel_types import Types
from gateway.policy.cel_values import is_json
from gateway.policy.expression import NAMES, ExpressionProblem, Scope

_QUIET = re2.Options()
_QUIET.log_errors = False  # the problem is listed with its position instead
_JSON_KINDS = frozenset({"dyn", "null", "list", "map", "message", "bool", "int", "uint", "double", "string"})


@dataclass(frozen=True, slots=True)
class Reading:
    """`names`: the subset of NAMES that is read. `lets`: which `let.x`. `written`: elements and functions named.

    `elements`: (name, element) for everything read of a name, and (name, "") where it is read whole.
    """

    names: frozenset[str] = frozenset()
    lets: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    elements: frozenset[tuple[str, str]] = frozenset()

    @staticmethod
    def union(parts: "Iterable[Reading]") -> "Reading":
        """What all of them read together."""
        found = list(parts)
        return Reading(
            names=frozenset().union(*(part.names for part in found)),
            lets=frozenset().union(*(part.lets for part in found)),
            written=frozenset().union(*(part.written for part in found)),
            elements=frozenset().union(*(part.elements for part in found)),
        )


def read(tree: Tree) -> Reading:
    """Collects what the tree reads; the variables of macros hide names."""
    names: set[str] = set()
    lets: set[str] = set()
    written: set[str] = set()
    for node, hidden in _scoped(tree.root, frozenset()):
        match node:
            case Ident() if node.name not in hidden:
                names.add("let" if node.name == LET else node.name.partition(".")[0])
            case Select():
                written.add(node.field)
                if isinstance(node.operand, Ident) and node.operand.name == LET and LET not in hidden:
                    lets.add(node.field)
            case Call():
                written.add(node.function)
                if node.function == "_?._" and node.args[0] == Ident(LET, node.args[0].id):
                    lets.add(str(_text(node.args[1])))
    return Reading(
        frozenset(names & set(NAMES)), frozenset(lets), frozenset(written), frozenset(_elements(tree.root, frozenset()))
    )


def _elements(node: Node, hidden: frozenset[str]) -> Iterator[tuple[str, str]]:
    """What is read of every name. Whatever is no plain read of an element reads the whole: `resource == prior`."""
    match node:
        case Call(function="_==_" | "_!=_", args=(Ident() as operand, Constant(value=None))):
            read = None  # neither null nor not null depends on an element
        case Call(function="_?._" | "_[_]", args=(Ident() as operand, Constant(value=str(element)))):
            read = element
        case Select(operand=Ident() as operand, field=element):
            read = element
        case Ident() as operand:
            read = ""
        case Comprehension():
            inside = hidden | {node.iter_var, node.iter_var2, node.accu_var}
            for part in (node.iter_range, node.accu_init):
                yield from _elements(part, hidden)
            for part in (node.loop_condition, node.loop_step, node.result):
                yield from _elements(part, inside)
            return
        case _:
            for part in children(node):
                yield from _elements(part, hidden)
            return
    if read is not None and operand.name not in hidden:
        yield operand.name, read


def check_params(scope: Scope) -> tuple[ExpressionProblem, ...]:
    """Parameters that cannot be written as literals: YAML knows dates and other values that JSON has not."""
    wrong = [name for name, value in scope.params.items() if not is_json(value)]
    return tuple(
        ExpressionProblem(message=f"parameter '{name}' is not a JSON value", hint="quote it") for name in wrong
    )


def check(tree: Tree, scope: Scope, types: Types) -> list[Draft]:
    """Errors first, then warnings about optional elements that are read bare."""
    drafts = [*_result(tree, scope), *_lets(tree, scope)]
    for node in walk(tree.root):
        match node:
            case Call(function="matches"):
                drafts += _pattern(tree, node, scope)
            case Call(function="_==_" | "_!=_", args=(left, right)):
                drafts += _codes(tree, types, left, (right,))
                drafts += _codes(tree, types, right, (left,))
            case Call(function="@in", args=(left, ListOf() as right)):
                drafts += _codes(tree, types, left, right.elements)
            case StructOf() if node.message:
                drafts.append(Draft(_at(tree, node), "a rule cannot make resources or datatypes"))
    return drafts + _bare_reads(tree, types)


def _at(tree: Tree, node: Node) -> int:
    return tree.positions.get(node.id, 0)


def _scoped(node: Node, hidden: frozenset[str]) -> Iterator[tuple[Node, frozenset[str]]]:
    """Every node with the macro variables that are in force there."""
    yield node, hidden
    if isinstance(node, Comprehension):
        inside = hidden | {node.iter_var, node.iter_var2, node.accu_var}
        for part in (node.iter_range, node.accu_init):
            yield from _scoped(part, hidden)
        for part in (node.loop_condition, node.loop_step, node.result):
            yield from _scoped(part, inside)
        return
    for part in children(node):
        yield from _scoped(part, hidden)


def _result(tree: Tree, scope: Scope) -> list[Draft]:
    found = tree.type_of(tree.root)
    if not scope.wants_boolean:
        if found.kind in _JSON_KINDS:
            return []
        hint = "end it with .orValue(…)" if found.kind == "optional" else "give a text, a number, a boolean or a list"
        return [Draft(0, f"a named value cannot be {spoken(found)}", hint=hint)]
    if found.kind in ("bool", "dyn"):
        return []
    boolean = found.kind == "optional" and found.items is not None and found.items.kind in ("bool", "dyn")
    hint = "end it with .orValue(false)" if boolean else "compare it with something"
    return [Draft(0, f"a rule has to be true or false; this gives {spoken(found)}", hint=hint)]


def _lets(tree: Tree, scope: Scope) -> Iterator[Draft]:
    selected: set[int] = set()
    for node, hidden in _scoped(tree.root, frozenset()):
        if LET in hidden:
            continue
        match node:
            case Select(operand=Ident(name=name) as operand, field=wanted) if name == LET:
                selected.add(operand.id)
            case Call(function="_?._", args=(Ident(name=name) as operand, Constant(value=str(wanted)))) if name == LET:
                selected.add(operand.id)
            case Ident(name=name) if name == LET and node.id not in selected:
                yield Draft(_at(tree, node), "`let` is not a value of its own", hint="write let.name")
                continue
            case _:
                continue
        if wanted not in scope.lets:
            yield Draft(_at(tree, node), f"no `let` named '{wanted}'", hint=closest(wanted, scope.lets), name=wanted)


def _pattern(tree: Tree, call: Call, scope: Scope) -> Iterator[Draft]:
    """Patterns come from the policy alone: one out of a payload could be anything."""
    node = call.args[-1]
    pattern = _text(node)
    if isinstance(node, Ident) and node.name.startswith("params."):
        pattern = scope.params.get(node.name.removeprefix("params."))
    if not isinstance(pattern, str):
        yield Draft(_at(tree, node), "the pattern of matches() has to be a literal or a parameter")
        return
    try:
        re2.compile(pattern, _QUIET)
    except re2.error:
        yield Draft(
            _at(tree, node), "invalid regular expression", hint="patterns are RE2: no lookaround, no backreference"
        )


def _codes(tree: Tree, types: Types, element: Node, texts: tuple[Node, ...]) -> Iterator[Draft]:
    """A code that its element can never have, for elements with a required value set."""
    if not isinstance(element, Select) or element.test_only:
        return
    found = types.find(tree.type_of(element.operand).name, element.field)
    if found is None or not found.codes:
        return
    for node in texts:
        text = _text(node)
        if isinstance(text, str) and text not in found.codes:
            message = f"'{element.field}' is never '{text}'"
            yield Draft(_at(tree, node), message, hint=closest(text, found.codes) or _some(found.codes))


def _some(codes: tuple[str, ...]) -> str:
    return "one of " + ", ".join(codes[:8]) + (", …" if len(codes) > 8 else "")  # noqa: PLR2004 (fits a line)


def _text(node: Node) -> object:
    return node.value if isinstance(node, Constant) else None


def _bare_reads(tree: Tree, types: Types) -> list[Draft]:
    reads = _BareReads(tree, types)
    reads.visit(tree.root, positive=True, quiet=frozenset())
    return [draft for path, draft in reads.found.items() if path not in reads.guarded]


@dataclass(slots=True)
class _BareReads:
    """Optional single elements read without a guard.

    `guarded` holds the paths that stand in a `has()` or before a `.?` somewhere in the text, parents included.
    Inside an `exists()` that has to be true nothing is reported about its own variable: an item without the element
    fails, and `exists()` goes on to the next, as the author means it.
    """

    tree: Tree
    types: Types
    guarded: set[str] = field(default_factory=set)
    found: dict[str, Draft] = field(default_factory=dict)

    def visit(self, node: Node, *, positive: bool, quiet: frozenset[str]) -> None:
        """Walks the tree; `positive` where failing means the same as false."""
        match node:
            case Select(test_only=True):
                self._guard(_path(node))
            case Select():
                self._read(node, quiet)
            case Call(function="_?._", args=(operand, Constant(value=str(name)))):
                self._guard(f"{_path(operand)}.{name}")
                if not isinstance(operand, Select):
                    self.visit(operand, positive=False, quiet=quiet)
                return
            case Comprehension():
                self._macro(node, positive=positive, quiet=quiet)
                return
        inner = positive and isinstance(node, Call) and node.function in ("_&&_", "_||_")
        for part in children(node):
            if not (isinstance(node, Select) and isinstance(part, Select)):
                self.visit(part, positive=inner, quiet=quiet)

    def _macro(self, node: Comprehension, *, positive: bool, quiet: frozenset[str]) -> None:
        self.visit(node.iter_range, positive=False, quiet=quiet)
        exists = isinstance(node.loop_step, Call) and node.loop_step.function == "_||_"
        inside = quiet | {node.iter_var} if exists and positive else quiet - {node.iter_var}
        self.visit(node.loop_step, positive=exists and positive, quiet=inside)

    def _guard(self, path: str) -> None:
        while path:
            self.guarded.add(path)
            path = path.rpartition(".")[0]

    def _read(self, node: Select, quiet: frozenset[str]) -> None:
        chain = [node]
        while isinstance(chain[-1].operand, Select):
            chain.append(chain[-1].operand)
        root = chain[-1].operand
        if isinstance(root, Ident) and root.name in quiet:
            return
        repeats = False
        for part in chain:  # outermost first: above a repeating element nothing has to be there
            found = self.types.find(self.tree.type_of(part.operand).name, part.field)
            repeats = found is not None and found.many
            if repeats or found is None:
                return
            if not found.required:
                path = _path(part)
                hint = f"say what then: has({path}) && …, or {_optional(path)}.orValue(…)"
                message = f"'{path}' may be absent, and the rule then does not hold"
                self.found.setdefault(path, Draft(_at(self.tree, part), message, hint=hint, is_warning=True))
                return


def _optional(path: str) -> str:
    head, _, last = path.rpartition(".")
    return f"{head}.?{last}"


def _path(node: Node) -> str:
    """The text of a plain path; other operands get a name of their own, so that nothing guards them by chance."""
    match node:
        case Ident():
            return node.name
        case Select():
            return f"{_path(node.operand)}.{node.field}"
        case Call(function="_[_]", args=(operand, Constant(value=int(index)))):
            return f"{_path(operand)}[{index}]"
        case _:
            return f"(…{node.id})"
