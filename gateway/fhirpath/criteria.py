"""Criteria that ask for strings of one item, as most do: `where(system = 'http://loinc.org' and code = '4548-4')`.

Such a criterion needs no collection and no `$this`, as long as the item is a JSON object in which each of those
elements is one string or absent. What is not so simple is asked of the criterion as it stands.
"""

from typing import Final, NamedTuple, TypeAlias

from gateway.fhirpath.env import Env, Expr, Step
from gateway.fhirpath.items import FALSE, NONE, TRUE, BudgetExceeded, Collection, Element, Type, element_at
from gateway.fhirpath.logic import Truth
from gateway.fhirpath.navigation import reached

ASKING: Final = frozenset({"where", "exists", "all"})
_WORK: Final = 2

# The name of an element, strings, whether it has to be one of them or none, and the units that its absence costs.
Condition: TypeAlias = tuple[str, frozenset[str], bool, int]
# As a Condition, with the key in JSON and the `_` sibling for the name.
_Part: TypeAlias = tuple[str, str, frozenset[str], bool, int]


class _Parts(dict[Type, tuple[_Part, ...]]):
    """What `_on` says of the types that were met: bounded by the model."""

    __slots__ = ("_conditions",)

    def __init__(self, conditions: tuple[Condition, ...]) -> None:
        super().__init__()
        self._conditions = conditions

    def __missing__(self, type_: Type) -> tuple[_Part, ...]:
        return self.setdefault(type_, _on(type_, self._conditions))


class Criterion(NamedTuple):
    """Conditions that all have to hold. `whole` asks the same of any item, and `truth` what it answers.

    `size`: units that it costs each time, beside those of its parts.
    """

    conditions: tuple[Condition, ...]
    whole: Expr
    truth: Truth
    size: int


def asked(name: str, criterion: Criterion) -> Step:
    """`where`, `exists` or `all` with a criterion."""
    conditions, whole, truth, size = criterion
    parts = _Parts(conditions)

    def where(env: Env, focus: Collection) -> Collection:
        if not focus:
            return NONE
        this, index = env.this, env.index
        found: Collection = []
        for at, item in enumerate(focus):
            env.left -= 1
            work = _asked(item.value, parts[item.type]) if type(item) is Element and type(item.value) is dict else 0
            if work:
                env.left -= size + abs(work)
                holds: bool | None = work > 0
            else:
                env.this, env.index = [item], at
                holds = truth(whole(env))
                env.this, env.index = this, index
            if holds:
                found.append(item)
        if env.left < 0:
            raise BudgetExceeded
        return found

    if name == "where":
        return where
    if name == "exists":
        return lambda env, focus: TRUE if where(env, focus) else FALSE
    return lambda env, focus: TRUE if len(where(env, focus)) == len(focus) else FALSE


def sifted(names: tuple[str, ...], name: str, criterion: Criterion, otherwise: Expr) -> Expr:
    """`a.b.where(…)` and its like at the start of an expression, without an item for what is not kept.

    `otherwise` does the same for whatever is not so simple.
    """
    between = 2 * (len(names) - 1)
    conditions, _, _, size = criterion
    parts = _Parts(conditions)

    def evaluate(env: Env) -> Collection:
        item = env.this[0] if len(env.this) == 1 else None
        place = reached(item.value, item.type, names) if type(item) is Element else None
        if place is None:
            return otherwise(env)
        values, type_ = place
        work = between + 1 + len(values)
        if work > env.left:
            raise BudgetExceeded
        asked_of = parts[type_]
        kept = []
        for value in values:
            units = _asked(value, asked_of) if type(value) is dict else 0
            if not units:
                return otherwise(env)
            if units > 0:
                kept.append(value)
            work += 1 + size + abs(units)
        if name == "where":
            found: Collection = [element_at(value, type_) for value in kept]
        elif name == "exists":
            found = TRUE if kept else FALSE
        else:
            found = TRUE if len(kept) == len(values) else FALSE
        env.left -= work + 1 + len(found)
        if env.left < 0:
            raise BudgetExceeded
        return found

    return evaluate


def _on(type_: Type, conditions: tuple[Condition, ...]) -> tuple[_Part, ...]:
    """The conditions as they are asked of JSON of a type; none when one of them asks for what is not so simple."""
    found = []
    for name, wanted, is_wanted, absent_work in conditions:
        keys = type_.texts[name]
        if keys is None:
            return ()
        found.append((*keys, wanted, is_wanted, absent_work))
    return tuple(found)


def _asked(value: dict[str, object], conditions: tuple[_Part, ...]) -> int:
    """Units that it took, negative when not all conditions hold; 0: it is not so simple."""
    units, sign = 0, 1
    for key, sibling, wanted, is_wanted, absent_work in conditions:
        text = value.get(key)
        if type(text) is str:
            units += _WORK
            if (text in wanted) is not is_wanted:
                return -units
        elif text is None and sibling not in value:
            units += absent_work
            sign = -1  # empty, and what is asked next may still be false
        else:
            return 0
    return sign * units
