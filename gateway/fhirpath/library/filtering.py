"""Functions that evaluate an argument for each item, or not at all. A criterion keeps an item only for true."""

from collections.abc import Mapping
from typing import Final

from gateway.fhirpath.env import ROOT_NAMES, Env, Expr, constant, per_item
from gateway.fhirpath.equality import key
from gateway.fhirpath.items import FALSE, NONE, TRUE, Collection, EvaluationError, Item, only
from gateway.fhirpath.logic import Truth
from gateway.fhirpath.ordering import sort
from gateway.fhirpath.signature import MANY, Signature

_OWN_NAMES: Final = (*ROOT_NAMES, "this", "index", "total")


def where(env: Env, focus: Collection, truth: Truth, criterion: Expr) -> Collection:
    """The items for which the criterion is true."""
    if not focus:
        return NONE
    this, index = env.this, env.index
    found: Collection = []
    for at, item in enumerate(focus):
        env.this, env.index = [item], at
        env.left -= 1
        answer = criterion(env)
        if answer is TRUE or (answer is not FALSE and truth(answer)):
            found.append(item)
    env.this, env.index = this, index
    env.spend(0)
    return found


def exists(env: Env, focus: Collection, truth: Truth, criterion: Expr | None = None) -> Collection:
    """Whether there is an item, one for which the criterion is true."""
    if criterion is not None:
        focus = where(env, focus, truth, criterion)
    return TRUE if focus else FALSE


def all_(env: Env, focus: Collection, truth: Truth, criterion: Expr) -> Collection:
    """Whether the criterion is true for every item."""
    return TRUE if len(where(env, focus, truth, criterion)) == len(focus) else FALSE


def select(env: Env, focus: Collection, _truth: Truth, projection: Expr) -> Collection:
    """What an expression gives for each item."""
    return [one for _, values in per_item(env, focus, projection) for one in values]


def repeat(env: Env, focus: Collection, _truth: Truth, projection: Expr) -> Collection:
    """What an expression gives for each item, and for what it gave, until nothing new comes."""
    found: dict[object, Item] = {}
    level = focus
    while level:
        values = select(env, level, _truth, projection)
        env.weigh(values)
        level = []
        for item in values:
            mark = key(item)
            if mark not in found:
                found[mark] = item
                level.append(item)
    return list(found.values())


def repeat_all(env: Env, focus: Collection, _truth: Truth, projection: Expr) -> Collection:
    """As `repeat`, repetitions kept; a circle ends at the budget."""
    found: Collection = []
    level = focus
    while level:
        level = select(env, level, _truth, projection)
        found += level
    return found


def aggregate(env: Env, focus: Collection, _truth: Truth, step: Expr, start: Expr | None = None) -> Collection:
    """One value from all items, by way of `$total`."""
    total = NONE if start is None else start(env)
    this, index, outer = env.this, env.index, env.total
    for at, item in enumerate(focus):
        env.this, env.index, env.total = [item], at, total
        env.spend(1 + len(total))
        total = step(env)
    env.this, env.index, env.total = this, index, outer
    return total


def iif(env: Env, focus: Collection, truth: Truth, criterion: Expr, *branches: Expr) -> Collection:
    """One of two expressions; the other is not evaluated."""
    if len(focus) > 1:
        raise EvaluationError("iif() is asked of at most one item")
    this = env.this
    env.this = focus
    answer = criterion(env)
    if len(answer) == 1 and not isinstance(answer[0], bool):
        answer = _criterion(answer)
    chosen = branches[:1] if truth(answer) else branches[1:]
    found = chosen[0](env) if chosen else NONE
    env.this = this
    return found


def _criterion(answer: Collection) -> Collection:
    value = only(answer, "a criterion")
    if value is not None and not isinstance(value, bool):
        raise EvaluationError("a criterion has to be a boolean")
    return answer


def coalesce(env: Env, _focus: Collection, _truth: Truth, *arguments: Expr) -> Collection:
    """The first argument that is not empty."""
    for argument in arguments:
        values = argument(env)
        if values:
            return values
    return NONE


def define_variable(env: Env, focus: Collection, _truth: Truth, name: Expr, value: Expr | None = None) -> Collection:
    """Names a value, the input if none is given, for the rest of the path."""
    word = only(name(env), "a name")
    if not isinstance(word, str):
        raise EvaluationError("the name of a variable has to be a string")
    if word in _OWN_NAMES or constant(word) is not None or word in env.variables or word in env.defined:
        raise EvaluationError("a variable of that name exists already")
    env.spend(len(focus) + len(env.defined))
    values = focus
    if value is not None:
        this = env.this
        env.this = focus
        values = value(env)
        env.this = this
    defined: Mapping[str, Collection] = {**env.defined, word: values}
    env.defined = defined
    return focus


def trace(_env: Env, focus: Collection, _truth: Truth, *_arguments: Expr) -> Collection:
    """The input. Nothing is printed: what a policy sees is no matter for a log."""
    return focus


FILTERING: Final[dict[str, Signature]] = {
    "where": Signature(1, 1, where, lazy=True),
    "exists": Signature(0, 1, exists, lazy=True),
    "all": Signature(1, 1, all_, lazy=True),
    "select": Signature(1, 1, select, lazy=True),
    "repeat": Signature(1, 1, repeat, lazy=True),
    "repeatAll": Signature(1, 1, repeat_all, lazy=True),
    "aggregate": Signature(1, 2, aggregate, lazy=True),
    "iif": Signature(2, 3, iif, lazy=True),
    "coalesce": Signature(1, MANY, coalesce, lazy=True),
    "defineVariable": Signature(1, 2, define_variable, lazy=True),
    "sort": Signature(0, MANY, sort, lazy=True),
    "trace": Signature(1, 2, trace, lazy=True),
}
