"""What one evaluation carries: its inputs, what `$this` is at the moment, and the work that is left to it."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from gateway.fhirpath.items import (
    AMOUNT_WORK,
    MOMENT_WORK,
    BudgetExceeded,
    Collection,
    Element,
    EvaluationError,
    Item,
    Types,
    lift,
)
from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.temporal import Temporal

_CONSTANTS: Final = {
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}
_PREFIXES: Final = {
    "vs-": "http://hl7.org/fhir/ValueSet/",
    "ext-": "http://hl7.org/fhir/StructureDefinition/",
}
TEXT_STEP: Final = 256  # characters of a string, read or made, that cost one unit of work
_NUMBER_WORK: Final = 2
_NODE_WORK: Final = 2  # of each JSON value inside of what is compared as a whole
_NOTHING: Final[Mapping[str, Collection]] = {}
_NO_PATTERNS: Final[frozenset[str]] = frozenset()
ROOT_NAMES: Final = ("resource", "context", "rootResource")


class Given(NamedTuple):
    """What an evaluation is given: it stays as it is."""

    resource: Collection
    context: Collection
    variables: Mapping[str, object]
    resolvable: Mapping[str, object]
    now: str | None
    types: Types
    strict: bool


class Env:
    """One evaluation. Every part of it belongs to one thread and ends with it.

    `root` is the resource around `resource`, when that is a contained one, and else `resource` itself
    (http://hl7.org/fhir/R4/fhirpath.html#variables).
    """

    __slots__ = (
        *("below", "context", "defined", "failed", "index", "left", "now", "patterns", "record", "resolvable"),
        *("resource", "root", "strict", "this", "total", "types", "variables"),
    )

    resource: Collection
    root: Collection
    context: Collection
    this: Collection
    variables: Mapping[str, object]
    resolvable: Mapping[str, object]
    now: str | None
    types: Types
    strict: bool
    left: int
    below: tuple[Collection, Collection] | None
    index: int | None
    total: Collection | None
    defined: Mapping[str, Collection]
    patterns: frozenset[str]
    failed: tuple[int, int] | None
    record: list[tuple[int, int, Collection]] | None

    def spend(self, units: int) -> None:
        """Count work. Raises BudgetExceeded when none is left."""
        self.left -= units
        if self.left < 0:
            raise BudgetExceeded

    def read(self, values: Collection) -> None:
        """Count what it takes to read items as values: long strings, numbers, dates, amounts."""
        for item in values:
            self.left -= work_of(item)
        if self.left < 0:
            raise BudgetExceeded

    def weigh(self, values: Collection) -> None:
        """As `read`, and the JSON values inside of items that are about to be compared as a whole."""
        self.read(values)
        for item in values:
            value = item.value if type(item) is Element else item
            if type(value) is dict:
                self._weigh_object(value)

    def _weigh_object(self, value: Mapping[str, object]) -> None:
        waiting: list[object] = [value]
        while waiting:
            one = waiting.pop()
            self.spend(_NODE_WORK + (len(one) // TEXT_STEP if isinstance(one, str) else 0))
            waiting.extend(one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else ())

    def variable(self, name: str) -> Collection:
        """`%name`. A name that was not bound is an error, one bound to None is empty."""
        if name in self.defined:
            found = self.defined[name]
            self.spend(len(found))  # it was paid for once, and can be walked many times
            return found
        if name in ROOT_NAMES:
            return self.resource if name == "resource" else self.context if name == "context" else self.root
        if name in self.variables:
            found = lift(self.variables[name], self.types)
            self.spend(len(found))
            return found
        known = constant(name)
        if known is None:
            raise EvaluationError(f"%{name} is not available here")
        return [known]


def begun(  # noqa: PLR0917 (what Given holds, which no evaluation has to make)
    resource: Collection,
    context: Collection,
    variables: Mapping[str, object],
    resolvable: Mapping[str, object],
    now: str | None,
    types: Types,
    strict: bool,
    budget: int,
) -> Env:
    """The Env of an evaluation that begins. As `element_at`, it stands for an `__init__`, and takes less time."""
    env = Env()
    env.root = env.resource = resource
    env.this = env.context = context
    env.variables = variables
    env.resolvable = resolvable
    env.now = now
    env.types = types
    env.strict = strict
    env.left = budget
    env.below = env.index = env.total = env.failed = env.record = None
    env.defined = _NOTHING
    env.patterns = _NO_PATTERNS
    return env


def work_of(item: Item) -> int:
    """Units that it takes to read an item as a value."""
    kind = type(item)
    if kind is Element:
        value = item.value  # type: ignore[union-attr]
        return item.type.work + (len(value) // TEXT_STEP if type(value) is str else 0)  # type: ignore[union-attr]
    if kind is str:
        return len(item) // TEXT_STEP  # type: ignore[arg-type]
    return AMOUNT_WORK if kind is Quantity else MOMENT_WORK if kind is Temporal else _NUMBER_WORK


Expr: TypeAlias = Callable[[Env], Collection]
Step: TypeAlias = Callable[[Env, Collection], Collection]


def constant(name: str) -> str | None:
    """What a `%name` stands for by itself (http://hl7.org/fhir/R4/fhirpath.html#variables), or None."""
    for prefix, base in _PREFIXES.items():
        if name.startswith(prefix):
            return base + name.removeprefix(prefix)
    return _CONSTANTS.get(name)


def per_item(env: Env, focus: Collection, criterion: Expr) -> "list[tuple[Item, Collection]]":
    """What an expression gives for each item, as `$this` with its `$index`."""
    this, index = env.this, env.index
    found = []
    for at, item in enumerate(focus):
        env.this, env.index = [item], at
        env.spend(1)
        found.append((item, criterion(env)))
    env.this, env.index = this, index
    return found
