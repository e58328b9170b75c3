"""The walk over the tree: every node is counted, every criterion is evaluated once, nothing is changed.

The library's own walk keeps `$this` in one shared table that inner functions overwrite, evaluates the criterion of
`where` twice and takes whatever is not empty for true; hence this one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from gateway.fhirpath.model import Model
from gateway.fhirpath.operators import ADDITIVE, OPERATORS, decided
from gateway.fhirpath.syntax import (
    Binary,
    Call,
    Expr,
    Indexer,
    Literal,
    Member,
    Path,
    Polarity,
    Special,
    TypeTest,
    Variable,
)
from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.values import (
    BudgetExceeded,
    Collection,
    Element,
    EvaluationError,
    Item,
    Quantity,
    plain,
    truth,
)

_CONSTANTS: Final = {
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}
_PREFIXES: Final = {
    "vs-": "http://hl7.org/fhir/ValueSet/",
    "ext-": "http://hl7.org/fhir/StructureDefinition/",
}
_TEXT_STEP: Final = 256  # characters of a produced string that cost one unit of work
_PAIRWISE: Final = frozenset({"in", "contains", "~", "!~"})
_COMPARING: Final = _PAIRWISE | {"=", "!=", "|"}
_COMPARING_FUNCTIONS: Final = frozenset(
    {"distinct", "isDistinct", "union", "intersect", "exclude", "subsetOf", "supersetOf"}
)
_ANY_RESOURCE: Final = ("", "Resource", "DomainResource")


@dataclass(slots=True)
class Scope:
    """What `$this`, `$index` and `$total` are at one place of the tree."""

    this: Collection
    index: int | None = None
    total: Collection | None = None


Function: TypeAlias = "Callable[[Evaluation, Collection, tuple[Expr, ...], Scope], Collection]"


class Evaluation:
    """One evaluation: its inputs, and the work that is left to it."""

    __slots__ = ("_functions", "_left", "model", "now", "root", "variables")

    def __init__(
        self,
        *,
        model: Model,
        functions: Mapping[str, Function],
        resource: object,
        variables: Mapping[str, object],
        now: Temporal | None,
        budget: int,
    ) -> None:
        self.model = model
        self.root = lift(resource)
        self.variables = variables
        self.now = now
        self._functions = functions
        self._left = budget

    def spend(self, units: int) -> None:
        """Count work. Raises BudgetExceeded when none is left."""
        self._left -= units
        if self._left < 0:
            raise BudgetExceeded

    def weigh(self, values: Collection) -> None:
        """Count the JSON values inside of items that are about to be compared as a whole."""
        for item in values:
            waiting = [item.data] if isinstance(item, Element) else []
            while waiting:
                value = waiting.pop()
                children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
                self.spend(1)
                waiting.extend(children)

    def of(self, expr: Expr, focus: Collection, scope: Scope) -> Collection:
        """The value of one node on a focus."""
        values = _HANDLERS[type(expr)](self, expr, focus, scope)
        self.spend(1 + len(values))
        return values

    def function(self, name: str) -> Function:
        """The function that a compiled tree names."""
        return self._functions[name]

    def variable(self, name: str) -> Collection:
        """`%name`. A name that was not bound is an error, one bound to None is empty."""
        if name in ("resource", "context", "rootResource"):
            return self.root
        known = constant(name)
        if known is not None:
            return [known]
        if name not in self.variables:
            raise EvaluationError(f"%{name} is not available here")
        return lift(self.variables[name])


def constant(name: str) -> str | None:
    """What a `%name` stands for by itself (http://hl7.org/fhir/R4/fhirpath.html#variables), or None."""
    for prefix, base in _PREFIXES.items():
        if name.startswith(prefix):
            return base + name.removeprefix(prefix)
    return _CONSTANTS.get(name)


def lift(value: object) -> Collection:
    """JSON from outside as a collection; a resource gets its type."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [item for child in value for item in lift(child)]
    return [element(value, "")]


def element(data: object, type_name: str, extra: object = None) -> Element:
    """One place in the JSON; a resource, wherever it stands, has the type that it says."""
    if type_name in _ANY_RESOURCE and isinstance(data, Mapping):
        said = data.get("resourceType")
        type_name = said if isinstance(said, str) else type_name
    return Element(data, type_name, extra if isinstance(extra, Mapping) else None)


def members(model: Model, item: Item, name: str) -> Collection:
    """The children of one item by name."""
    if not isinstance(item, Element):
        return []
    if isinstance(item.data, Mapping):
        data, owner = item.data, item.type
    elif item.extra is not None:  # a primitive has no children but its id and extensions
        data, owner = item.extra, "Element"
    else:
        return []
    if owner not in model.types:
        return _untyped(data, name)
    if name[:1].isupper():
        return [item] if model.is_a(owner, name) else []
    return _typed(model, data, owner, name)


def _typed(model: Model, data: Mapping[str, object], owner: str, name: str) -> Collection:
    found = model.member(owner, name)
    if found is None:
        return []
    for key, type_name in found.keys:
        if key in data or f"_{key}" in data:
            return _elements(data.get(key), data.get(f"_{key}"), type_name)
    return []


def _untyped(data: Mapping[str, object], name: str) -> Collection:
    if name in data:
        return lift(data[name])
    # A FHIR value whose type was lost on the way (`%let.x`): which of the choice elements is meant is not known.
    if any(key.startswith(name) and key[len(name)].isupper() for key in data if len(key) > len(name)):
        raise EvaluationError("a choice element is read on a value whose type is not known")
    return []


def _elements(value: object, extra: object, type_name: str) -> Collection:
    if not isinstance(value, list) and not isinstance(extra, list):
        return [element(value, type_name, extra)]
    values = value if isinstance(value, list) else []
    extras = extra if isinstance(extra, list) else []
    length = max(len(values), len(extras))
    return [
        element(
            values[index] if index < len(values) else None, type_name, extras[index] if index < len(extras) else None
        )
        for index in range(length)
    ]


def _literal(_run: Evaluation, expr: Literal, _focus: Collection, _scope: Scope) -> Collection:
    return list(expr.values)


def _variable(run: Evaluation, expr: Variable, _focus: Collection, _scope: Scope) -> Collection:
    return run.variable(expr.name)


def _special(_run: Evaluation, expr: Special, _focus: Collection, scope: Scope) -> Collection:
    if expr.name == "$this":
        return scope.this
    if expr.name == "$index" and scope.index is not None:
        return [scope.index]
    if expr.name == "$total" and scope.total is not None:
        return scope.total
    raise EvaluationError(f"{expr.name} has no value here")


def _member(run: Evaluation, expr: Member, focus: Collection, _scope: Scope) -> Collection:
    run.spend(len(focus))
    if len(focus) == 1:
        return members(run.model, focus[0], expr.name)
    return [child for item in focus for child in members(run.model, item, expr.name)]


def _call(run: Evaluation, expr: Call, focus: Collection, scope: Scope) -> Collection:
    run.spend(len(focus))
    if expr.name in _COMPARING_FUNCTIONS:
        run.weigh(focus)
    values = run.function(expr.name)(run, focus, expr.arguments, scope)
    _weigh(run, values)
    return values


def _weigh(run: Evaluation, values: Collection) -> None:
    if len(values) == 1 and isinstance(values[0], str):
        run.spend(len(values[0]) // _TEXT_STEP)


def _path(run: Evaluation, expr: Path, focus: Collection, scope: Scope) -> Collection:
    return run.of(expr.step, run.of(expr.base, focus, scope), scope)


def _indexer(run: Evaluation, expr: Indexer, focus: Collection, scope: Scope) -> Collection:
    values = run.of(expr.base, focus, scope)
    index = run.of(expr.index, focus, scope)
    if not index:
        return []
    number = plain(index[0])
    if len(index) > 1 or isinstance(number, bool) or not isinstance(number, int):
        raise EvaluationError("an index is one whole number")
    return [values[number]] if 0 <= number < len(values) else []


def _polarity(run: Evaluation, expr: Polarity, focus: Collection, scope: Scope) -> Collection:
    values = run.of(expr.operand, focus, scope)
    if not values:
        return []
    value = plain(values[0])
    if len(values) > 1 or isinstance(value, bool) or not isinstance(value, int | Decimal | Quantity):
        raise EvaluationError(f"unary {expr.operator} needs one number")
    if expr.operator == "+":
        return values
    if isinstance(value, Quantity):
        return [Quantity(-value.value, value.unit)]
    return [-value]


def _binary(run: Evaluation, expr: Binary, focus: Collection, scope: Scope) -> Collection:
    left = run.of(expr.left, focus, scope)
    if expr.operator in ("and", "or", "implies"):
        first = truth(left)
        # https://hl7.org/fhirpath/N1/#boolean-logic allows to stop here; the right side may then not even be asked.
        short = decided(expr.operator, first)
        if short is not None:
            return [short]
    right = run.of(expr.right, focus, scope)
    if expr.operator in _COMPARING:
        run.spend((len(left) + 1) * (len(right) + 1) if expr.operator in _PAIRWISE else 0)
        run.weigh(left)
        run.weigh(right)
    values = OPERATORS[expr.operator](left, right)
    if expr.operator in ADDITIVE:
        _weigh(run, values)
    return values


def _type_test(run: Evaluation, expr: TypeTest, focus: Collection, scope: Scope) -> Collection:
    return type_test(run, expr.operator, run.of(expr.operand, focus, scope), expr.type)


def type_test(run: Evaluation, operator: str, values: Collection, specifier: str) -> Collection:
    """`is` and `as`, as operators and as functions."""
    if not values:
        return []
    if len(values) > 1:
        raise EvaluationError(f"{operator} expects a single value, not several")
    is_one = run.model.item_is(values[0], specifier)
    if operator == "is":
        return [is_one]
    return values if is_one else []


_HANDLERS: Final[dict[type[Expr], Callable[..., Collection]]] = {
    Literal: _literal,
    Variable: _variable,
    Special: _special,
    Member: _member,
    Call: _call,
    Path: _path,
    Indexer: _indexer,
    Polarity: _polarity,
    Binary: _binary,
    TypeTest: _type_test,
}
