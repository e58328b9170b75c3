"""From tree to Python closures: one closure for each node, over plain JSON values.

Every path counts the items that it gives, and every function what it walks, so that the work of an evaluation is
bounded by its budget whatever the expression and the input.
"""

from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Final

from gateway.fhirpath.arithmetic import negative, positive
from gateway.fhirpath.calculation import calculation
from gateway.fhirpath.closures import (
    PRESENCE,
    ROOTS,
    chain,
    constant,
    count,
    eager,
    index_value,
    lazy,
    on_this,
    presence,
    recorded,
    scoped,
    sized,
    this_has_value,
    this_item,
    total_value,
    union,
)
from gateway.fhirpath.comparison import COMPARISONS, comparison, on_member
from gateway.fhirpath.criteria import ASKING, Condition, Criterion, asked, sifted
from gateway.fhirpath.env import ROOT_NAMES, Env, Expr, Step
from gateway.fhirpath.equality import distinct
from gateway.fhirpath.items import NONE, Collection, EvaluationError, Types, lift, only
from gateway.fhirpath.logic import LOGIC, by_singleton, negation, strictly
from gateway.fhirpath.navigation import (
    below_resource,
    child_count,
    from_this,
    from_variable,
    has_content,
    member_step,
    type_step,
)
from gateway.fhirpath.ordering import turned
from gateway.fhirpath.signature import Signature
from gateway.fhirpath.tree import (
    Binary,
    Empty,
    Function,
    Index,
    Indexer,
    Literal,
    Member,
    Node,
    Path,
    SortKey,
    This,
    Total,
    TypeOp,
    Unary,
    Variable,
    operands,
    type_name,
)
from gateway.fhirpath.type_tests import TYPE_FUNCTIONS, type_test

_MORE_THAN_ID: Final = "children().count() > id.count()"
_OF_TEXTS: Final = frozenset({"=", "!=", "in"})
_SMALL: Final = 8  # nodes of an argument that are evaluated for the work that each of them counts by itself


