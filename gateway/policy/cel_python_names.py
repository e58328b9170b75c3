"""cel-python's evaluator with scopes that cost little.

Its own activation is copied whole for every item of every macro, at a millisecond each.
"""

from collections.abc import Mapping
from typing import Any, Final

import lark
from celpy.celtypes import MapType
from celpy.evaluation import Activation, CELEvalError, Evaluator, base_functions

from gateway.policy.cel_python_functions import FUNCTIONS, Optional, is_key, no_overload

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

    def or_value(self, tree: "lark.Tree[Any]") -> Any:
        """`optional.orValue(other)`: `other` is evaluated only where it is needed."""
        value = self.visit(tree.children[0])
        if isinstance(value, CELEvalError):
            return value
        if not isinstance(value, Optional):
            return no_overload()
        return value.content if value.present else self.visit(tree.children[1])

    def map_of(self, tree: "lark.Tree[Any]") -> Any:
        """A map literal: keys and values in turn."""
        found = [self.visit(part) for part in tree.children]
        for part in found:
            if isinstance(part, CELEvalError):
                return part
        keys = found[::2]
        if not all(map(is_key, keys)) or len(set(keys)) < len(keys):
            return no_overload()
        return MapType(dict(zip(keys, found[1::2], strict=True)))

    def constant(self, tree: "lark.Tree[Any]") -> Any:
        """A literal, in place."""
        return tree.children[0]
