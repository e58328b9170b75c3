"""The static pass: the type of every expression by the element model, and what cannot be right, with its place.

The walk follows types from the judged resource and the named values. Where it cannot know (`resolve()`, plain JSON
such as claims) the type says so, and nothing is reported.
"""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from typing import Final

from gateway.fhirpath.env import ROOT_NAMES, constant
from gateway.fhirpath.model import Model
from gateway.fhirpath.problem import Problem
from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.reads import defined
from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.tree import (
    Binary,
    Empty,
    Function,
    Index,
    Indexer,
    Literal,
    Long,
    Member,
    Node,
    Path,
    This,
    Total,
    TypeOp,
    Unary,
    Variable,
    type_name,
)
from gateway.fhirpath.types_calls import call
from gateway.fhirpath.types_elements import element
from gateway.fhirpath.types_facts import NOTHING, Kind, Static, families, is_boolean, one, shown, system, unknown
from gateway.fhirpath.types_functions import TYPE_ARGUMENT
from gateway.fhirpath.types_narrowing import narrowed
from gateway.fhirpath.types_operators import combined
from gateway.fhirpath.types_report import Report


def check(
    tree: Node,
    model: Model,
    roots: Mapping[str, str],
    *,
    types: tuple[str, ...] = (),
    wants_boolean: bool = False,
    context: tuple[str, ...] = (),
) -> tuple[Problem, ...]:
    """Every problem of a tree. `roots`: the resource type by name (`resource`, `patient`, `prior`, `stored`).

    `types` are all types that the same text is checked for: a path may begin with any of them. `wants_boolean`: a
    text that can only be empty, or something other than a boolean, is a problem. `context` are the types that
    `$this` may have at the start, where it is not the resource (`Observation.component`, `Period`).
    """
    report = Report(model=model, names=_names(roots), types=types)
    found = Walk(report, context).root(tree)
    if wants_boolean and not any(not problem.is_warning for problem in report.problems):
        _wants_boolean(report, tree, found)
    return report.found()


def static_type(tree: Node, model: Model, roots: Mapping[str, str], *, context: tuple[str, ...] = ()) -> Static:
    """The static type of an expression; the names are as for `check`."""
    return Walk(Report(model=model, names=_names(roots)), context).root(tree)


def _names(roots: Mapping[str, str]) -> dict[str, Static]:
    """The prior version may be none (it is created); the others are there."""
    found = {name: one(type_name) for name, type_name in roots.items() if type_name}
    return {name: value.optional if name == "prior" else value for name, value in found.items()}


def _wants_boolean(report: Report, tree: Node, found: Static) -> None:
    if found.kinds is None:
        return
    if not found.kinds:
        report.problem(tree, "this can only be empty, which is never true")
    elif not any(is_boolean(kind) for kind in found.kinds):
        message = f"this is {shown(found.kinds)}, not true or false"
        report.problem(tree, message, "add `.exists()`, or compare it with a value")
    elif found.many:
        report.several(tree, found, "this may be several values, and only one `true` holds", "use `.all(…)`")


