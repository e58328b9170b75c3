"""Which outside values an expression reads."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.fhirpath.functions import PER_ITEM, TYPE_ARGUMENT
from gateway.fhirpath.syntax import Call, Expr, Member, Path, Special, Variable, operands

ROOT_NAMES = ("resource", "context", "rootResource")
_CLOCK = ("now", "today", "timeOfDay")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A name that is read. `member`: the element asked of it at once (`x` in `%let.x`), with its own place."""

    name: str
    at: Expr
    member: Member | None = None


def reads(tree: Expr) -> tuple[Read, ...]:
    """Every read, in the order of the text.

    The judged resource is named `resource`, however it is reached; `now()` and its like read `request`.
    """
    return tuple(sorted(_reads(tree, on_root=True), key=lambda read: read.at.offset))


def _reads(expr: Expr, *, on_root: bool) -> Iterator[Read]:
    """`on_root`: whether a bare name here starts at the resource, and not at an item of some other value."""
    if isinstance(expr, Path):
        yield from _path(expr, on_root=on_root)
    elif isinstance(expr, Variable):
        yield Read(name="resource" if expr.name in ROOT_NAMES else expr.name, at=expr)
    elif isinstance(expr, Call):
        if expr.name in _CLOCK:
            yield Read(name="request", at=expr)
        elif on_root:
            yield Read(name="resource", at=expr)
        yield from _arguments(expr, on_root=on_root, items_of_root=on_root)
    elif on_root and (isinstance(expr, Member) or (isinstance(expr, Special) and expr.name == "$this")):
        yield Read(name="resource", at=expr)
    else:
        for part in operands(expr):
            yield from _reads(part, on_root=on_root)


def _path(expr: Path, *, on_root: bool) -> Iterator[Read]:
    if isinstance(expr.base, Variable) and isinstance(expr.step, Member) and expr.base.name not in ROOT_NAMES:
        yield Read(name=expr.base.name, at=expr.base, member=expr.step)
        return
    yield from _reads(expr.base, on_root=on_root)
    if isinstance(expr.step, Call):
        yield from _arguments(expr.step, on_root=on_root, items_of_root=False)


def _arguments(call: Call, *, on_root: bool, items_of_root: bool) -> Iterator[Read]:
    if call.name in TYPE_ARGUMENT:
        return
    inside = items_of_root if call.name in PER_ITEM or call.name == "iif" else on_root
    for argument in call.arguments:
        yield from _reads(argument, on_root=inside)
