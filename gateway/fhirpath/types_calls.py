"""Functions: what each gives for a type of input, and what it can never be asked."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol

from gateway.fhirpath.env import ROOT_NAMES, constant
from gateway.fhirpath.tree import Function, Literal, Node, SortKey, Unary
from gateway.fhirpath.types_facts import Static, families, is_boolean, merged, one, shown, system, unknown
from gateway.fhirpath.types_functions import BY_PLACE, CRITERIA, FUNCTIONS, ON_INPUT, PER_ITEM, TOTAL, Size, Typed
from gateway.fhirpath.types_report import Report

_REPEATS: Final = 3  # levels of `repeat` inside of each other that are followed
_UNKNOWN: Final = {
    "resolve": "what a reference leads to is not known before it is followed",
    "children": "children have any type",
    "descendants": "descendants have any type",
}


class Pass(Protocol):
    """The static pass, as functions need it."""

    report: Report
    defined: Mapping[str, Static]
    repeats: int

    def scoped(self, node: Node, this: Static) -> Static: ...
    def quietly(self) -> "Pass": ...


def call(walk: Pass, node: Function, focus: Static, this: Static) -> Static:
    """The type of `focus.name(arguments)`."""
    if node.name in ("repeat", "repeatAll") and node.arguments:
        return _repeated(walk, node, focus)
    inner = focus.item if node.name in PER_ITEM else focus if node.name in ON_INPUT else this
    results = [_argument(walk, node, argument, inner) for argument in node.arguments]
    typed = FUNCTIONS.get(node.name, Typed(result=None, size=Size.MANY))
    _criteria(walk.report, node, results)
    _input(walk.report, node, focus, typed)
    _arguments(walk.report, node, results, typed)
    if node.name == "defineVariable":
        return _defined(walk, node, focus, results)
    if node.name in _COMPOSED and node.arguments:
        return _composed(node, focus, results)
    if typed.result is None:
        return _unknown(walk.report, node, focus)
    if node.name in _CALCULATED:
        focus = replace(focus, kinds=system(focus.kinds, walk.report.model))
    found = _result(node, focus, results, typed)
    return _rounded(walk.report, focus, found) if node.name in _ROUNDED else found


def _argument(walk: Pass, node: Function, argument: Node, inner: Static) -> Static:
    if node.name == "sort":  # `sort(-family)`: there the sign says the direction
        argument = argument.operand if isinstance(argument, SortKey | Unary) else argument
    return walk.scoped(argument, inner)


def _result(node: Function, focus: Static, results: list[Static], typed: Typed) -> Static:
    same = typed.result == ""
    kinds = focus.kinds if same else one(typed.result or "").kinds
    if typed.size is Size.ONE:
        return Static(kinds=kinds, least=1)
    if typed.size is Size.MANY:
        return Static(kinds=kinds, many=True)
    if typed.size is Size.OPTIONAL:
        least = min([1, focus.least, *(each.least for each in results)]) if node.name in TOTAL else 0
        return Static(kinds=kinds, least=least, why=focus.why)
    if typed.size is Size.SAME:
        return focus if node.name != "sort" else replace(focus, ordered=True)
    return replace(focus, least=min(1, focus.least) if node.name == "distinct" else 0)


def _unknown(report: Report, node: Function, focus: Static) -> Static:
    if node.name in ("children", "descendants"):
        return Static(kinds=None, many=True, ordered=False, why=_UNKNOWN[node.name])
    if node.name == "resolve":
        return Static(kinds=None, many=focus.many, why=_UNKNOWN["resolve"])
    if node.name in ("getValue", "sum", "avg"):
        return Static(kinds=system(focus.kinds, report.model), why=focus.why)
    return unknown(f"what `{node.name}()` gives is not known")


# Functions that make a number of a number, and a quantity of a quantity.
_ROUNDED: Final = frozenset({"ceiling", "floor", "truncate", "round"})


def _rounded(report: Report, focus: Static, of_number: Static) -> Static:
    known = families(focus.kinds, report.model)
    numbers = of_number.kinds if known is None or "number" in known else frozenset()
    quantities = one("System.Quantity").kinds if known is None or "quantity" in known else frozenset()
    return replace(of_number, kinds=(numbers or frozenset()) | (quantities or frozenset()) or of_number.kinds)


# Functions that make a value of the type of their input.
_CALCULATED: Final = frozenset({"abs", "lowBoundary", "highBoundary"})
_COMPOSED: Final = frozenset({"iif", "union", "combine", "coalesce", "select", "aggregate"})


def _composed(node: Function, focus: Static, results: list[Static]) -> Static:
    """Functions that give what their arguments give."""
    if node.name == "aggregate":
        return unknown("`aggregate()` gives what its last step gave")
    parts = {"iif": results[1:], "coalesce": results, "select": results}.get(node.name, [focus, *results])
    kinds = merged(parts)
    why = next((part.why for part in parts if part.why), "")
    many = any(part.many for part in parts)
    if node.name == "iif":
        least = min(part.least for part in parts) if len(parts) > 1 else 0
        return Static(kinds=kinds, least=least, many=many, why=why)
    if node.name == "select":
        [part] = parts[:1]
        return Static(kinds=kinds, least=min(focus.least, part.least, 1), many=many or focus.many, why=why)
    if node.name == "coalesce":
        return Static(kinds=kinds, least=max(part.least for part in parts), many=many, why=why)
    least = sum(part.least for part in parts) if node.name == "combine" else min(1, max(part.least for part in parts))
    return Static(kinds=kinds, least=least, many=True, why=why)


def _criteria(report: Report, node: Function, results: list[Static]) -> None:
    if not results or (node.name not in CRITERIA and node.name != "iif"):
        return
    found, argument = results[0], node.arguments[0]
    if found.kinds is None:
        return
    if not found.kinds:
        report.problem(argument, f"the criterion of `{node.name}()` can only be empty")
    elif not any(is_boolean(kind) for kind in found.kinds):
        say = report.problem if node.name == "iif" else report.fixed  # one value that is no boolean counts as true
        say(
            argument,
            f"the criterion of `{node.name}()` is {shown(found.kinds)}, not a boolean",
            "add `.exists()`, or compare it with a value",
        )
    elif found.many:
        message = f"the criterion of `{node.name}()` is one boolean, and this may be several values"
        report.several(argument, found, message, "use `.all(…)` or `.exists(…)`")


def _input(report: Report, node: Function, focus: Static, typed: Typed) -> None:
    """An input that the function can only fail on."""
    length = len(node.name)
    known = families(focus.kinds, report.model)
    if typed.needs and known and focus.kinds and not known & typed.needs:
        # `(1 | 2).not()`: the language makes one boolean of the input first, and fails on several.
        say = report.fails if node.name == "not" else report.problem
        say(node, f"`{node.name}()` cannot be asked of {shown(focus.kinds)}", length=length)
    elif (typed.single or node.name == "iif") and node.name != "single" and focus.kinds and focus.many:
        message = f"`{node.name}()` is asked of one value, and this may be several"
        report.several(node, focus, message, "use `.select(…)`, `.all(…)` or `.exists(…)`")
    if node.name in BY_PLACE and not focus.ordered:
        report.problem(node, f"`{node.name}()` picks by place, and children have no order", length=length)


def _arguments(report: Report, node: Function, results: list[Static], typed: Typed) -> None:
    for argument, found, wanted in zip(node.arguments, results, typed.arguments, strict=False):
        known = families(found.kinds, report.model)
        if known and found.kinds and not known & wanted:
            names = " or ".join(sorted(wanted))
            report.problem(argument, f"`{node.name}()` takes a {names} here, not {shown(found.kinds)}")
        elif found.kinds and found.many:
            report.several(argument, found, f"`{node.name}()` takes one value here, and this may be several")


def _defined(walk: Pass, node: Function, focus: Static, results: list[Static]) -> Static:
    """`defineVariable('name', value)`: known from here to the end of the path."""
    first = node.arguments[0] if node.arguments else None
    name = first.value if isinstance(first, Literal) else None
    if isinstance(name, str):
        if name in walk.defined:
            walk.report.problem(node.arguments[0], f"`%{name}` is defined already")
        elif name in ROOT_NAMES or constant(name) is not None or name in walk.report.names:
            walk.report.problem(node.arguments[0], f"`%{name}` is a name of the language, and cannot be defined")
        walk.defined = {**walk.defined, name: results[1] if len(results) > 1 else focus}
    return focus


def _repeated(walk: Pass, node: Function, focus: Static) -> Static:
    """`repeat(item | answer)`: an element has to be known on the input, or on anything that was found below it."""
    if walk.repeats == _REPEATS:  # each level walks the next one several times
        return unknown("`repeat()` is nested too deeply to follow")
    walk.repeats += 1
    quiet = walk.quietly()
    found = quiet.scoped(node.arguments[0], focus.item)
    while found.kinds:
        more = quiet.scoped(node.arguments[0], replace(found.item, kinds=found.kinds))
        if more.kinds is None or more.kinds <= found.kinds:
            break
        found = replace(found, kinds=found.kinds | more.kinds)
    everything = merged([focus, found])
    walk.scoped(node.arguments[0], Static(kinds=everything, least=1))
    walk.repeats -= 1
    return Static(kinds=found.kinds, many=True, why=found.why)
