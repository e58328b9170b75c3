"""CEL rules on the CEL project's own C++ engine (cel-expr-python).

Every source is checked once per resource type against FHIR's element model, then rewritten (`cel_lenient`) and
evaluated on plain JSON values, where `6`, `6.0` and `6 >= 0.0` compare by value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from cel_expr_python import cel  # type: ignore[import-untyped]
from cel_expr_python.ext import ext_optional  # type: ignore[import-untyped]

from gateway.policy import cel_lenient, cel_wire
from gateway.policy.cel_check import Reading, read
from gateway.policy.cel_problems import problems
from gateway.policy.cel_reasons import BUDGET, reason
from gateway.policy.cel_source import LET, spell
from gateway.policy.cel_tree import Node
from gateway.policy.cel_types import Untyped
from gateway.policy.decision import Result
from gateway.policy.expression import HELD, NAMES, Compiled, Evaluated, ExpressionProblem, Language, Scope

_VARIABLES = {LET if name == "let" else name: cel.Type.DYN for name in NAMES}
_FAILED = Evaluated(Result.FAIL, False)


@cache
def _plain() -> cel.Env:
    """The environment that evaluates: every name is a plain JSON value."""
    return cel.NewEnv(variables=_VARIABLES, extensions=[ext_optional.ExtOptional()])


@dataclass(slots=True)
class Bound:
    """One decision's activation. `type` picks the program; `values` are kept for the rare second binding."""

    activation: cel.Activation
    type: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CelExpression:
    """A compiled CEL source: one program per resource type (shared where the types read alike)."""

    source: str
    reading: Reading
    roots: Mapping[str, Node]
    programs: Mapping[str, cel.Expression]
    keeps_value: bool = False
    warnings: tuple[ExpressionProblem, ...] = field(default=())

    @property
    def names(self) -> frozenset[str]:
        return self.reading.names

    @property
    def lets(self) -> frozenset[str]:
        return self.reading.lets

    def evaluate(self, bound: object) -> Evaluated:
        """Never raises for what a payload holds. Raises TypeError when `bound` is not this engine's."""
        if not isinstance(bound, Bound):
            raise TypeError("not an activation of this engine")
        program = self.programs.get(bound.type)
        if program is None:
            return Evaluated(Result.ERROR, reason="the rule is not made for this resource type")
        try:
            value = program.eval(bound.activation)
            # An error is a value too, and `.value()` would give its text: its type is looked at first, always.
            if value.type() == cel.Type.ERROR:
                return self._failed(str(value.value()))
            answer = value.plain_value()
        except (RuntimeError, TypeError) as problem:  # budget; text that is no Unicode; a result Python cannot hold
            return self._failed(str(problem))
        if answer is True:
            return HELD
        if answer is False:
            return _FAILED
        return Evaluated(Result.NON_BOOLEAN, answer if self.keeps_value else None, "not a boolean")

    def _failed(self, text: str) -> Evaluated:
        if "budget" in text:
            return Evaluated(Result.OUT_OF_BUDGET, reason=BUDGET)
        return Evaluated(Result.ERROR, reason=reason(text, self.reading.written))


class CelEngine:
    """Compiles, binds and joins CEL expressions. Thread safe: environments and programs are immutable."""

    language = Language.CEL

    def compile(self, source: str, scope: Scope) -> CelExpression | tuple[ExpressionProblem, ...]:
        """Checks the source for every resource type of the scope; all problems of all types are listed."""
        spelled = spell(source)
        model = Untyped({})
        try:
            tree = cel_wire.decode(_plain().compile(spelled).serialize())
        except RuntimeError as problem:
            return problems(str(problem), source)
        root = cel_lenient.lenient(tree, model, scope.params)
        program = _plain().deserialize(cel_wire.encode(root))
        return CelExpression(
            source=source,
            reading=read(tree),
            roots=dict.fromkeys(scope.resource_types, root),
            programs=dict.fromkeys(scope.resource_types, program),
            keeps_value=not scope.wants_boolean,
        )

    def conjunction(self, parts: tuple[Compiled, ...]) -> CelExpression | None:
        """One program that is true exactly when every part is; None for no parts, foreign parts or no shared type."""
        mine = [part for part in parts if isinstance(part, CelExpression)]
        if not mine or len(mine) != len(parts):
            return None
        types = frozenset.intersection(*(frozenset(part.roots) for part in mine))
        if not types:
            return None
        roots = {name: cel_lenient.conjunction(tuple(part.roots[name] for part in mine)) for name in types}
        return CelExpression(
            source=" && ".join(f"({part.source})" for part in mine),
            reading=Reading.union([part.reading for part in mine]),
            roots=roots,
            programs={name: _plain().deserialize(cel_wire.encode(root)) for name, root in roots.items()},
        )

    def bind(self, values: Mapping[str, object]) -> Bound:
        """Names -> JSON values. The type of `resource` (else `prior`, else `stored`) picks the programs."""
        data = {LET if name == "let" else name: value for name, value in values.items()}
        return Bound(_plain().Activation(data), _resource_type(values), values)


def _resource_type(values: Mapping[str, object]) -> str:
    for name in ("resource", "prior", "stored"):
        match values.get(name):
            case {"resourceType": str(found)}:
                return found
    return ""
