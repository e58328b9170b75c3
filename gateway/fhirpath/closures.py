"""What the nodes of a tree become: closures over the environment, for steps, paths, counts, calls and unions."""

from collections.abc import Callable
from typing import Final

from gateway.fhirpath.env import Env, Expr, Step
from gateway.fhirpath.equality import distinct
from gateway.fhirpath.items import FALSE, TRUE, BudgetExceeded, Collection, EvaluationError, has_value
from gateway.fhirpath.logic import Truth
from gateway.fhirpath.tree import Node


def constant(values: Collection) -> Expr:
    """The same value, whatever is asked."""
    return lambda _env: values


def this_item(env: Env) -> Collection:
    """`$this`."""
    return env.this


def this_has_value(env: Env) -> Collection:
    """`hasValue()` of `$this`, which ele-1 asks of every element."""
    this = env.this
    env.left -= 2
    if env.left < 0:
        raise BudgetExceeded
    return TRUE if len(this) == 1 and has_value(this[0]) else FALSE


def resource_item(env: Env) -> Collection:
    """`%resource`."""
    return env.resource


def root_item(env: Env) -> Collection:
    """`%rootResource`."""
    return env.root


ROOTS: Final[dict[str, Expr]] = {"resource": resource_item, "rootResource": root_item}


def index_value(env: Env) -> Collection:
    """`$index`. Raises EvaluationError outside of an iteration."""
    if env.index is None:
        raise EvaluationError("$index has no value here")
    return [env.index]


def total_value(env: Env) -> Collection:
    """`$total`. Raises EvaluationError outside of `aggregate`."""
    if env.total is None:
        raise EvaluationError("$total has no value here")
    env.left -= len(env.total)
    return env.total


def on_this(step: Step) -> Expr:
    """A step that begins at `$this`."""

    def evaluate(env: Env) -> Collection:
        found = step(env, env.this)
        env.left -= 1 + len(found)
        if env.left < 0:
            raise BudgetExceeded
        return found

    return evaluate


def chain(base: Expr, steps: tuple[Step, ...]) -> Expr:
    """One step after the other; each counts what it gives."""
    if len(steps) == 1:
        (only_step,) = steps

        def evaluate_one(env: Env) -> Collection:
            found = only_step(env, base(env))
            env.left -= 1 + len(found)
            if env.left < 0:
                raise BudgetExceeded
            return found

        return evaluate_one

    def evaluate(env: Env) -> Collection:
        found = base(env)
        for step in steps:
            found = step(env, found)
            env.left -= 1 + len(found)
            if env.left < 0:
                raise BudgetExceeded
        return found

    return evaluate


def presence(base: Expr, present: Collection, absent: Collection) -> Expr:
    """`base.exists()` or `base.empty()`."""

    def evaluate(env: Env) -> Collection:
        found = present if base(env) else absent
        env.left -= 2
        if env.left < 0:
            raise BudgetExceeded
        return found

    return evaluate


def count(base: Expr) -> Expr:
    """`count()`, without keeping what is counted."""

    def evaluate(env: Env) -> Collection:
        found = len(base(env))
        env.left -= 2
        if env.left < 0:
            raise BudgetExceeded
        return [found]

    return evaluate


PRESENCE: Final = {"exists": (TRUE, FALSE), "empty": (FALSE, TRUE)}


def lazy(call: Callable[..., Collection], truth: Truth, arguments: tuple[Expr, ...]) -> Step:
    """A call whose arguments are evaluated by the function itself."""
    if len(arguments) == 1:
        (argument,) = arguments
        return lambda env, focus: call(env, focus, truth, argument)
    return lambda env, focus: call(env, focus, truth, *arguments)


def eager(call: Callable[..., Collection], arguments: tuple[Expr, ...]) -> Step:
    """A call whose arguments are evaluated first."""
    if not arguments:
        return call
    if len(arguments) == 1:
        (argument,) = arguments
        return lambda env, focus: call(env, focus, argument(env))
    return lambda env, focus: call(env, focus, *[argument(env) for argument in arguments])


def union(left: Expr, right: Expr) -> Expr:
    """`|`: what is on either side, each value once."""

    def evaluate(env: Env) -> Collection:
        values = left(env) + right(env)
        env.spend(len(values))
        env.weigh(values)
        return distinct(values)

    return evaluate


def sized(expr: Expr, size: int) -> Expr:
    """An argument that costs as many units as it has nodes, at each evaluation."""

    def evaluate(env: Env) -> Collection:
        env.spend(size * max(1, len(env.this)))
        return expr(env)

    return evaluate


def scoped(expr: Expr) -> Expr:
    """What is defined within ends with it."""

    def evaluate(env: Env) -> Collection:
        defined = env.defined
        found = expr(env)
        env.defined = defined
        return found

    return evaluate


def recorded(expr: Expr, node: Node) -> Expr:
    """Leaves the value, or the error, of a node in `Env.record`."""

    def evaluate(env: Env) -> Collection:
        try:
            found = expr(env)
        except (EvaluationError, BudgetExceeded):
            env.failed = env.failed or (node.offset, node.length)
            raise
        if env.record is not None:
            env.record.append((node.offset, node.length, found))
        return found

    return evaluate
