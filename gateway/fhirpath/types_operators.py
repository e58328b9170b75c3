"""Infix operators: what they give, and what they can never be given."""

from difflib import get_close_matches
from typing import Final

from gateway.fhirpath.tree import Binary, Literal, Node
from gateway.fhirpath.types_facts import (
    Kinds,
    Static,
    families,
    is_boolean,
    merged,
    one,
    shown,
    system,
    unknown,
)
from gateway.fhirpath.types_report import Report

_EQUALITY: Final = frozenset({"=", "!=", "~", "!~"})
_ORDER: Final = frozenset({"<", "<=", ">", ">="})
_MEMBERSHIP: Final = frozenset({"in", "contains"})
_LOGIC: Final = frozenset({"and", "or", "xor", "implies"})
_NUMBERS: Final = frozenset({"number"})
# https://hl7.org/fhirpath/N1/#math: the pairs of families that each operator takes, and what comes out.
_SUMS: Final = {
    ("number", "number"): "number",
    ("quantity", "quantity"): "quantity",
    ("date or time", "quantity"): "date or time",
}
_COUNTED: Final = {("number", "quantity"): "quantity", ("quantity", "number"): "quantity"}
_ARITHMETIC: Final[dict[str, dict[tuple[str, str], str]]] = {
    "+": {**_SUMS, **_COUNTED, ("string", "string"): "string"},
    "-": {**_SUMS, **_COUNTED},
    "*": {(one_, other): "quantity" for one_ in ("number", "quantity") for other in ("number", "quantity")},
    "/": {("number", "number"): "number", ("quantity", "quantity"): "quantity", ("quantity", "number"): "quantity"},
    "div": {("number", "number"): "number", ("quantity", "quantity"): "quantity"},
    "mod": {("number", "number"): "number", ("quantity", "quantity"): "quantity"},
}


def combined(report: Report, node: Binary, left: Static, right: Static) -> Static:
    """The static type of `left operator right`."""
    operator = node.operator
    if operator in _LOGIC:
        return _logic(report, node, left, right)
    if operator == "|":
        return _union(node, left, right)
    if operator == "&":
        _single(report, node, left, right)
        return one("System.String")
    if operator in _EQUALITY | _ORDER | _MEMBERSHIP:
        return _comparison(report, node, left, right)
    return _arithmetic(report, node, left, right)


def _logic(report: Report, node: Binary, left: Static, right: Static) -> Static:
    for side, found in ((node.left, left), (node.right, right)):
        if found.kinds and not any(is_boolean(kind) for kind in found.kinds):
            hint = "add `.exists()`, or compare it with a value"
            report.fixed(side, f"`{node.operator}` needs booleans", hint)
        elif found.kinds and found.many:
            report.several(side, found, f"`{node.operator}` needs one boolean, and this may be several values")
    return Static(kinds=one("System.Boolean").kinds, least=min(1, left.least, right.least))


def _union(node: Binary, left: Static, right: Static) -> Static:
    literals = _literals(node)
    least = min(1, max(left.least, right.least)) if literals is None else len({repr(each.value) for each in literals})
    return Static(kinds=merged([left, right]), least=least, many=True, why=left.why or right.why)


def _comparison(report: Report, node: Binary, left: Static, right: Static) -> Static:
    _families(report, node, left.kinds, right.kinds)
    if node.operator in _ORDER:
        _single(report, node, left, right)
    else:
        _bindings(report, node, left, right)
    if node.operator == "in" and left.kinds and left.many:
        report.several(node.left, left, "`in` asks for one value, and this may be several")
    elif node.operator == "contains" and right.kinds and right.many:
        report.several(node.right, right, "`contains` asks for one value, and this may be several")
    always = node.operator in ("~", "!~") or min(left.least, right.least) > 0
    return Static(kinds=one("System.Boolean").kinds, least=1 if always and node.operator not in _ORDER else 0)


def _single(report: Report, node: Binary, left: Static, right: Static) -> None:
    for side, found in ((node.left, left), (node.right, right)):
        if found.kinds and found.many:
            message = f"`{node.operator}` needs single values, and this may be several"
            report.several(side, found, message, "pick one, or use `.all(…)` or `.exists(…)`")