class Walk:
    """One pass over one tree. `defined` are the variables of `defineVariable` here, `repeats` the calls around."""

    def __init__(self, report: Report, context: tuple[str, ...] = ()) -> None:
        self.report = report
        self.model = report.model
        resource = report.names.get("resource", unknown("the type of the resource is not known", many=False))
        self._resource = resource
        self._context = Static(kinds=frozenset(map(Kind, context)), least=1) if context else resource
        self.defined: Mapping[str, Static] = {}
        self._own: frozenset[str] = frozenset()
        self.repeats = 0

    def root(self, tree: Node) -> Static:
        """The type of the whole expression."""
        self._own = defined(tree)
        return self.infer(tree, self._context)

    def infer(self, node: Node, this: Static) -> Static:
        """The type of a node where `$this` is of a type."""
        return self._passes[type(node)](self, node, this)

    def scoped(self, node: Node, this: Static) -> Static:
        """As `infer`; what `defineVariable` defines inside ends here."""
        defined = self.defined
        found = self.infer(node, this)
        self.defined = defined
        return found

    def step(self, node: Node, focus: Static, this: Static) -> Static:
        """The type of what follows a dot."""
        if isinstance(node, Member):
            return element(self.report, node, focus)
        if not isinstance(node, Function):
            return self.infer(node, this)
        if node.name in TYPE_ARGUMENT and node.arguments:
            return narrowed(self.report, node, focus, node.name, type_name(node.arguments[0]) or "")
        return call(self, node, focus, this)

    def quietly(self) -> "Walk":
        """A pass at the same place that reports nothing."""
        walk = copy(self)
        walk.report = replace(self.report, quiet=True, problems=[])
        return walk

    def _literal(self, node: Literal, _this: Static) -> Static:
        return one(_system_type(node.value))

    def _empty(self, _node: Empty, _this: Static) -> Static:
        return NOTHING

    def _this(self, _node: This, this: Static) -> Static:
        return this

    def _index(self, _node: Index, _this: Static) -> Static:
        return one("System.Integer")

    def _total(self, _node: Total, _this: Static) -> Static:
        return unknown("`$total` is what the last step gave")

    def _variable(self, node: Variable, _this: Static) -> Static:
        if node.name in self.defined:
            return self.defined[node.name]
        if node.name == "context":
            return self._context
        if node.name in ROOT_NAMES:
            return self._resource
        if constant(node.name) is not None:
            return one("System.String")
        if node.name in self._own and node.name not in self.report.names:
            hint = "what `defineVariable` names is known to the end of its path, and in the arguments of that"
            self.report.problem(node, f"`%{node.name}` is not defined here", hint)
            return unknown(f"`%{node.name}` is not defined here")
        return self.report.names.get(node.name, unknown(f"what `%{node.name}` holds is not known"))

    def _bare(self, node: Member | Function, this: Static) -> Static:
        return self.step(node, this, this)

    def _path(self, node: Path, this: Static) -> Static:
        return self.step(node.step, self.infer(node.base, this), this)

    def _indexer(self, node: Indexer, this: Static) -> Static:
        base = self.infer(node.base, this)
        self.scoped(node.index, this)
        if not base.ordered:
            self.report.problem(node, "this has no order to pick from")
        return replace(base, least=0, many=False)

    def _unary(self, node: Unary, this: Static) -> Static:
        found = self.scoped(node.operand, this)
        known = families(found.kinds, self.model)
        if known and not known & {"number", "quantity"} and found.kinds:
            self.report.fails(node, f"`{node.operator}` needs a number, not {shown(found.kinds)}")
        return replace(found, kinds=system(found.kinds, self.model))

    def _binary(self, node: Binary, this: Static) -> Static:
        left, right = self.scoped(node.left, this), self.scoped(node.right, this)
        return combined(self.report, node, left, right)

    def _type_op(self, node: TypeOp, this: Static) -> Static:
        return narrowed(self.report, node, self.infer(node.operand, this), node.operator, node.type)

    _passes: Final[dict[type[Node], Callable[..., Static]]] = {
        Literal: _literal,
        Empty: _empty,
        This: _this,
        Index: _index,
        Total: _total,
        Variable: _variable,
        Member: _bare,
        Function: _bare,
        Path: _path,
        Indexer: _indexer,
        Unary: _unary,
        Binary: _binary,
        TypeOp: _type_op,
    }


def _system_type(value: object) -> str:
    if isinstance(value, Temporal):
        return f"System.{value.kind}"
    for kind, name in ((bool, "Boolean"), (Long, "Long"), (int, "Integer"), (str, "String"), (Quantity, "Quantity")):
        if isinstance(value, kind):
            return f"System.{name}"
    return "System.Decimal"
