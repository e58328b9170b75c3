"""Which outside values an expression reads."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.fhirpath.env import ROOT_NAMES
from gateway.fhirpath.library import ON_INPUT, PER_ITEM, TYPE_ARGUMENT
from gateway.fhirpath.tree import Function, Literal, Member, Node, Path, This, Variable, operands

_CLOCK: Final = ("now", "today", "timeOfDay")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A name that is read. `member`: the element asked of it at once (`x` in `%let.x`), with its own place."""

    name: str
    at: Node
    member: Member | None = None


def reads(tree: Node) -> tuple[Read, ...]:
    """Every read, in the order of the text.

    The judged resource is named `resource`, however it is reached; `now()` and its like read `request`. What
    `defineVariable` defines in the text comes from no outside.
    """
    own = defined(tree)
    found = (read for read in _reads(tree, on_root=True) if read.name not in own)
    return tuple(sorted(found, key=lambda read: read.at.offset))


def defined(tree: Node) -> frozenset[str]:
    """The names that `defineVariable` defines anywhere in a text."""
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        waiting.extend(operands(node))
        if isinstance(node, Function) and node.name == "defineVariable" and node.arguments:
            [name, *_] = node.arguments
            if isinstance(name, Literal):
                found.add(str(name.value))
    return frozenset(found)


def _reads(node: Node, *, on_root: bool) -> Iterator[Read]:
    """`on_root`: whether a bare name here starts at the resource, and not at an item of some other value."""
    if isinstance(node, Path):
        yield from _path(node, on_root=on_root)
    elif isinstance(node, Variable):
        yield Read(name="resource" if node.name in ROOT_NAMES else node.name, at=node)
    elif isinstance(node, Function):
        if node.name in _CLOCK:
            yield Read(name="request", at=node)
        elif on_root:
            yield Read(name="resource", at=node)
        yield from _arguments(node, on_root=on_root, items_of_root=on_root)
    elif on_root and isinstance(node, Member | This):
        yield Read(name="resource", at=node)
    else:
        for part in operands(node):
            yield from _reads(part, on_root=on_root)


def _path(node: Path, *, on_root: bool) -> Iterator[Read]:
    if isinstance(node.base, Variable) and isinstance(node.step, Member) and node.base.name not in ROOT_NAMES:
        yield Read(name=node.base.name, at=node.base, member=node.step)
        return
    yield from _reads(node.base, on_root=on_root)
    if isinstance(node.step, Function):
        yield from _arguments(node.step, on_root=on_root, items_of_root=False)


def _arguments(call: Function, *, on_root: bool, items_of_root: bool) -> Iterator[Read]:
    if call.name in TYPE_ARGUMENT:
        return
    inside = items_of_root if call.name in PER_ITEM or call.name in ON_INPUT else on_root
    for argument in call.arguments:
        yield from _reads(argument, on_root=inside)
