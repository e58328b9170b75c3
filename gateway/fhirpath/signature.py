"""How a function of the language is declared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.fhirpath.env import Env
from gateway.fhirpath.items import NONE, Collection, EvaluationError, only

MANY: Final = 20

# The implementation is called with the Env and the focus, and then
#   eager: the values of its arguments, each evaluated once where the function stands;
#   lazy: its compiled arguments, to be evaluated item by item, or not at all.
# Python cannot say "these, and then any number of those" in one type of function.
Implementation: TypeAlias = Callable[..., Collection]


@dataclass(frozen=True, slots=True)
class Signature:
    """The number of arguments that a function takes, and what it does."""

    least: int
    most: int
    call: Implementation
    lazy: bool = False


def simple(function: Callable[[Collection], Collection]) -> Implementation:
    """A function of its input alone."""

    def call(_env: Env, focus: Collection) -> Collection:
        return function(focus)

    return call


def of_one(what: str, function: Callable[[object], Collection], work: int = 2) -> Implementation:
    """A function of the one System value of its input; empty on empty, an error on several.

    `work`: units that it costs beside reading the value.
    """

    def call(env: Env, focus: Collection) -> Collection:
        env.read(focus)
        env.spend(work)
        value = only(focus, what)
        return NONE if value is None else function(value)

    return call


def whole(values: Collection) -> int:
    """An argument that has to be one whole number."""
    value = only(values, "an argument")
    if isinstance(value, bool) or not isinstance(value, int):
        raise EvaluationError("an argument has to be one whole number")
    return value


def text(value: object) -> str:
    """An argument that has to be a string."""
    if not isinstance(value, str):
        raise EvaluationError("an argument has to be a string")
    return value
