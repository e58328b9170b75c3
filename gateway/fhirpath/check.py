"""What can be said of a tree without any data: functions, their arguments, types."""

from collections.abc import Iterator
from difflib import get_close_matches

from gateway.fhirpath.collecting import specifier
from gateway.fhirpath.functions import ARITIES, MANY, TYPE_ARGUMENT
from gateway.fhirpath.model import Model
from gateway.fhirpath.syntax import Binary, Call, Expr, Indexer, Path, Polarity, Problem, TypeTest
from gateway.fhirpath.unsupported import UNSUPPORTED


def parts(tree: Expr) -> Iterator[Expr]:
    """Every node, outermost first; the arguments that name types are left out."""
    waiting = [tree]
    while waiting:
        expr = waiting.pop()
        yield expr
        if isinstance(expr, Path):
            waiting += [expr.step, expr.base]
        elif isinstance(expr, Indexer):
            waiting += [expr.index, expr.base]
        elif isinstance(expr, Binary):
            waiting += [expr.right, expr.left]
        elif isinstance(expr, Polarity | TypeTest):
            waiting.append(expr.operand)
        elif isinstance(expr, Call) and expr.name not in TYPE_ARGUMENT:
            waiting += reversed(expr.arguments)


def constructs(tree: Expr, model: Model) -> tuple[Problem, ...]:
    """Unknown or refused functions, wrong numbers of arguments, unknown types."""
    problems: list[Problem] = []
    for expr in parts(tree):
        if isinstance(expr, Call):
            problem = _call(expr, model)
        elif isinstance(expr, TypeTest):
            problem = _type(expr, expr.type, model)
        else:
            continue
        if problem is not None:
            problems.append(problem)
    return tuple(sorted(problems, key=lambda problem: problem.offset))


def _call(expr: Call, model: Model) -> Problem | None:
    length = len(expr.name)
    if expr.name in UNSUPPORTED:
        return Problem(
            message=f"`{expr.name}()` is not evaluated correctly by this engine yet",
            offset=expr.offset,
            length=length,
            hint="write the rule in CEL",
        )
    arity = ARITIES.get(expr.name)
    if arity is None:
        close = get_close_matches(expr.name, ARITIES, 1)
        return Problem(
            message=f"there is no function `{expr.name}()`",
            offset=expr.offset,
            length=length,
            hint=f"did you mean `{close[0]}()`?" if close else None,
        )
    least, most, _ = arity
    if not least <= len(expr.arguments) <= most:
        wanted = str(least) if least == most else f"{least} to {most}" if most != MANY else f"at least {least}"
        return Problem(
            message=f"`{expr.name}()` takes {wanted} argument{'' if wanted == '1' else 's'}, not {len(expr.arguments)}",
            offset=expr.offset,
            length=length,
        )
    if expr.name in TYPE_ARGUMENT:
        return _type(expr.arguments[0], specifier(expr.arguments[0]), model)
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
