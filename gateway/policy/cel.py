"""CEL rules on the CEL project's own C++ engine (cel-expr-python).

Every source is checked once per resource type against FHIR's element model, then rewritten (`cel_lenient`) and
evaluated on plain JSON values, where `6`, `6.0` and `6 >= 0.0` compare by value. No function reads a clock; regular
expressions are RE2; comprehensions have a budget of iterations.
"""

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from cel_expr_python import cel  # type: ignore[import-untyped]
from cel_expr_python.ext import ext_optional  # type: ignore[import-untyped]

from gateway.policy import cel_check, cel_cost, cel_lenient, cel_types, cel_values, cel_wire
from gateway.policy.cel_expression import CelSource, join
from gateway.policy.cel_problems import Draft, Known, explain, merge
from gateway.policy.cel_reasons import BUDGET, reason
from gateway.policy.cel_source import LET, spell
from gateway.policy.cel_tree import Node, Tree
from gateway.policy.decision import Result
from gateway.policy.expression import (
    HELD,
    NAMES,
    WHOLE,
    Compiled,
    Evaluated,
    ExpressionProblem,
    Language,
    Reads,
    Scope,
)

_FAILED: Final = Evaluated(Result.FAIL, False)
_WORD: Final = re.compile(r"\w+")
_SCALARS: Final = {bool: "bool", int: "int", float: "double", str: "string"}


@cache
def _plain() -> cel.Env:
    """The environment that evaluates: every name is a JSON value."""
    variables = {LET if name == "let" else name: cel.Type.DYN for name in NAMES if name != "params"}
    return cel.NewEnv(variables=variables, extensions=[ext_optional.ExtOptional()])


class _Text:
    """One text on its way to be checked: type by type, each time against no more than its words can name."""

    def __init__(self, source: str, scope: Scope, types: cel_types.Types) -> None:
        self.spelled = spell(source)
        self.scope = scope
        self.words = frozenset(_WORD.findall(self.spelled))
        self.excerpts = cel_types.Excerpts(types, self.words)

    def sees(self, resource: str) -> tuple[dict[str, str], cel_types.Excerpt]:
        """The names that have a message for their type, and what is reached from there."""
        own = cel_types.message_name(resource)
        every = {
            **dict.fromkeys(("resource", "prior", "stored"), own),
            "patient": cel_types.message_name("Patient"),
            "client": cel_types.CLIENT,
            "request": cel_types.REQUEST,
        }
        messages = {name: message for name, message in every.items() if name in self.scope.available & self.words}
        return messages, self.excerpts.of(messages.values())

    def checked(self, messages: Mapping[str, str], excerpt: cel_types.Excerpt) -> Tree:
        """The checked tree. Raises RuntimeError with the checker's messages.

        The environment is not kept: it never evaluates, and holds a descriptor pool of its own.
        """
        scope = self.scope
        variables = {name: cel.Type(message) for name, message in messages.items()}
        open_map = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
        variables |= {LET if name == "let" else name: open_map for name in scope.available & {"claims", "let"}}
        if "params" in scope.available:
            constants = {f"params.{name}": cel_values.plain(value) for name, value in scope.params.items()}
            variables |= {name: _type(_kind(value)) for name, value in constants.items()}
        env = cel.NewEnv(descriptor_pool=excerpt.pool(), variables=variables, extensions=[ext_optional.ExtOptional()])
        return cel_wire.decode(env.compile(self.spelled).serialize())


@dataclass(slots=True)
class Bound:
    """One decision's activation, for one thread. `type` picks the program; `values` are kept to be bound again."""

    activation: cel.Activation
    type: str
    values: Mapping[str, object]
    converted: bool = False
    size: cel_cost.Size | None = None

    def convert(self) -> None:
        """Binds again with every value converted; rare, so that payloads are not walked for every decision."""
        self.activation = _plain().Activation({name: cel_values.plain(value) for name, value in self.values.items()})
        self.converted = True

    def measured(self) -> cel_cost.Size:
        """How large the values are; measured once, when it matters first."""
        if self.size is None:
            self.size = cel_cost.size_of(self.values)
        return self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class CelExpression(CelSource[cel.Expression]):
    """A source on this engine."""

    def evaluate(self, bound: object) -> Evaluated:
        """Never raises for what a payload holds. Raises TypeError when `bound` is not this engine's."""
        if not isinstance(bound, Bound):
            raise TypeError("not an activation of this engine")
        program = self.programs.get(bound.type)
        if program is None:
            return Evaluated(Result.ERROR, reason="the rule is not made for this resource type")
        if self.loops.sites and self.loops.units(bound.measured()) > cel_cost.MOST:
            return Evaluated(Result.OUT_OF_BUDGET, reason=BUDGET)
        try:
            value = program.eval(bound.activation)
            answer = value.plain_value()
            if answer is True:
                return HELD
            # An error is a value too, its text: nothing but true is believed before the type was looked at.
            if value.type() == cel.Type.ERROR:
                return self._failed(str(answer), bound)
        except (RuntimeError, TypeError) as problem:  # budget; text that is no Unicode; a result Python cannot hold
            return self._failed(str(problem), bound)
        return _FAILED if answer is False else self._value(answer)

    def _value(self, answer: object) -> Evaluated:
        if self.keeps_value and not cel_values.is_json(answer):
            return Evaluated(Result.ERROR, reason="the result is not a JSON value")
        return Evaluated(Result.NON_BOOLEAN, answer if self.keeps_value else None, "not a boolean")

    def _failed(self, text: str, bound: Bound) -> Evaluated:
        if "out of range for '" in text or "Non-CEL value type" in text:
            if not bound.converted:
                bound.convert()
                return self.evaluate(bound)
            return Evaluated(Result.ERROR, reason="a value is not JSON")
        if "budget" in text:
            return Evaluated(Result.OUT_OF_BUDGET, reason=BUDGET)
        return Evaluated(Result.ERROR, reason=reason(text, self.reading.written))