class Compiler:
    """Compiles the nodes of one expression.

    `strict`: a value that is no boolean is never taken for one. `explain`: every node leaves its value in
    `Env.record`.
    """

    def __init__(
        self,
        *,
        types: Types,
        library: Mapping[str, Signature],
        strict: bool = False,
        explain: bool = False,
        scoped: bool = False,
    ) -> None:
        self.types = types
        self.truth = strictly if strict else by_singleton
        self._library = library
        self._explain = explain
        self._scoped = scoped

    def compile(self, node: Node) -> Expr:
        """The closure of a node. Function names and numbers of arguments were checked before (KeyError)."""
        made = self._compilers[type(node)](self, node)
        return recorded(made, node) if self._explain else made

    def scope(self, node: Node) -> Expr:
        """As `compile`; what `defineVariable` defines inside ends here."""
        made = self.compile(node)
        return scoped(made) if self._scoped and _defines(node) else made

    def _literal(self, node: Literal) -> Expr:
        return constant([node.value])

    def _empty(self, _node: Empty) -> Expr:
        return constant(NONE)

    def _this(self, _node: This) -> Expr:
        return this_item

    def _index(self, _node: Index) -> Expr:
        return index_value

    def _total(self, _node: Total) -> Expr:
        return total_value

    def _variable(self, node: Variable) -> Expr:
        name = node.name
        if name in ROOTS and not self._scoped:
            return ROOTS[name]
        if name in ROOT_NAMES or self._scoped:
            return lambda env: env.variable(name)
        types = self.types

        def evaluate(env: Env) -> Collection:
            if name not in env.variables:
                return env.variable(name)
            found = lift(env.variables[name], types)
            env.left -= len(found)
            return found

        return evaluate

    def _bare(self, node: Member | Function) -> Expr:
        if isinstance(node, Member) and self._is_type(node):
            return on_this(type_step(node.name, self.types))
        if isinstance(node, Member):
            return from_this(node.name, types=self.types)
        return this_has_value if node.name == "hasValue" else on_this(self._step(node))

    def _is_type(self, node: Member) -> bool:
        return node.name[:1].isupper() and self.types.model.knows(node.name)

    def _step(self, node: Node) -> Step:
        """What follows a dot, or stands alone on `$this`."""
        if isinstance(node, Member):
            return member_step(node.name, types=self.types)
        if isinstance(node, Function):
            return self._call(node)
        alone = self.compile(node)  # `$this` and its like may be written after a dot
        return lambda env, _focus: alone(env)

    def _call(self, node: Function) -> Step:
        if node.name in TYPE_FUNCTIONS:
            return type_test(node.name, type_name(node.arguments[0]) or "", self.types)
        signature = self._library[node.name]
        if not signature.lazy:
            return eager(signature.call, tuple(self.scope(argument) for argument in node.arguments))
        criterion = self._criterion(node)
        if criterion is not None:
            return asked(node.name, criterion)
        compile_argument = self._sort_argument if node.name == "sort" else self._late
        return lazy(signature.call, self.truth, tuple(compile_argument(argument) for argument in node.arguments))

    def _criterion(self, node: Node) -> Criterion | None:
        """The argument of `where` and its like, when it is made of conditions."""
        if self._explain or not isinstance(node, Function) or node.name not in ASKING or not node.arguments:
            return None
        (argument,) = node.arguments
        conditions = _conditions(argument)
        if conditions is None:
            return None
        size = self._size(argument)
        return Criterion(conditions, self._late(argument), self.truth, size if size > _SMALL else 0)

    def _late(self, node: Node) -> Expr:
        """An argument of a function that is lazy: a long one costs its length each time.

        `true and true and …` and the like count nothing by themselves.
        """
        made, size = self.scope(node), self._size(node)
        return made if size <= _SMALL else sized(made, size)

    def _size(self, node: Node) -> int:
        """How many nodes are evaluated where this one is; the arguments of functions that are lazy count themselves."""
        size, waiting = 0, [node]
        while waiting:
            one = waiting.pop()
            size += 1
            if not (isinstance(one, Function) and one.name in self._library and self._library[one.name].lazy):
                waiting.extend(operands(one))
        return size

    def _sort_argument(self, node: Node) -> Expr:
        """`sort(-family)` turns the order of strings, too: there the sign is no arithmetic."""
        if isinstance(node, SortKey):
            operand = self._late(node.operand)
            return turned(operand) if node.descending else operand
        if isinstance(node, Unary) and node.operator == "-":
            return turned(self._late(node.operand))
        return self._late(node)

    def _path(self, node: Path) -> Expr:
        if self._explain:
            return chain(self.compile(node.base), (self._step(node.step),))
        shortened = self._shortened(node.base, node.step)
        if shortened is not None:
            return shortened
        steps = [node.step]
        base = node.base
        while isinstance(base, Path):
            steps.append(base.step)
            base = base.base
        steps.reverse()
        leading = _leading(steps)
        rest = steps[len(leading) :]
        if isinstance(base, Member) and not self._is_type(base):
            return self._from_this((base.name, *leading), rest)
        if isinstance(base, Variable) and base.name not in ROOT_NAMES and not self._scoped and leading:
            start = from_variable(base.name, *leading, types=self.types)
            return chain(start, self._steps(rest)) if rest else start
        return chain(self.compile(base), self._steps(steps))

    def _from_this(self, names: tuple[str, ...], steps: list[Node]) -> Expr:
        start = from_this(*names, types=self.types)
        criterion = self._criterion(steps[0]) if steps else None
        if criterion is not None and isinstance(steps[0], Function):
            name = steps[0].name
            start = sifted(names, name, criterion, chain(start, (asked(name, criterion),)))
            steps = steps[1:]
        return chain(start, self._steps(steps)) if steps else start

    def _shortened(self, base: Node, step: Node) -> Expr | None:
        """Steps that need no collection, or not one of their own."""
        if not isinstance(step, Function) or step.arguments:
            return None
        if step.name in PRESENCE:
            return presence(self.compile(base), *PRESENCE[step.name])
        if step.name == "not":
            return negation(self.compile(base), self.truth)
        if step.name == "count":
            is_of_children = isinstance(base, Function) and base.name == "children"
            return child_count if is_of_children else count(self.compile(base))
        if step.name == "descendants" and isinstance(base, Variable) and base.name == "resource":
            return below_resource
        return None

    def _steps(self, nodes: list[Node]) -> tuple[Step, ...]:
        """The steps of a path; elements that follow each other are one step."""
        steps: list[Step] = []
        at = 0
        while at < len(nodes):
            names = _leading(nodes[at:])
            if names:
                steps.append(member_step(*names, types=self.types))
            else:
                steps.append(self._step(nodes[at]))
            at += len(names) or 1
        return tuple(steps)

    def _indexer(self, node: Indexer) -> Expr:
        base, index = self.compile(node.base), self.scope(node.index)

        def evaluate(env: Env) -> Collection:
            values = base(env)
            number = only(index(env), "an index")
            if number is None:
                return NONE
            if isinstance(number, bool) or not isinstance(number, int):
                raise EvaluationError("an index is one whole number")
            return [values[number]] if 0 <= number < len(values) else NONE

        return evaluate

    def _unary(self, node: Unary) -> Expr:
        operand = self.scope(node.operand)
        sign = negative if node.operator == "-" else positive
        return lambda env: sign(operand(env))

    def _binary(self, node: Binary) -> Expr:
        left, right = self.scope(node.left), self.scope(node.right)
        operator = node.operator
        if operator in LOGIC:
            logic = LOGIC[operator](left, right, self.truth)
            return has_content(logic) if _asks_for_content(node) and not self._explain else logic
        if operator in COMPARISONS:
            return self._comparison(node, left, right)
        if operator == "|":
            fixed = _fixed(node)
            return union(left, right) if fixed is None else constant(fixed)
        return calculation(operator, left, right, _fixed(node.right))

    def _comparison(self, node: Binary, left: Expr, right: Expr) -> Expr:
        compare = comparison(node.operator, left, right, _fixed(node.right))
        condition = None if self._explain else _condition(node)
        return compare if condition is None else on_member(condition, compare)

    def _type_op(self, node: TypeOp) -> Expr:
        operand, test = self.compile(node.operand), type_test(node.operator, node.type, self.types)
        return lambda env: test(env, operand(env))

    def _sort_key(self, node: SortKey) -> Expr:
        return self.compile(node.operand)

    _compilers: Final[dict[type[Node], Callable[..., Expr]]] = {
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
        SortKey: _sort_key,
    }


