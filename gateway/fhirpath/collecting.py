"""Functions on whole collections: counting, subsetting, sets, navigation and types."""

from collections.abc import Callable, Iterator, Mapping

from gateway.fhirpath import comparing
from gateway.fhirpath.evaluation import Evaluation, Function, Scope, members, type_test
from gateway.fhirpath.operators import distinct, is_in
from gateway.fhirpath.syntax import Expr, Member, Path
from gateway.fhirpath.values import Collection, Element, EvaluationError, plain, truth


def simple(function: Callable[[Collection], Collection]) -> Function:
    """A function of its input alone."""

    def call(_run: Evaluation, focus: Collection, _arguments: tuple[Expr, ...], _scope: Scope) -> Collection:
        return function(focus)

    return call


def with_collection(function: Callable[[Collection, Collection], Collection]) -> Function:
    """A function of its input and of one more collection."""

    def call(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
        other = run.of(arguments[0], scope.this, scope)
        run.weigh(other)
        return function(focus, other)

    return call


def not_(focus: Collection) -> Collection:
    """The other boolean."""
    value = truth(focus)
    return [] if value is None else [not value]


def single(focus: Collection) -> Collection:
    """The only item; several are an error."""
    if len(focus) > 1:
        raise EvaluationError("single() met several items")
    return focus


def booleans(every: bool, wanted: bool) -> Callable[[Collection], Collection]:
    """`allTrue`, `anyTrue`, `allFalse`, `anyFalse`."""

    def ask(focus: Collection) -> Collection:
        answers = [truth([item]) is wanted for item in focus]
        return [all(answers) if every else any(answers)]

    return ask


def take(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """The first items."""
    return focus[: max(0, whole(run, arguments[0], scope))]


def skip(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """All but the first items."""
    return focus[max(0, whole(run, arguments[0], scope)) :]


def whole(run: Evaluation, argument: Expr, scope: Scope) -> int:
    """An argument that has to be one whole number."""
    values = run.of(argument, scope.this, scope)
    value = plain(values[0]) if len(values) == 1 else None
    if isinstance(value, bool) or not isinstance(value, int):
        raise EvaluationError("an argument has to be one whole number")
    return value


def subset_of(focus: Collection, other: Collection) -> Collection:
    """Whether every item is in the other collection."""
    keys = {comparing.key(item) for item in other}
    return [all(comparing.key(item) in keys for item in focus)]


def superset_of(focus: Collection, other: Collection) -> Collection:
    """Whether the other collection's items are all here."""
    return subset_of(other, focus)


def intersect(focus: Collection, other: Collection) -> Collection:
    """The items that are in both, each once."""
    keys = {comparing.key(item) for item in other}
    return [item for item in distinct(focus) if comparing.key(item) in keys]


def exclude(focus: Collection, other: Collection) -> Collection:
    """The items that are not in the other collection, in order, repetitions kept."""
    keys = {comparing.key(item) for item in other}
    return [item for item in focus if comparing.key(item) not in keys]


def coalesce(run: Evaluation, _focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """The first argument that is not empty."""
    for argument in arguments:
        values = run.of(argument, scope.this, scope)
        if values:
            return values
    return []


def _children(run: Evaluation, item: object) -> Iterator[Collection]:
    if not isinstance(item, Element):
        return
    if isinstance(item.data, Mapping):
        names: dict[str, None] = {}
        for key in item.data:
            name = key.removeprefix("_")
            known = not item.type or run.model.member(item.type, name) is not None
            choice = None if known else run.model.choice_of(item.type, name)
            names[name if choice is None else choice[0]] = None
        names.pop("resourceType", None)
    else:
        names = dict.fromkeys(item.extra or ())
    for name in names:
        yield members(run.model, item, name)


def children(run: Evaluation, focus: Collection, _arguments: tuple[Expr, ...], _scope: Scope) -> Collection:
    """Every direct child element."""
    found: Collection = []
    for item in focus:
        for values in _children(run, item):
            run.spend(1 + len(values))
            found.extend(values)
    return found


def descendants(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """Every element below."""
    found: Collection = []
    level = focus
    while level:
        level = children(run, level, arguments, scope)
        found.extend(level)
    return found


def extension(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """The extensions with a url; one without a url is none of them."""
    wanted = run.of(arguments[0], scope.this, scope)
    if not wanted:
        return []
    if len(wanted) > 1:
        raise EvaluationError("extension() expects one url")
    found = [one for item in focus for one in members(run.model, item, "extension")]
    run.spend(len(found))
    return [one for one in found if is_in(wanted[0], members(run.model, one, "url"))]


def has_value(focus: Collection) -> Collection:
    """Whether the input is one primitive with a value, and not only with extensions."""
    return [len(focus) == 1 and _is_primitive(plain(focus[0]))]


def get_value(focus: Collection) -> Collection:
    """The System value of the one primitive."""
    value = plain(focus[0]) if len(focus) == 1 else None
    return [value] if isinstance(value, bool | int | str) or _is_primitive(value) else []  # type: ignore[list-item]


def _is_primitive(value: object) -> bool:
    return value is not None and not isinstance(value, Mapping | list)


def resolve(run: Evaluation, focus: Collection, _arguments: tuple[Expr, ...], _scope: Scope) -> Collection:
    """Contained resources (`#id`) only: anything else would have to be fetched, and a decision fetches nothing."""
    found: Collection = []
    contained = [one for root in run.root for one in members(run.model, root, "contained")]
    for item in focus:
        value = plain(item)
        text = value.get("reference") if isinstance(value, Mapping) else value
        if not isinstance(text, str) or not text.startswith("#"):
            raise EvaluationError("resolve() follows references to contained resources only")
        run.spend(len(contained))
        found.extend(one for one in contained if isinstance(one, Element) and _id(one) == text[1:] and text != "#")
    return found


def _id(item: Element) -> object:
    return item.data.get("id") if isinstance(item.data, Mapping) else None


def specifier(argument: Expr) -> str | None:
    """The type that `ofType(FHIR.Quantity)` names; None when the argument is no name."""
    if isinstance(argument, Member):
        return argument.name
    if isinstance(argument, Path) and isinstance(argument.base, Member) and isinstance(argument.step, Member):
        return f"{argument.base.name}.{argument.step.name}"
    return None


def of_type(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], _scope: Scope) -> Collection:
    """The items of a type."""
    wanted = specifier(arguments[0]) or ""
    return [item for item in focus if run.model.item_is(item, wanted)]


def type_function(operator: str) -> Function:
    """`is(T)` and `as(T)`."""

    def call(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], _scope: Scope) -> Collection:
        return type_test(run, operator, focus, specifier(arguments[0]) or "")

    return call


def type_(run: Evaluation, focus: Collection, _arguments: tuple[Expr, ...], _scope: Scope) -> Collection:
    """Namespace and name of every item's type."""
    kinds = [run.model.type_of(item) for item in focus]
    return [Element({"namespace": space, "name": name}) for space, name in kinds]
