"""CEL rules on cel-python: the second engine, where the first has no wheel, and the oracle of a differential test.

Same interface, same meaning: cel-python's parser, a smaller type checker (`cel_infer`), the same rewrite of absent
elements (`cel_lenient`), cel-python's evaluator with the functions of `cel_python_functions`. Slower by an order of
magnitude. Iterations are bounded as in the first engine; nesting by the depth of Python's stack. `Environment` of
cel-python is not used: it changes the recursion limit of the process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from celpy import celtypes, evaluation

from gateway.policy import cel_check, cel_lenient, cel_types, cel_values
from gateway.policy.cel_expression import CelSource, join
from gateway.policy.cel_infer import infer
from gateway.policy.cel_problems import TOO_DEEP, Draft, Known, merge
from gateway.policy.cel_python_build import STEPS, build
from gateway.policy.cel_python_functions import Optional, OutOfBudget, Steps
from gateway.policy.cel_python_names import Evaluation, Names
from gateway.policy.cel_python_parse import CelSyntaxError, parse
from gateway.policy.cel_reasons import BUDGET, reason
from gateway.policy.cel_tree import Node, Tree, Unsigned
from gateway.policy.decision import Result
from gateway.policy.expression import HELD, WHOLE, Compiled, Evaluated, ExpressionProblem, Language, Reads, Scope

ITERATIONS: Final = 9_999  # as the first engine, measured; both count over a whole conjunction
_FAILED: Final = Evaluated(Result.FAIL, False)

# Their debug and error messages quote values.
for _logger in (evaluation.logger, evaluation.Evaluator.logger, celtypes.logger):
    _logger.disabled = True


@dataclass(frozen=True)
class PythonBound:
    """One decision's values."""

    type: str
    values: Mapping[str, object]

    @cached_property
    def context(self) -> dict[str, Any]:
        """The values as cel-python's."""
        return {name: _cel(value) for name, value in cel_values.deep(self.values).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonExpression(CelSource[Any]):
    """A source on this engine."""

    def evaluate(self, bound: object) -> Evaluated:
        """Never raises for what a payload holds. Raises TypeError when `bound` is not this engine's."""
        if not isinstance(bound, PythonBound):
            raise TypeError("not an activation of this engine")
        program = self.programs.get(bound.type)
        if program is None:
            return Evaluated(Result.ERROR, reason="the rule is not made for this resource type")
        try:
            answer = Evaluation(program, Names({**bound.context, STEPS: Steps(ITERATIONS)})).evaluate()
        except OutOfBudget:
            return Evaluated(Result.OUT_OF_BUDGET, reason=BUDGET)
        except RecursionError:
            return Evaluated(Result.OUT_OF_BUDGET, reason=TOO_DEEP)
        except evaluation.CELEvalError as problem:
            return Evaluated(Result.ERROR, reason=reason(str(problem.args[0]), self.reading.written))
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, AssertionError):
            # a value that is no JSON; and cel-python lets these escape where an operand does not belong
            return Evaluated(Result.ERROR, reason="a value has the wrong type")
        return self._answer(answer)

    def _answer(self, answer: object) -> Evaluated:
        if isinstance(answer, celtypes.BoolType):
            return HELD if answer else _FAILED
        try:
            value = _json(answer) if self.keeps_value or isinstance(answer, Optional) else None
        except TypeError:
            return Evaluated(Result.ERROR, reason="the result is not a JSON value")
        return Evaluated(Result.NON_BOOLEAN, value, "not a boolean")


class CelPythonEngine:
    """Compiles, binds and joins CEL expressions. Thread safe: programs are immutable."""

    language = Language.CEL
    name = "cel-python"

    def compile(self, source: str, scope: Scope) -> PythonExpression | tuple[ExpressionProblem, ...]:
        """Checks the source for every resource type of the scope; all problems of all types are listed."""
        try:
            types = cel_types.load(scope.release)
            return cel_check.check_params(scope) or self._compile(source, scope, types)
        except ValueError as problem:
            return (ExpressionProblem(message=str(problem)),)
        except CelSyntaxError as problem:
            return (ExpressionProblem(message=str(problem), offset=problem.offset),)
        except RecursionError:
            return (ExpressionProblem(message=TOO_DEEP),)

    def _compile(
        self, source: str, scope: Scope, types: cel_types.Types
    ) -> PythonExpression | tuple[ExpressionProblem, ...]:
        parsed = parse(source)
        drafts: dict[str, list[Draft]] = {}
        roots: dict[str, Node] = {}
        for name in scope.resource_types:
            tree, found = infer(parsed, Known(source, scope, types, name))
            drafts[name] = found or cel_check.check(tree, scope, types)
            roots[name] = cel_lenient.lenient(tree, types, scope.params)
        problems = merge(drafts, source)
        if any(not problem.is_warning for problem in problems):
            return problems
        return PythonExpression(
            source=source,
            reading=cel_check.read(Tree(parsed.root)),
            roots=roots,
            programs=_programs(roots),
            keeps_value=not scope.wants_boolean,
            warnings=problems,
        )

    def conjunction(self, parts: tuple[Compiled, ...]) -> PythonExpression | None:
        """One program that is true exactly when every part is; None for no parts, foreign parts or no shared type."""
        return join(parts, PythonExpression, _programs)

    def bind(self, values: Mapping[str, object], reads: Reads = WHOLE) -> PythonBound:
        """Names -> JSON values. The type of `resource` (else `prior`, else `stored`) picks the programs."""
        return PythonBound(cel_values.resource_type(values), cel_values.excerpt(values, reads))


def _programs(roots: Mapping[str, Node]) -> dict[str, Any]:
    return {name: build(root, _cel) for name, root in roots.items()}


def _cel(value: object) -> Any:
    """A JSON value (or a literal) as cel-python's."""
    match value:
        case dict():
            return celtypes.MapType({celtypes.StringType(key): _cel(item) for key, item in value.items()})
        case list():
            return celtypes.ListType([_cel(item) for item in value])
        case Unsigned():
            return celtypes.UintType(value.value)
        case _:
            return _SCALARS[type(value)](value)


_SCALARS: Final[Mapping[type, Any]] = {
    bool: celtypes.BoolType,
    int: celtypes.IntType,
    float: celtypes.DoubleType,
    str: celtypes.StringType,
    bytes: celtypes.BytesType,
    type(None): lambda value: value,
}


def _json(value: object) -> object:
    """A result as JSON. Raises TypeError for a timestamp, an optional and other values that JSON has not."""
    match value:
        case celtypes.BoolType():
            return bool(value)
        case celtypes.MapType():
            return {str(key): _json(item) for key, item in value.items()}
        case celtypes.ListType():
            return [_json(item) for item in value]
        case None | float():
            return value if value is None else float(value)
        case int():
            return int(value)
        case celtypes.StringType():
            return str(value)
        case _:
            raise TypeError