def _families(report: Report, node: Binary, left: Kinds, right: Kinds) -> None:
    """A comparison of values that are never equal, such as a CodeableConcept with a string."""
    mine, theirs = families(left, report.model), families(right, report.model)
    if not left or not right or not mine or not theirs or mine & theirs:
        return
    # A string beside a date is read as a date, a number beside a quantity as one of unit 1.
    both = mine | theirs
    if {"string", "date or time"} <= both or {"number", "quantity"} <= both:
        return
    hint = "compare `coding.code`" if "a CodeableConcept" in (shown(left), shown(right)) else None
    message = f"{shown(left)} and {shown(right)} have no common values for `{node.operator}`"
    (report.fails if node.operator in _ORDER else report.fixed)(node, message, hint)


def _arithmetic(report: Report, node: Binary, left: Static, right: Static) -> Static:
    _single(report, node, left, right)
    mine, theirs = families(left.kinds, report.model), families(right.kinds, report.model)
    why = left.why or right.why
    if not mine or not theirs or left.kinds is None or right.kinds is None:
        return unknown(why, many=False)
    pairs = _ARITHMETIC[node.operator]
    found = {pairs[pair] for one_ in mine for other in theirs if (pair := (one_, other)) in pairs}
    if not found:
        message = f"`{node.operator}` has no meaning between {shown(left.kinds)} and {shown(right.kinds)}"
        if "date or time" in mine and theirs == _NUMBERS:
            report.problem(node, message, "write a quantity, such as `7 days`")
        else:
            report.fails(node, message)
        return unknown("this is an error", many=False)
    if node.operator in ("+", "-") and {*mine} | {*theirs} == {"number", "quantity"} and len(mine) == len(theirs) == 1:
        message = f"a number is a quantity of unit '1' for `{node.operator}`, and nothing of another unit"
        report.warning(node, message, "write the unit, such as `2 'mg'`")
    return Static(kinds=_result(report, node.operator, found, left, right))


def _result(report: Report, operator: str, found: set[str], left: Static, right: Static) -> Kinds:
    types = {kind.type for kind in (left.kinds or frozenset()) | (right.kinds or frozenset())}
    if found == _NUMBERS:
        is_decimal = operator == "/" or not types.isdisjoint({"System.Decimal", "decimal"})
        return one("System.Decimal" if is_decimal and operator != "div" else "System.Integer").kinds
    if found == {"string"}:
        return one("System.String").kinds
    if found == {"quantity"}:
        return one("System.Quantity").kinds
    return system(left.kinds, report.model) if found == {"date or time"} else None


def _bindings(report: Report, node: Binary, left: Static, right: Static) -> None:
    """Literals that the required binding of the element does not have."""
    for found, side in ((left, node.right), (right, node.left)):
        kinds = sorted(found.kinds or (), key=lambda kind: kind[:3])
        own = [(kind.owner, kind.name) if kind.type == "code" else None for kind in kinds]
        around = [kind.coded for kind in kinds]
        for places, is_warning in ((own, False), (around, True)):
            allowed = _allowed(report, places)
            if allowed is not None and places[0] is not None:
                _literals_of(report, side, allowed, places[0][1], is_warning=is_warning)


def _allowed(report: Report, places: list[tuple[str, str] | None]) -> frozenset[str] | None:
    sets = [None if place is None else report.model.codes(*place) for place in places]
    if not sets or any(each is None for each in sets):
        return None
    return frozenset().union(*(each for each in sets if each is not None))


def _literals_of(report: Report, side: Node, allowed: frozenset[str], name: str, *, is_warning: bool) -> None:
    """A code of a CodeableConcept is a warning: a coding of another system may stand beside the bound one."""
    for literal in _literals(side) or ():
        value = literal.value
        if isinstance(value, str) and value not in allowed:
            close = get_close_matches(value, sorted(allowed), 1)
            hint = f"did you mean '{close[0]}'?" if close else f"one of {', '.join(sorted(allowed)[:12])}"
            report.code(literal, f"'{value}' is not in the required value set of `{name}`", hint, is_warning=is_warning)


def _literals(node: Node) -> tuple[Literal, ...] | None:
    """The literals of a union of literals; None when it holds anything else."""
    if isinstance(node, Literal):
        return (node,)
    if isinstance(node, Binary) and node.operator == "|":
        left, right = _literals(node.left), _literals(node.right)
        return None if left is None or right is None else (*left, *right)
    return None