def defines(tree: Node) -> bool:
    """Whether `defineVariable` occurs anywhere."""
    return _defines(tree)


def _defines(node: Node) -> bool:
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Function) and one.name == "defineVariable":
            return True
        waiting.extend(operands(one))
    return False


def _leading(nodes: list[Node]) -> list[str]:
    """The names of the elements that a list of steps begins with."""
    return [node.name for node in takewhile(lambda node: isinstance(node, Member), nodes) if isinstance(node, Member)]


def _asks_for_content(node: Binary) -> bool:
    """Whether this is `hasValue() or (children().count() > id.count())`."""
    if node.operator != "or" or not isinstance(node.left, Function):
        return False
    return _text(node.left) == "hasValue()" and _text(node.right) == _MORE_THAN_ID


def _text(node: Node) -> str:
    """The text of a part, of those kinds that ele-1 is made of; of any other it is empty."""
    if isinstance(node, Member):
        return node.name if node.name.isidentifier() else ""
    if isinstance(node, Function) and not node.arguments:
        return f"{node.name}()"
    if isinstance(node, Path):
        return f"{_text(node.base)}.{_text(node.step)}"
    return f"{_text(node.left)} {node.operator} {_text(node.right)}" if isinstance(node, Binary) else ""


def _conditions(node: Node) -> tuple[Condition, ...] | None:
    """What a criterion is that joins conditions by `and`, and nothing else."""
    if not isinstance(node, Binary):
        return None
    if node.operator != "and":
        found = _condition(node)
        return None if found is None else (found,)
    left, right = _conditions(node.left), _conditions(node.right)
    return None if left is None or right is None else (*left, *right)


def _condition(node: Binary) -> Condition | None:
    """`name = 'text'`, `name != 'text'` or `name in ('a' | 'b')`."""
    fixed = _fixed(node.right) if node.operator in _OF_TEXTS and isinstance(node.left, Member) else None
    if fixed is None or not isinstance(node.left, Member) or not node.left.name[:1].islower():
        return None
    if node.operator != "in" and len(fixed) != 1:
        return None  # one string is not equal to several
    texts = frozenset(value for value in fixed if isinstance(value, str))
    absent_work = 1 + len(texts) if node.operator == "in" else 1
    return (node.left.name, texts, node.operator != "!=", absent_work) if len(texts) == len(fixed) else None


def _fixed(node: Node) -> Collection | None:
    """The value of a literal, or of a union of literals, at compile time."""
    if isinstance(node, Literal):
        return [node.value]
    if isinstance(node, Binary) and node.operator == "|":
        left, right = _fixed(node.left), _fixed(node.right)
        return None if left is None or right is None else distinct(left + right)
    return None
