"""The interface that every expression engine fulfils, so that the policy engine knows neither CEL nor FHIRPath.

Compile once at load, evaluate per write. An engine never raises out of `evaluate`: what went wrong is a value,
and nothing but the boolean `true` holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from gateway.policy.decision import Result


class Language(StrEnum):
    """The two languages of a rule."""

    CEL = "cel"
    FHIRPATH = "fhirpath"


NAMES = ("resource", "prior", "patient", "stored", "claims", "client", "request", "params", "let")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a source text may name, and the types behind the names.

    `resource_types`: the types of `resource`, `prior` and `stored` (the expression is checked once per type;
    a problem that holds for every type is an error, one that holds for some only is an error as well, naming
    the types). `available` is the subset of NAMES that may be used. `params` are the declared constants (their
    values tell their types); `lets` are the declared names. `release`: R4 | R4B | R5. `wants_boolean`: a rule or a
    `when` (a source that can only give something else is an error); false for a `let`.
    """

    resource_types: tuple[str, ...]
    available: frozenset[str]
    params: Mapping[str, object] = field(default_factory=dict)
    lets: tuple[str, ...] = ()
    release: str = "R4"
    wants_boolean: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionProblem:
    """A problem in a source text. `offset` counts code points from the start of the text, 0-based."""

    message: str
    offset: int = 0
    length: int = 1
    hint: str | None = None
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The outcome of one evaluation.

    `result` PASS means that the value is exactly the boolean true. FAIL: exactly false. NON_BOOLEAN: anything
    else that is a value, empty included. ERROR / OUT_OF_BUDGET / TIMEOUT: no value. `value` is set for lets
    (a JSON value; FHIRPath: the single item, or a list when there are none or several). `reason` is a short
    text without payload values.
    """

    result: Result
    value: object = None
    reason: str | None = None


HELD = Evaluated(Result.PASS, True)


Reads: TypeAlias = Mapping[str, frozenset[str]]
"""What will be read of the values that are bound: name -> elements. A name that is not in it is read whole."""

WHOLE: Final[Reads] = {}


class Compiled(Protocol):
    """A compiled expression. Immutable, safe to share between threads."""

    @property
    def source(self) -> str: ...

    @property
    def names(self) -> frozenset[str]:
        """The subset of NAMES that the text reads (FHIRPath: a bare path reads `resource`)."""

    @property
    def lets(self) -> frozenset[str]:
        """Which `let.x` the text reads."""

    @property
    def elements(self) -> frozenset[tuple[str, str]]:
        """(name, element) for all that is read of a name; (name, "") where it is read whole."""

    @property
    def warnings(self) -> tuple[ExpressionProblem, ...]: ...

    def evaluate(self, bound: object) -> Evaluated:
        """Evaluate over what `Engine.bind` made."""


class Engine(Protocol):
    """One language. Thread safe."""

    @property
    def language(self) -> Language: ...

    @property
    def name(self) -> str:
        """The library that evaluates, for logs and metrics."""

    def compile(self, source: str, scope: Scope) -> "Compiled | tuple[ExpressionProblem, ...]":
        """Compile, or list every problem found (at least one that is no warning)."""

    def conjunction(self, parts: tuple[Compiled, ...]) -> Compiled | None:
        """One expression that holds exactly when every part does, or None if the engine has no faster way."""

    def bind(self, values: Mapping[str, object], reads: Reads = WHOLE) -> object:
        """The shared activation of one decision: NAMES -> JSON value. Absent: `None` (CEL null, FHIRPath empty).

        A name that is not in `values` at all is an error to read. Bound once, evaluated many times. What `reads`
        leaves out may be absent to the expressions: it has to be made of the `elements` of all of them.
        """
