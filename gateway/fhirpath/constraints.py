"""Every constraint of FHIR at every element of a resource that it stands at, in one pass.

A constraint (http://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.constraint) stands at a path
(`Observation.component`), at a type and all that specialise it (`Quantity`), or at an element of such a type
(`Element.extension`). The resource is walked once, and what stands at a kind of place is looked up once.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

from gateway.fhirpath.engine import FAILURES, Failure, Outcome, Program, failed
from gateway.fhirpath.env import Expr, begun
from gateway.fhirpath.items import (
    LISTS,
    PLAIN,
    TRUE,
    Collection,
    Element,
    Type,
    Types,
    element_at,
    elements,
    lift,
    plain,
)
from gateway.fhirpath.tree import Binary, Function, Node

BUDGET: Final = 50_000_000  # units of work of a whole pass
_NOTHING: Final[Mapping[str, object]] = {}
_make: Final = tuple.__new__  # a named tuple's own `__new__` takes twice as long, and a place is made for each element


class Constraint(NamedTuple):
    """A compiled constraint and the path of the definition that it stands at."""

    path: str
    key: str
    program: Program


class Broken(NamedTuple):
    """A constraint that is neither true nor empty at a place (`Patient.name[0].period`): what it is instead."""

    location: str
    key: str
    outcome: Outcome


_Rules: TypeAlias = tuple[tuple[Expr, tuple[Constraint, ...]], ...]
# Of an element of a type: its type, its `_` sibling, what stands there, and what of it a primitive with a value has
# to be asked.
_Kind: TypeAlias = tuple[Type, str, _Rules, _Rules]
# As `Place`, in its order; one is made for each element, and a plain tuple is made and read in half the time.
_Spot: TypeAlias = "tuple[Element, _Rules, Collection, Collection, _Spot | None, str, int | None]"


class Place(NamedTuple):
    """An element, what `%resource` and `%rootResource` are there, and the way to it.

    `rules` are the constraints by their text: what two of them ask (txt-1 and txt-2) is asked once.
    """

    item: Element
    rules: _Rules
    resource: Collection
    root: Collection
    above: "_Spot | None"
    name: str
    position: int | None

    @property
    def location(self) -> str:
        """As FHIRPath writes it, indexes included."""
        own = self.name if self.position is None else f"{self.name}[{self.position}]"
        return own if self.above is None else f"{Place(*self.above).location}.{own}"


class Constraints:
    """The constraints of one release, at least one, ready for any resource. Safe to share between threads."""

    def __init__(self, constraints: Iterable[Constraint]) -> None:
        self._at: dict[str, list[Constraint]] = {}
        for one in constraints:
            self._at.setdefault(one.path, []).append(one)
        self._types: Types = next(iter(self._at.values()))[0].program.types
        self._element = self._types.of("Element")
        # By the type around and the key in it; filled as they are met, and bounded by the model.
        self._kinds: dict[Type, dict[str, _Kind]] = {}
        self._rules: dict[tuple[Type, Type | None, str], _Rules] = {}

    def judge(self, resource: object, *, now: str | None = None, budget: int = BUDGET) -> tuple[Broken, ...]:
        """What does not hold in a JSON resource, in the order of its elements.

        The pass ends where its budget does, and says so at that place. Elements that the release has not are no
        places.
        """
        start = lift(resource, self._types)
        env = begun(start, start, _NOTHING, _NOTHING, now, self._types, strict=False, budget=budget)
        broken: list[Broken] = []
        waiting = self._roots(start)
        while waiting:
            spot = waiting.pop()
            item, rules, env.resource, env.root, _, _, _ = spot
            context = env.context = [item]
            env.left -= 1
            for run, constraints in rules:
                env.this = context
                try:
                    found = run(env)
                except FAILURES as error:
                    env.index = env.total = None
                    outcome = failed(error)
                else:
                    if found is TRUE or not found or _is_true(found):
                        continue
                    outcome = Outcome(found)
                location = Place(*spot).location
                broken += (Broken(location, one.key, outcome) for one in constraints)
                if outcome.failure is Failure.OUT_OF_BUDGET:
                    return tuple(broken)
            if type(item.value) is dict or item.extra is not None:
                env.left -= self._add_parts(spot, waiting)
        return tuple(broken)

    def places(self, resource: object) -> Iterator[Place]:
        """The resource and everything in it that has a type, each before its parts, in the order of the JSON."""
        waiting = self._roots(lift(resource, self._types))
        while waiting:
            spot = waiting.pop()
            yield Place(*spot)
            self._add_parts(spot, waiting, every=True)

    def _roots(self, start: Collection) -> list[_Spot]:
        found: list[_Spot] = []
        for item in reversed(start):
            if isinstance(item, Element) and item.type.name:
                own: Collection = [item]
                found.append((item, self._standing(item.type), own, own, None, item.type.name, None))
        return found

    def _add_parts(self, spot: _Spot, waiting: list[_Spot], *, every: bool = False) -> int:
        """The parts of an element, the last first: they are taken from the end. Returns how many were looked at.

        A primitive with a value, of which nothing that stands there has to be asked, is left out, unless `every`.
        """
        item, _, resource, root, _, _, _ = spot
        value, owner = item.value, item.type
        if type(value) is not dict:
            value, owner = dict(item.extra or {}), self._element
        kinds = self._kinds.get(owner) or self._kinds.setdefault(owner, {})
        number = len(value)
        for key, child in reversed(value.items()):
            kind = kinds.get(key)
            if kind is None or kind[1] in value:
                kind = kind or self._kind(owner, key, value, kinds)
                if kind is not None:
                    number += len(child) if type(child) is list else 0
                    waiting += self._several(spot, value, owner, kind, every=every)
                continue
            type_, _, of_any, of_values = kind
            if type(child) is list:
                number += len(child)
                for at in range(len(child) - 1, -1, -1):
                    one = child[at]
                    is_plain = type(one) in PLAIN and not every
                    rules = of_values if is_plain else of_any
                    if one is not None and (rules or not is_plain):
                        waiting.append((element_at(one, type_), rules, resource, root, spot, key, at))
            elif child is not None:
                is_plain = type(child) in PLAIN and not every
                rules = of_values if is_plain else of_any
                if rules or not is_plain:
                    waiting.append((element_at(child, type_), rules, resource, root, spot, key, None))
        return number

    def _several(
        self, spot: _Spot, value: Mapping[str, object], owner: Type, kind: _Kind, *, every: bool
    ) -> list[_Spot]:
        """What may repeat, has an `_x`, or says its type itself."""
        type_, sibling, rules, of_values = kind
        _, _, resource, root, _, _, _ = spot
        name = sibling[1:]
        child, extra = value.get(name), value.get(sibling)
        is_list = isinstance(child, LISTS) or isinstance(extra, LISTS)
        found: list[_Spot] = []
        for at, one in enumerate(elements(child, extra, type_, self._types)):
            if not isinstance(one, Element) or (one.value is None and one.extra is None):
                continue
            position = at if is_list else None
            if one.type is type_ and one.extra is None and type(one.value) in PLAIN and not every:
                if of_values:
                    found.append((one, of_values, resource, root, spot, name, position))
            elif one.type is type_:
                found.append((one, rules, resource, root, spot, name, position))
            else:
                own: Collection = [one]
                around = root if name == "contained" else own
                found.append((one, self._standing(one.type, owner, name), own, around, spot, name, position))
        found.reverse()
        return found

    def _kind(self, owner: Type, key: str, value: Mapping[str, object], kinds: dict[str, _Kind]) -> _Kind | None:
        """What is not known yet. An `_x` comes with its primitive, or for itself if that has no value."""
        name = key.removeprefix("_")
        type_ = None if name != key and name in value else owner.at(name)
        if type_ is None:
            return None  # never kept: it may be any key of the payload
        rules = self._standing(type_, owner, name)
        of_values = tuple((run, each) for run, each in rules if not _holds_for_values(each[0].program.tree))
        kind = (type_, f"_{name}", rules, of_values)
        return kind if type_.is_any or name != key else kinds.setdefault(name, kind)

    def _standing(self, type_: Type, owner: Type | None = None, name: str = "") -> _Rules:
        """The constraints of a kind of place."""
        known = self._rules.get((type_, owner, name))
        if known is not None:
            return known
        model = self._types.model
        choice = None if owner is None else model.choice_of(owner.name, name)
        word = name if choice is None else f"{choice[0]}[x]"
        line = model.line(owner.name) if owner is not None else ()
        paths = dict.fromkeys((*(f"{each}.{word}" for each in line), *model.line(type_.name)))
        by_text: dict[str, list[Constraint]] = {}
        for path in paths:
            for one in self._at.get(path, ()):
                by_text.setdefault(one.program.source, []).append(one)
        rules = tuple((each[0].program.run, tuple(each)) for each in by_text.values())
        return self._rules.setdefault((type_, owner, name), rules)


def _holds_for_values(tree: Node) -> bool:
    """Whether a constraint is `hasValue() or …`, as ele-1 is: of a primitive with a value it need not be asked."""
    if not isinstance(tree, Binary) or tree.operator != "or":
        return False
    return isinstance(tree.left, Function) and tree.left.name == "hasValue" and not tree.left.arguments


def _is_true(found: Collection) -> bool:
    return len(found) == 1 and plain(found[0]) is True
