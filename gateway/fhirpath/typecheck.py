"""Checks paths against the element model: what cannot be right is a problem, with its place.

The walk follows types from the judged resource and the named values. Where it cannot know (an extension's value,
`resolve()`, plain JSON such as claims) it says nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from gateway.fhirpath.collecting import specifier
from gateway.fhirpath.functions import CRITERIA, PER_ITEM, TYPE_ARGUMENT
from gateway.fhirpath.kinds import (
    BOOLEAN,
    DECIMAL,
    INTEGER,
    NEEDS,
    RESULTS,
    SAME,
    STRING,
    Kind,
    Kinds,
    codes,
    family,
    is_boolean,
)
from gateway.fhirpath.model import Model
from gateway.fhirpath.reads import ROOT_NAMES
from gateway.fhirpath.syntax import (
    Binary,
    Call,
    Expr,
    Indexer,
    Literal,
    Member,
    Path,
    Polarity,
    Problem,
    Special,
    TypeTest,
    Variable,
)

_UNKNOWN_MEMBERS: Final = frozenset({"Resource", "DomainResource"})
_FEW: Final = 3  # types that a message names one by one
_EQUALITY: Final = frozenset({"=", "!=", "~", "!~"})
_ORDER: Final = frozenset({"<", "<=", ">", ">="})
_LOGIC: Final = frozenset({"and", "or", "xor", "implies"})


def check(
    tree: Expr,
    model: Model,
    roots: Mapping[str, str],
    *,
    release: str = "R4",
    types: tuple[str, ...] = (),
    wants_boolean: bool = False,
) -> tuple[Problem, ...]:
    """Every problem of a tree. `roots`: the resource type by name (`resource`, `patient`, `prior`, `stored`).

    `types` are all types that the same text is checked for: a path may begin with any of them. `wants_boolean`: a
    text that can only be empty, or something other than a boolean, is a problem.
    """
    walk = _Walk(model=model, roots=roots, release=release, types=types)
    root = walk.root("resource")
    found = walk.infer(tree, root, root)
    if wants_boolean and not walk.problems:
        _result(walk, tree, found)
    unique = {(problem.offset, problem.message): problem for problem in walk.problems}
    return tuple(sorted(unique.values(), key=lambda problem: problem.offset))


def _result(walk: "_Walk", tree: Expr, found: Kinds) -> None:
    if found is None or any(is_boolean(kind) for kind in found):
        return
    if not found:
        walk.report(tree, "this can only be empty, which is never true")
        return
    walk.report(tree, f"this is a {_shown(found)}, not true or false", "add `.exists()`, or compare it with a value")


def _shown(kinds: frozenset[Kind]) -> str:
    names = sorted({kind.type.removeprefix("System.") for kind in kinds})
    return " or ".join(names) if len(names) <= _FEW else f"{names[0]} or one of {len(names) - 1} other types"


@dataclass(slots=True, kw_only=True)
class _Walk:
    model: Model
    roots: Mapping[str, str]
    release: str
    types: tuple[str, ...]
    quiet: bool = False
    problems: list[Problem] = field(default_factory=list)

    def root(self, name: str) -> Kinds:
        type_name = self.roots.get(name)
        return None if type_name is None else frozenset({Kind(type_name)})

    def report(self, at: Expr, message: str, hint: str | None = None, length: int | None = None) -> None:
        self.problems.append(
            Problem(message=message, offset=at.offset, length=at.length if length is None else length, hint=hint)
        )

    def infer(self, expr: Expr, focus: Kinds, this: Kinds) -> Kinds:
        """The kinds of an expression. `focus`: what a bare name is asked of; `this`: `$this`."""
        return _INFER[type(expr)](self, expr, focus, this)


def _literal(_walk: _Walk, expr: Literal, _focus: Kinds, _this: Kinds) -> Kinds:
    from_value = (_system_type(value) for value in expr.values)
    return frozenset(Kind(name) for name in from_value)


def _system_type(value: object) -> str:
    if isinstance(value, bool):
        return "System.Boolean"
    if isinstance(value, int):
        return "System.Integer"
    kind = getattr(value, "kind", None)
    named = {"Decimal": "Decimal", "str": "String", "Quantity": "Quantity"}
    return f"System.{kind or named[type(value).__name__]}"


def _variable(walk: _Walk, expr: Variable, _focus: Kinds, _this: Kinds) -> Kinds:
    return walk.root("resource" if expr.name in ROOT_NAMES else expr.name)


def _special(_walk: _Walk, expr: Special, _focus: Kinds, this: Kinds) -> Kinds:
    return {"$this": this, "$index": INTEGER}.get(expr.name)


def _path(walk: _Walk, expr: Path, focus: Kinds, this: Kinds) -> Kinds:
    base = walk.infer(expr.base, focus, this)
    return walk.infer(expr.step, base, this)


def _indexer(walk: _Walk, expr: Indexer, focus: Kinds, this: Kinds) -> Kinds:
    walk.infer(expr.index, focus, this)
    return walk.infer(expr.base, focus, this)


def _polarity(walk: _Walk, expr: Polarity, focus: Kinds, this: Kinds) -> Kinds:
    return walk.infer(expr.operand, focus, this)


def _member(walk: _Walk, expr: Member, focus: Kinds, _this: Kinds) -> Kinds:
    if not focus:
        return focus
    if expr.name[:1].isupper():
        return _type_name(walk, expr, focus)
    if any(kind.type in _UNKNOWN_MEMBERS for kind in focus):
        return None
    found: set[Kind] = set()
    for kind in focus:
        member = walk.model.member(kind.type, expr.name)
        if member is not None:
            found.update(Kind(type_name, kind.type, expr.name) for type_name in member.types)
    if not found:
        _unknown_element(walk, expr, focus)
        return frozenset() if walk.quiet else None
    return frozenset(found)


def _type_name(walk: _Walk, expr: Member, focus: frozenset[Kind]) -> Kinds:
    """`Patient.name`: the type as first step keeps the resource if it is one."""
    kept = frozenset(kind for kind in focus if walk.model.is_a(kind.type, expr.name))
    open_types = frozenset(kind for kind in focus if kind.type in _UNKNOWN_MEMBERS)
    if kept:
        return kept
    if open_types:
        return frozenset({Kind(expr.name)}) if expr.name in walk.model.types else None
    if expr.name not in walk.types:
        actual = " or ".join(sorted({kind.type for kind in focus}))
        walk.report(expr, f"this can only be empty: it is asked of {actual}, not of {expr.name}")
    return frozenset()


def _unknown_element(walk: _Walk, expr: Member, focus: frozenset[Kind]) -> None:
    types = sorted({kind.type for kind in focus})
    for type_name in types:
        choice = walk.model.choice_of(type_name, expr.name)
        if choice is not None:
            walk.report(
                expr,
                f"{type_name} has no element `{expr.name}` in FHIRPath",
                f"write `{choice[0]}.ofType({choice[1]})`",
            )
            return
    if expr.name == "resourceType":
        walk.report(expr, "`resourceType` is no element in FHIRPath", "write `$this is Patient` for a type test")
        return
    close = get_close_matches(expr.name, sorted(set().union(*(walk.model.names(name) for name in types))), 1, 0.7)
    owner = types[0] if len(types) == 1 else " or ".join(types) if len(types) <= _FEW else "no type of this choice"
    verb = "has an element" if len(types) > _FEW else "has no element"
    walk.report(expr, f"{owner} {verb} `{expr.name}`", f"did you mean `{close[0]}`?" if close else None)


def _call(walk: _Walk, expr: Call, focus: Kinds, this: Kinds) -> Kinds:
    if expr.name in TYPE_ARGUMENT:
        return _narrowed(walk, expr, focus, expr.name, specifier(expr.arguments[0]) or "")
    if expr.name == "repeat":
        return _repeated(walk, expr, focus)
    inner = focus if expr.name in PER_ITEM or expr.name == "iif" else this
    results = [walk.infer(argument, inner, inner) for argument in expr.arguments]
    if expr.name in CRITERIA and expr.arguments:
        _criterion(walk, expr.arguments[0], results[0], expr.name)
    if expr.name == "iif":
        _criterion(walk, expr.arguments[0], results[0], "iif")
    _needed(walk, expr, focus)
    if expr.name in ("iif", "union", "combine", "coalesce", "select"):
        return _merged(expr.name, focus, results)
    if expr.name in SAME:
        return focus
    return RESULTS.get(expr.name)


def _needed(walk: _Walk, expr: Call, focus: Kinds) -> None:
    """An input that the function can only fail on."""
    needed = NEEDS.get(expr.name)
    if needed is None or not focus:
        return
    families = {family(kind, walk.model) for kind in focus}
    if None not in families and not families & needed:
        walk.report(expr, f"`{expr.name}()` cannot be asked of a {_shown(focus)}", length=len(expr.name))


def _merged(name: str, focus: Kinds, results: list[Kinds]) -> Kinds:
    parts = {"iif": results[1:], "coalesce": results, "select": results}.get(name, [focus, *results])
    if any(part is None for part in parts):
        return None
    return frozenset().union(*(part for part in parts if part is not None))


def _repeated(walk: _Walk, expr: Call, focus: Kinds) -> Kinds:
    """`repeat(item | answer)`: an element has to be known on the input, or on anything that was found below it."""
    quiet = _Walk(model=walk.model, roots=walk.roots, release=walk.release, types=walk.types, quiet=True)
    found = quiet.infer(expr.arguments[0], focus, focus)
    while found:
        more = quiet.infer(expr.arguments[0], found, found)
        if more is None or more <= found:
            break
        found |= more
    everything = None if found is None or focus is None else focus | found
    walk.infer(expr.arguments[0], everything, everything)
    return found


def _criterion(walk: _Walk, argument: Expr, found: Kinds, name: str) -> None:
    if found is None or any(is_boolean(kind) for kind in found):
        return
    if not found:
        walk.report(argument, f"the criterion of `{name}()` can only be empty")
        return
    walk.report(
        argument,
        f"the criterion of `{name}()` is a {_shown(found)}, not a boolean",
        "add `.exists()`, or compare it with a value",
    )


def _narrowed(walk: _Walk, expr: Expr, focus: Kinds, operator: str, wanted: str) -> Kinds:
    """`is`, `as` and `ofType` on what is known of their input."""
    name = wanted.removeprefix("FHIR.")
    known = name in walk.model.types
    if focus and known:
        _narrowing_problem(walk, expr, focus, operator, name)
    if operator == "is":
        return BOOLEAN
    if not known:
        return None
    kept = frozenset(kind for kind in focus or () if kind.type == name)
    return kept or frozenset({Kind(name)})


def _narrowing_problem(walk: _Walk, expr: Expr, focus: frozenset[Kind], operator: str, name: str) -> None:
    model = walk.model
    actual = sorted({kind.type for kind in focus})
    if any(type_name.startswith("System.") for type_name in actual):
        return
    if not any(model.is_a(one, name) or model.is_a(name, one) for one in actual):
        walk.report(expr, f"this can never be a {name}: it is a {_shown(focus)}")
    elif operator != "is" and not any(one == name or model.is_a(name, one) for one in actual):
        # The official suite has `gender.as(string)` empty, the text of the specification has it not.
        walk.report(expr, f"engines disagree on `{operator}({name})` of a {actual[0]}", f"leave `{operator}` out")


def _type_test(walk: _Walk, expr: TypeTest, focus: Kinds, this: Kinds) -> Kinds:
    return _narrowed(walk, expr, walk.infer(expr.operand, focus, this), expr.operator, expr.type)


def _binary(walk: _Walk, expr: Binary, focus: Kinds, this: Kinds) -> Kinds:
    left, right = walk.infer(expr.left, focus, this), walk.infer(expr.right, focus, this)
    if expr.operator in _LOGIC:
        for side, found in ((expr.left, left), (expr.right, right)):
            if found and not any(is_boolean(kind) for kind in found):
                walk.report(side, f"`{expr.operator}` needs booleans", "add `.exists()`, or compare it with a value")
        return BOOLEAN
    if expr.operator == "|":
        return _merged("union", left, [right])
    if expr.operator == "&":
        return STRING
    if expr.operator in _EQUALITY or expr.operator in _ORDER or expr.operator in ("in", "contains"):
        _families(walk, expr, left, right)
        _bindings(walk, expr, left, right)
        return BOOLEAN
    sides = {family(kind, walk.model) for kind in (left or frozenset()) | (right or frozenset())}
    return DECIMAL if left and right and sides == {"number"} else None


def _families(walk: _Walk, expr: Binary, left: Kinds, right: Kinds) -> None:
    """A comparison of values that are never equal, such as a CodeableConcept with a string."""
    if not left or not right:
        return
    one, other = ({family(kind, walk.model) for kind in side} for side in (left, right))
    if None in one or None in other or one & other:
        return
    # A string beside a date is read as a date, a number beside a quantity as one of unit 1.
    if any({"string", "date or time"} <= both or {"number", "quantity"} <= both for both in (one | other,)):
        return
    mine, theirs = _shown(left), _shown(right)
    hint = "compare `coding.code`" if "CodeableConcept" in (mine, theirs) else None
    walk.report(expr, f"a {mine} and a {theirs} have no common values for `{expr.operator}`", hint)


def _bindings(walk: _Walk, expr: Binary, left: Kinds, right: Kinds) -> None:
    """Literals that the required binding of the element does not have."""
    if expr.operator in _ORDER:
        return
    for kinds, side in ((left, expr.right), (right, expr.left)):
        allowed = _allowed(walk, kinds)
        for literal in _texts(side) if allowed is not None else ():
            value = literal.values[0]
            if allowed is not None and isinstance(value, str) and value not in allowed:
                close = get_close_matches(value, sorted(allowed), 1)
                hint = f"did you mean '{close[0]}'?" if close else f"one of {', '.join(sorted(allowed)[:12])}"
                name = next(iter(kinds or ())).name
                walk.report(literal, f"'{value}' is not in the required value set of `{name}`", hint)


def _allowed(walk: _Walk, kinds: Kinds) -> frozenset[str] | None:
    if not kinds:
        return None
    sets = [codes(walk.release, kind.owner, kind.name) if kind.type == "code" else None for kind in kinds]
    if any(one is None for one in sets):
        return None
    return frozenset().union(*(one for one in sets if one is not None))


def _texts(expr: Expr) -> tuple[Literal, ...]:
    if isinstance(expr, Literal):
        return (expr,) if expr.values and isinstance(expr.values[0], str) else ()
    if isinstance(expr, Binary) and expr.operator == "|":
        return (*_texts(expr.left), *_texts(expr.right))
    return ()


_INFER: Final[dict[type[Expr], Callable[..., Kinds]]] = {
    Literal: _literal,
    Variable: _variable,
    Special: _special,
    Path: _path,
    Indexer: _indexer,
    Polarity: _polarity,
    Member: _member,
    Call: _call,
    Binary: _binary,
    TypeTest: _type_test,
}
