"""What can be said of a tree without any data: functions, their arguments, types, patterns."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from gateway.fhirpath.items import EvaluationError
from gateway.fhirpath.library import LIBRARY, TYPE_ARGUMENT
from gateway.fhirpath.library.intervals import PRECISIONS
from gateway.fhirpath.model import Model
from gateway.fhirpath.patterns import pattern
from gateway.fhirpath.problem import Problem
from gateway.fhirpath.signature import MANY
from gateway.fhirpath.tree import Function, Indexer, Literal, Member, Node, Path, TypeOp, operands, type_name
from gateway.fhirpath.unsupported import HINTS, UNPROVEN, UNSUPPORTED

_ORDERED: Final = ("first", "last", "tail", "skip", "take")
_PATTERNS: Final = ("matches", "matchesFull", "replaceMatches")
_ARITIES: Final = {
    **{name: (signature.least, signature.most) for name, signature in LIBRARY.items()},
    **dict.fromkeys(TYPE_ARGUMENT, (1, 1)),
}


def parts(tree: Node) -> Iterator[Node]:
    """Every node, outermost first; the arguments that name types are left out."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if not (isinstance(node, Function) and node.name in TYPE_ARGUMENT):
            waiting += reversed(operands(node))


def constructs(tree: Node, model: Model, *, strict: bool = False) -> tuple[Problem, ...]:
    """Unknown functions, wrong numbers of arguments, unknown types, patterns that are none.

    `strict`: functions whose answer proves too little are problems, too.
    """
    problems: list[Problem] = []
    for node in parts(tree):
        problem = None
        if isinstance(node, Function):
            problem = (_unproven(node) if strict else None) or _call(node, model)
        elif isinstance(node, Path | Indexer):
            problem = _unordered(node)
        elif isinstance(node, TypeOp):
            problem = _type(node, node.type, model)
        if problem is not None:
            problems.append(problem)
    return tuple(sorted(problems, key=lambda problem: problem.offset))


def _unordered(node: Path | Indexer) -> Problem | None:
    """`children()` has no order (https://hl7.org/fhirpath/N1/#children-collection), so nothing is its first."""
    step = node.step if isinstance(node, Path) else None
    if isinstance(node, Path) and not (isinstance(step, Function) and step.name in _ORDERED):
        return None
    last = node.base.step if isinstance(node.base, Path) else node.base
    if not isinstance(last, Function) or last.name not in ("children", "descendants"):
        return None
    return Problem(message=f"`{last.name}()` has no order to pick from", offset=last.offset, length=last.length)


def _call(node: Function, model: Model) -> Problem | None:
    problem = _name(node) or _arity(node)
    if problem is not None:
        return problem
    if node.name in _PATTERNS:
        return _pattern(node.arguments[0])
    if node.name in ("duration", "difference"):
        return _precision(node.arguments[1])
    if node.name in TYPE_ARGUMENT:
        return _type(node.arguments[0], type_name(node.arguments[0]), model)
    return None


def _name(node: Function) -> Problem | None:
    if node.name in _ARITIES:
        return None
    why = UNSUPPORTED.get(node.name)
    close = get_close_matches(node.name, _ARITIES, 1) if why is None else []
    hint = f"did you mean `{close[0]}()`?" if close else HINTS.get(node.name)
    message = f"there is no function `{node.name}()`" if why is None else f"`{node.name}()` {why}"
    return Problem(message=message, offset=node.offset, length=len(node.name), hint=hint)


def _unproven(node: Function) -> Problem | None:
    why = UNPROVEN.get(node.name)
    if why is None:
        return None
    return Problem(message=f"`{node.name}()` {why}", offset=node.offset, length=len(node.name))


def _arity(node: Function) -> Problem | None:
    least, most = _ARITIES[node.name]
    if least <= len(node.arguments) <= most:
        return None
    wanted = str(least) if least == most else f"{least} to {most}" if most != MANY else f"at least {least}"
    noun = "argument" if wanted == "1" else "arguments"
    message = f"`{node.name}()` takes {wanted} {noun}, not {len(node.arguments)}"
    return Problem(message=message, offset=node.offset, length=len(node.name))


def _pattern(argument: Node) -> Problem | None:
    """A pattern that is written out is compiled once, here, and shown to be one."""
    if not isinstance(argument, Literal) or not isinstance(argument.value, str):
        return None
    try:
        pattern(argument.value)
    except EvaluationError as error:
        return Problem(
            message=str(error),
            offset=argument.offset,
            length=argument.length,
            hint="patterns are RE2: no back-references, no look-around; a backslash is written twice",
        )
    return None


def _precision(argument: Node) -> Problem | None:
    if not isinstance(argument, Literal) or argument.value in PRECISIONS:
        return None
    hint = f"one of {', '.join(PRECISIONS)}"
    return Problem(message="this is no precision", offset=argument.offset, length=argument.length, hint=hint)


def _type(node: Node, name: str | None, model: Model) -> Problem | None:
    # `System.Patient` names no type, and yet a suite asks whether something is one: it is not.
    if name is not None and (model.knows(name) or model.knows(name.removeprefix("System."))):
        return None
    close = get_close_matches(name or "", model.types, 1)
    offset = node.offset + node.length - len(name) if isinstance(node, TypeOp) and name else node.offset
    return Problem(
        message=f"`{name}` is no FHIR type" if name else "a type name is expected here",
        offset=offset,
        length=len(name) if name else node.length,
        hint=f"did you mean `{close[0]}`?" if close else None,
        kind="execution" if isinstance(node, Member) else "semantic",  # `as(x)`: an argument, as the suites see it
    )
