"""What can be said of a tree without any data: functions, their arguments, types."""

from collections.abc import Iterator
from difflib import get_close_matches

from gateway.fhirpath.collecting import specifier
from gateway.fhirpath.functions import ARITIES, MANY, TYPE_ARGUMENT
from gateway.fhirpath.model import Model
from gateway.fhirpath.syntax import Call, Expr, Indexer, Literal, Path, Problem, TypeTest, operands
from gateway.fhirpath.texts import pattern
from gateway.fhirpath.unsupported import UNSUPPORTED
from gateway.fhirpath.values import EvaluationError

_ORDERED = ("first", "last", "tail", "skip", "take")
_PATTERNS = ("matches", "matchesFull", "replaceMatches")


def parts(tree: Expr) -> Iterator[Expr]:
    """Every node, outermost first; the arguments that name types are left out."""
    waiting = [tree]
    while waiting:
        expr = waiting.pop()
        yield expr
        if not (isinstance(expr, Call) and expr.name in TYPE_ARGUMENT):
            waiting += reversed(operands(expr))


def constructs(tree: Expr, model: Model) -> tuple[Problem, ...]:
    """Unknown or refused functions, wrong numbers of arguments, unknown types."""
    problems: list[Problem] = []
    for expr in parts(tree):
        if isinstance(expr, Call):
            problem = _call(expr, model)
        elif isinstance(expr, Path | Indexer):
            problem = _unordered(expr)
        elif isinstance(expr, TypeTest):
            problem = _type(expr, expr.type, model)
        else:
            continue
        if problem is not None:
            problems.append(problem)
    return tuple(sorted(problems, key=lambda problem: problem.offset))


def _unordered(expr: Path | Indexer) -> Problem | None:
    """`children()` has no order (https://hl7.org/fhirpath/N1/#children-collection), so nothing is its first."""
    step = expr.step if isinstance(expr, Path) else None
    if isinstance(expr, Path) and not (isinstance(step, Call) and step.name in _ORDERED):
        return None
    last = expr.base.step if isinstance(expr.base, Path) else expr.base
    if not isinstance(last, Call) or last.name not in ("children", "descendants"):
        return None
    return Problem(message=f"`{last.name}()` has no order to pick from", offset=last.offset, length=last.length)


def _call(expr: Call, model: Model) -> Problem | None:
    problem = _name(expr) or _arity(expr)
    if problem is not None:
        return problem
    if expr.name in _PATTERNS:
        return _pattern(expr.arguments[0])
    if expr.name in TYPE_ARGUMENT:
        return _type(expr.arguments[0], specifier(expr.arguments[0]), model)
    return None


def _name(expr: Call) -> Problem | None:
    if expr.name in ARITIES:
        return None
    if expr.name in UNSUPPORTED:
        message, hint = f"`{expr.name}()` is not evaluated correctly by this engine yet", "write the rule in CEL"
    else:
        close = get_close_matches(expr.name, ARITIES, 1)
        message = f"there is no function `{expr.name}()`"
        hint = f"did you mean `{close[0]}()`?" if close else ""
    return Problem(message=message, offset=expr.offset, length=len(expr.name), hint=hint or None)


def _arity(expr: Call) -> Problem | None:
    least, most, _ = ARITIES[expr.name]
    if least <= len(expr.arguments) <= most:
        return None
    wanted = str(least) if least == most else f"{least} to {most}" if most != MANY else f"at least {least}"
    noun = "argument" if wanted == "1" else "arguments"
    message = f"`{expr.name}()` takes {wanted} {noun}, not {len(expr.arguments)}"
    return Problem(message=message, offset=expr.offset, length=len(expr.name))


def _pattern(argument: Expr) -> Problem | None:
    """A pattern that is written out is compiled once, here, and shown to be one."""
    text = argument.values[0] if isinstance(argument, Literal) and argument.values else None
    if not isinstance(text, str):
        return None
    try:
        pattern(text)
    except EvaluationError as error:
        return Problem(
            message=str(error),
            offset=argument.offset,
            length=argument.length,
            hint="patterns are RE2: no back-references, no look-around; a backslash is written twice",
        )
    return None


def _type(expr: Expr, name: str | None, model: Model) -> Problem | None:
    if name is not None and model.knows(name):
        return None
    close = get_close_matches(name or "", model.types, 1)
    offset = expr.offset + expr.length - len(name) if isinstance(expr, TypeTest) and name else expr.offset
    return Problem(
        message=f"`{name}` is no FHIR type" if name else "a type name is expected here",
        offset=offset,
        length=len(name) if name else expr.length,
        hint=f"did you mean `{close[0]}`?" if close else None,
    )