class CelEngine:
    """Compiles, binds and joins CEL expressions. Thread safe: environments and programs are immutable."""

    language = Language.CEL
    name = "cel-expr-python"

    def compile(self, source: str, scope: Scope) -> CelExpression | tuple[ExpressionProblem, ...]:
        """Checks the source for every resource type of the scope; all problems of all types are listed."""
        try:
            types = cel_types.load(scope.release)
            return cel_check.check_params(scope) or self._compile(source, scope, types)
        except ValueError as problem:
            return (ExpressionProblem(message=str(problem)),)

    def _compile(
        self, source: str, scope: Scope, types: cel_types.Types
    ) -> CelExpression | tuple[ExpressionProblem, ...]:
        drafts: dict[str, list[Draft]] = {}
        roots: dict[str, Node] = {}
        readings, loops = [], []
        text = _Text(source, scope, types)
        alike: dict[Hashable, str] = {}
        for name in scope.resource_types:
            messages, excerpt = text.sees(name)
            first = alike.setdefault(excerpt.shape(name), name)
            if first in roots and all(draft.is_warning for draft in drafts[first]):
                # What the text reads is the same for both types, and so is what could be found; faults name the type.
                drafts[name], roots[name] = drafts[first], roots[first]
                continue
            try:
                tree = text.checked(messages, excerpt)
            except (RuntimeError, TypeError) as problem:  # TypeError: text that is no Unicode
                drafts[name] = explain(str(problem), Known(source, scope, types, name))
                continue
            drafts[name] = cel_check.check(tree, scope, types)
            roots[name] = cel_lenient.lenient(tree, types, scope.params)
            readings.append(cel_check.read(tree))
            if all(draft.is_warning for draft in drafts[name]):
                loops.append(cel_cost.read(tree, scope.params))
        problems = merge(drafts, source)
        if any(not problem.is_warning for problem in problems):
            return problems
        return CelExpression(
            source=source,
            reading=cel_check.Reading.union(readings),
            roots=roots,
            programs=_programs(roots),
            keeps_value=not scope.wants_boolean,
            warnings=problems,
            # Any one of them would do: the types differ in elements, not in what the text does with them.
            loops=max(loops, key=lambda one: len(one.sites), default=cel_cost.Loops()),
        )

    def conjunction(self, parts: tuple[Compiled, ...]) -> CelExpression | None:
        """One program that is true exactly when every part is; None for no parts, foreign parts or no shared type."""
        return join(parts, CelExpression, _programs)

    def bind(self, values: Mapping[str, object], reads: Reads = WHOLE) -> Bound:
        """Names -> JSON values. The type of `resource` (else `prior`, else `stored`) picks the programs.

        A value is converted as a whole when it is first read, so that it pays to leave out what nothing reads.
        """
        seen = cel_values.shallow(cel_values.excerpt(values, reads))
        return Bound(_plain().Activation(seen), cel_values.resource_type(values), seen)


def _programs(roots: Mapping[str, Node]) -> dict[str, cel.Expression]:
    """One program for each type, the same one where the trees say the same."""
    texts = {key: cel_wire.encode(root) for key, root in {id(root): root for root in roots.values()}.items()}
    made = {text: _plain().deserialize(text) for text in set(texts.values())}
    return {name: made[texts[id(root)]] for name, root in roots.items()}


def _kind(value: object) -> str:
    """A constant's type: a scalar's name, `list` or `map` with that of all its items, or `dyn`."""
    match value:
        case list() | tuple():
            return f"list {_common(value)}"
        case Mapping():
            return f"map {_common(value.values())}"
        case _:
            return _SCALARS.get(type(value), "dyn")


def _common(items: Iterable[object]) -> str:
    kinds = {_kind(item) for item in items}
    kind = kinds.pop() if len(kinds) == 1 else "dyn"
    return kind if " " not in kind else "dyn"


def _type(kind: str) -> cel.Type:
    container, _, items = kind.rpartition(" ")
    item = cel.Type.DYN if items == "dyn" else cel.Type(items)
    if not container:
        return item
    return cel.Type.List(item) if container == "list" else cel.Type.Map(cel.Type.STRING, item)
