"""What an expression may cost on the values at hand, said before it is evaluated.

The engine's budget counts iterations of comprehensions, whatever each of them takes: one that compares two lists or
joins two long texts is as cheap to it as one that compares two codes. And it keeps the interpreter until it is done,
so that nobody could stop it, and nobody else goes on. Hence a bound from above: the iterations that there can be,
times the largest value that an operation inside of them can meet.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import re2

from gateway.policy.cel_tree import Call, Comprehension, Constant, Ident, ListOf, Node, Tree, children

# Units of some 0.1 us: a JSON value that is compared or copied, or so many characters of a text.
MOST: Final = 3_000_000
_TEXT_STEP: Final = 16
_PATTERN, _INSTRUCTION = 100, 10
_ITERATIONS: Final = 10_000  # the engine's own budget
_MOST_NODES: Final = 200_000
_SIZELESS: Final = frozenset({"bool", "int", "uint", "double", "null", "timestamp", "duration"})
_FREE: Final = frozenset(
    {"_&&_", "_||_", "!_", "-_", "_?_:_", "_[_]", "_?._", "_[?_]", "@not_strictly_false", "orValue", "hasValue"}
)


class Kind(StrEnum):
    """What an operation inside of a macro goes through: a text, a whole value, or the list that the macro makes."""

    TEXT = "text"
    WHOLE = "whole"
    COPY = "copy"
    PATTERN = "pattern"  # counted in units: the engine compiles it anew for each text


@dataclass(frozen=True, slots=True)
class Loops:
    """The operations inside of macros whose cost depends on what they meet: (depth, kind) -> how many.

    `longest`: of the list literals.
    """

    sites: Mapping[tuple[int, Kind], int] = field(default_factory=dict)
    longest: int = 0

    @staticmethod
    def union(parts: "Iterable[Loops]") -> "Loops":
        """All of them, one after the other."""
        sites: Counter[tuple[int, Kind]] = Counter()
        longest = 0
        for part in parts:
            sites.update(part.sites)
            longest = max(longest, part.longest)
        return Loops(dict(sites), longest)

    def units(self, size: "Size") -> int:
        """The most that it can cost on values of that size."""
        length = max(size.longest, self.longest)
        each = {
            Kind.TEXT: 1 + size.text // _TEXT_STEP,
            Kind.WHOLE: size.units,
            Kind.COPY: min(length, _ITERATIONS) // 2,
            Kind.PATTERN: 1,
        }
        return sum(count * min(_ITERATIONS, length**depth) * each[kind] for (depth, kind), count in self.sites.items())


@dataclass(frozen=True, slots=True)
class Size:
    """Of the values at hand: the longest list or map, the longest text, and all in units."""

    longest: int
    text: int
    units: int


def size_of(value: object) -> Size:
    """By one walk, which ends early where it makes no difference any more."""
    longest = text = nodes = characters = 0
    waiting = [value]
    while waiting and nodes < _MOST_NODES:
        one = waiting.pop()
        nodes += 1
        if isinstance(one, str):
            characters += len(one)
            text = max(text, len(one))
        elif isinstance(one, Mapping):
            longest = max(longest, len(one))
            waiting.extend(one.values())
        elif isinstance(one, list):
            longest = max(longest, len(one))
            waiting.extend(one)
    if waiting:  # what was not seen is as large as it can be
        return Size(_ITERATIONS, MOST * _TEXT_STEP, MOST)
    return Size(longest, text, nodes + characters // _TEXT_STEP)


def read(tree: Tree, params: Mapping[str, object]) -> Loops:
    """What the checked tree does inside of macros. Its patterns were found right."""
    sites: Counter[tuple[int, Kind]] = Counter()
    longest = 0
    waiting: list[tuple[Node, int]] = [(tree.root, 0)]
    while waiting:
        node, depth = waiting.pop()
        if isinstance(node, Comprehension):
            makes_list = node.accu_init == ListOf(id=getattr(node.accu_init, "id", 0))
            if makes_list:
                sites[depth + 1, Kind.COPY] += 1
            # The macro's own `@result + [x]` is what COPY stands for.
            step = _body(node.loop_step) if makes_list else (node.loop_step,)
            waiting.append((node.iter_range, depth))
            waiting.extend((part, depth + 1) for part in (*step, node.loop_condition))
            continue
        if isinstance(node, ListOf):
            longest = max(longest, len(node.elements))
        elif isinstance(node, Call) and depth and (kind := _kind(tree, node)) is not None:
            sites[depth, kind] += 1
            if node.function == "matches":
                sites[depth, Kind.PATTERN] += _PATTERN + _INSTRUCTION * _program(node.args[-1], params)
        waiting.extend((part, depth) for part in children(node))
    return Loops(dict(sites), longest)


def _body(step: Node) -> tuple[Node, ...]:
    """Of a step of `map` or `filter` (`p ? @result + [x] : @result`) what the author wrote: p and x."""
    if isinstance(step, Call) and step.function == "_?_:_":
        return (step.args[0], *_body(step.args[1]))
    return step.args[1:] if isinstance(step, Call) else (step,)


def _program(pattern: Node, params: Mapping[str, object]) -> int:
    text: object = pattern.value if isinstance(pattern, Constant) else None
    if isinstance(pattern, Ident):
        text = params.get(pattern.name.removeprefix("params."))
    return int(re2.compile(text).programsize) if isinstance(text, str) else 0


def _kind(tree: Tree, call: Call) -> Kind | None:
    """None where the cost is the same for all values: scalars, and comparing with a literal or a parameter."""
    parts = call.args if call.target is None else (call.target, *call.args)
    if call.function in _FREE:
        return None
    kinds = [tree.type_of(part).kind for part in parts]
    if call.function in ("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_") and (
        any(isinstance(part, Constant) for part in parts) or any(kind in _SIZELESS for kind in kinds)
    ):
        return None
    if all(kind in _SIZELESS for kind in kinds):
        return None
    if call.function == "size" and kinds[0] in ("list", "map"):
        return None
    return Kind.TEXT if all(kind in _SIZELESS or kind == "string" for kind in kinds) else Kind.WHOLE
