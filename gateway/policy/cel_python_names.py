"""cel-python's evaluator with scopes that cost little.

Its own activation is copied whole for every item of every macro, at a millisecond each.
"""

from collections.abc import Mapping
from typing import Any, Final

import lark
from celpy.evaluation import Activation, Evaluator, base_functions

from gateway.policy.cel_python_functions import FUNCTIONS

_EVERY_FUNCTION: Final[Mapping[str, Any]] = {**base_functions, **FUNCTIONS}


class Names(Activation):
    """Variables by name; types and functions are CEL's own and ours."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.variables = variables

    def __repr__(self) -> str:
        """Stands in the evaluator's error texts: no values."""
        return "names"

    def resolve_variable(self, name: str) -> Any:
        """Raises KeyError for a name that has no value."""
        found = self.variables.get(name, self)
        return base_functions[name] if found is self else found  # the name of a type: `type(x) == string`

    def resolve_function(self, name: str) -> Any:
        """Raises KeyError for an unknown function."""
        return _EVERY_FUNCTION[name]


class Evaluation(Evaluator):
    """Evaluates a tree that `cel_python_build` made."""

    def __init__(self, ast: Any, activation: Names) -> None:
        super().__init__(ast, activation)
        self.outer = activation

    def sub_evaluator(self, ast: Any) -> "Evaluation":
        """For the body of a macro."""
        return Evaluation(ast, self.activation if isinstance(self.activation, Names) else self.outer)

    def set_activation(self, values: Any) -> "Evaluation":
        """For one item of a macro."""
        self.activation = Names({**self.outer.variables, **values})
        return self

    def constant(self, tree: "lark.Tree[Any]") -> Any:
        """A literal, in place."""
        return tree.children[0]
