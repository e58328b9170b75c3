"""Functions whose argument is evaluated for each item: `where`, `select`, `all`, `exists`, `repeat`, `aggregate`.

A criterion is evaluated once per item, and only the boolean true keeps an item: false and empty drop it, anything
else is an error (https://hl7.org/fhirpath/N1/#wherecriteria-expression-collection).
"""

from gateway.fhirpath import comparing
from gateway.fhirpath.evaluation import Evaluation, Scope
from gateway.fhirpath.syntax import Expr
from gateway.fhirpath.values import Collection, EvaluationError, truth


def where(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """The items for which the criterion is true."""
    kept: Collection = []
    for index, item in enumerate(focus):
        this = [item]
        if truth(run.of(arguments[0], this, Scope(this, index, scope.total))) is True:
            kept.append(item)
    return kept


def exists(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """Whether there is an item, or one for which the criterion is true."""
    return [bool(where(run, focus, arguments, scope) if arguments else focus)]


def all_(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """Whether the criterion is true for every item."""
    for index, item in enumerate(focus):
        this = [item]
        if truth(run.of(arguments[0], this, Scope(this, index, scope.total))) is not True:
            return [False]
    return [True]


def select(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """The projection of every item."""
    found: Collection = []
    for index, item in enumerate(focus):
        this = [item]
        found.extend(run.of(arguments[0], this, Scope(this, index, scope.total)))
    return found


def repeat(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """The projection, applied again to what it found, until nothing new comes."""
    found: dict[object, Collection] = {}
    waiting = list(focus)
    while waiting:
        fresh: Collection = []
        for item in waiting:
            this = [item]
            children = run.of(arguments[0], this, Scope(this, None, scope.total))
            run.weigh(children)
            for child in children:
                key = comparing.key(child)
                if key not in found:
                    found[key] = [child]
                    fresh.append(child)
        waiting = fresh
    return [item for items in found.values() for item in items]


def aggregate(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """Fold the items into `$total`."""
    total = run.of(arguments[1], scope.this, scope) if len(arguments) > 1 else []
    for index, item in enumerate(focus):
        this = [item]
        total = run.of(arguments[0], this, Scope(this, index, total))
    return total


def iif(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """The second argument where the first is true, else the third; only the one chosen is evaluated."""
    if len(focus) > 1:
        raise EvaluationError("iif() is asked of one item, not of several")
    inner = Scope(focus, scope.index, scope.total)
    if truth(run.of(arguments[0], focus, inner)) is True:
        return run.of(arguments[1], focus, inner)
    return run.of(arguments[2], focus, inner) if len(arguments) > 2 else []  # noqa: PLR2004 (the third argument)


def trace(_run: Evaluation, focus: Collection, _arguments: tuple[Expr, ...], _scope: Scope) -> Collection:
    """The input. Nothing is printed: it may be patient data."""
    return focus
