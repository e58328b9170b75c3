"""Reads one YAML 1.2 document strictly, and remembers where every value stands.

Only the plain JSON tree is read: no anchors, aliases, merge keys, tags, directives, second documents, duplicate
keys or keys that are not text. What a careful reader sees is what is loaded, and nothing can grow on expansion.
Plain scalars follow the core schema (https://yaml.org/spec/1.2.2/#103-core-schema): `no`, `on` and `2020-01-01`
are texts. Every problem found is reported, each with its line and column.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

YamlValue: TypeAlias = "bool | int | float | str | list[YamlValue] | dict[str, YamlValue] | None"
Path: TypeAlias = "tuple[str | int, ...]"

MAX_DEPTH = 64

_CONSTANTS: Mapping[str, YamlValue] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}\Z")
_PREFIXED = re.compile(r"0(?:o[0-7]{1,20}|x[0-9a-fA-F]{1,16})\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a text; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlProblem:
    """One thing that is wrong, and where."""

    position: Position
    message: str


class YamlProblems(Exception):
    """The text is not a document that may be used. Carries every problem found, in order of position."""

    def __init__(self, problems: Iterable[YamlProblem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.position))
        super().__init__("; ".join(problem.message for problem in self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A value tree and the places of its values and keys. Paths start at the root: `("rules", 0, "cel")`."""

    value: YamlValue
    source: str
    values: Mapping[Path, Position]
    keys: Mapping[Path, Position]
    styles: Mapping[Path, str]

    def position(self, path: Path) -> Position:
        """Where the value at `path` starts, or its nearest ancestor that is in the text."""
        return _nearest(self.values, path)

    def key_position(self, path: Path) -> Position:
        """Where the key of the value at `path` starts; for list items and the root, the value itself."""
        return self.keys[path] if path in self.keys else _nearest(self.values, path)

    def inside(self, path: Path, offset: int) -> Position:
        """Where the code point at `offset` of the text scalar at `path` stands.

        Exact for one-line scalars without escapes and for literal blocks (`|`); else the start of the scalar,
        which is the most that can be said without re-reading YAML's folding rules.
        """
        start = self.position(path)
        style = self.styles.get(path)
        text = value_at(self.value, path)
        if style is None or not isinstance(text, str):
            return start
        lines = self.source.split("\n")
        if style == "|":
            return _inside_literal(lines, start, text, offset)
        quote = 0 if style == "" else 1
        written = lines[start.line - 1][start.column - 1 + quote :]
        return Position(start.line, start.column + quote + offset) if written.startswith(text) else start


def _nearest(places: Mapping[Path, Position], path: Path) -> Position:
    while path and path not in places:
        path = path[:-1]
    return places.get(path, Position(1, 1))


def value_at(value: YamlValue, path: Path) -> YamlValue:
    """The value at `path` inside a tree, or None."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _inside_literal(lines: list[str], start: Position, text: str, offset: int) -> Position:
    before = text[:offset]
    row = start.line + before.count("\n")  # index of the row: the block starts on the line after its `|`
    first = next((line for line in lines[start.line :] if line.strip()), "")
    indent = len(first) - len(first.lstrip(" "))
    return Position(row + 1, indent + 1 + len(before) - (before.rfind("\n") + 1))


def read(text: str) -> Document:
    """Read the one document of `text`. Raises YamlProblems."""
    reader = _Reader()
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            reader.take(event)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
        reader.refuse(place, f"not YAML: {error.problem or error.context}")
    except (YAMLError, ValueError) as error:
        # The reader below the scanner refuses control characters without a mark; so do lone surrogates.
        reader.refuse(_first_unreadable(text), f"not YAML: {type(error).__name__}: a character that YAML forbids")
    if reader.documents == 0 and not reader.problems:
        reader.refuse(Position(1, 1), "the document is empty")
    if reader.problems:
        raise YamlProblems(reader.problems)
    return Document(value=reader.root, source=text, values=reader.values, keys=reader.keys, styles=reader.styles)


def _first_unreadable(text: str) -> Position:
    unreadable = (
        Position(number, column)
        for number, line in enumerate(text.split("\n"), 1)
        for column, character in enumerate(line, 1)
        if not character.isprintable() and character not in "\t\r\u00a0"
    )
    return next(unreadable, Position(1, 1))


@dataclass(slots=True)
class _Open:
    """A mapping or sequence whose end has not been seen. `key` is the key whose value comes next."""

    path: Path
    into: "dict[str, YamlValue] | list[YamlValue]"
    key: str | None = None
    waiting_for_key: bool = True


@dataclass(slots=True)
class _Reader:
    """Builds the tree from parser events, without recursion, so that depth costs no stack."""

    root: YamlValue = None
    documents: int = 0
    problems: list[YamlProblem] = field(default_factory=list)
    values: dict[Path, Position] = field(default_factory=dict)
    keys: dict[Path, Position] = field(default_factory=dict)
    styles: dict[Path, str] = field(default_factory=dict)
    stack: list[_Open] = field(default_factory=list)
    skipping: int = 0  # depth inside a key that is itself a collection

    def refuse(self, position: Position, message: str) -> None:
        self.problems.append(YamlProblem(position=position, message=message))

    def take(self, event: Event) -> None:
        position = Position(event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, DocumentStartEvent):
            self._start(event, position)
        elif self.documents > 1:
            return
        elif self.skipping:
            self._skip(event)
        elif isinstance(event, AliasEvent):
            self.refuse(position, f"alias *{event.anchor}: write the value out, aliases are not read")
            self._scalar(None, position, None)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self._plain(event, position)
            self._open(event, position)
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self.stack.pop()
        elif isinstance(event, ScalarEvent):
            self._plain(event, position)
            self._read_scalar(event, position)

    def _start(self, event: DocumentStartEvent, position: Position) -> None:
        self.documents += 1
        if self.documents > 1:
            self.refuse(position, "a second document: one file holds one document")
        if event.version is not None and tuple(event.version) != (1, 2):
            self.refuse(position, "%YAML directive: only YAML 1.2 is read")
        if event.tags:
            self.refuse(position, "%TAG directive: tags are not read")

    def _plain(self, event: "ScalarEvent | MappingStartEvent | SequenceStartEvent", position: Position) -> None:
        if event.anchor is not None:
            self.refuse(position, f"anchor &{event.anchor}: write values out, anchors are not read")
        if event.tag is not None:
            self.refuse(position, f"tag {event.tag}: tags are not read")

    def _skip(self, event: Event) -> None:
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self.skipping += 1
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self.skipping -= 1
            if not self.skipping:
                self.stack[-1].key, self.stack[-1].waiting_for_key = None, False

    def _open(self, event: "MappingStartEvent | SequenceStartEvent", position: Position) -> None:
        if self._expects_key():
            self.refuse(position, "a key must be text")
            self.skipping = 1
            return
        if len(self.stack) >= MAX_DEPTH:
            raise YamlProblems([YamlProblem(position=position, message=f"nested deeper than {MAX_DEPTH}")])
        into: dict[str, YamlValue] | list[YamlValue] = {} if isinstance(event, MappingStartEvent) else []
        path = self._put(into, position)
        self.stack.append(_Open(path, into))

    def _expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].into, dict) and self.stack[-1].waiting_for_key

    def _read_scalar(self, event: ScalarEvent, position: Position) -> None:
        if _SURROGATE.search(event.value):
            self.refuse(position, "half a surrogate pair is no text")
        is_plain = bool(event.implicit[0])
        if not self._expects_key():
            self._scalar(self._resolve(event.value, position) if is_plain else event.value, position, event.style)
            return
        top = self.stack[-1]
        top.key, top.waiting_for_key = None, False
        if is_plain and event.value == "<<":
            self.refuse(position, "merge key <<: write the keys out, merging is not read")
        elif is_plain and not isinstance(self._resolve(event.value, position), str):
            self.refuse(position, f"a key must be text: quote {event.value or 'the empty key'}")
        elif isinstance(top.into, dict) and event.value in top.into:
            first = self.keys[(*top.path, event.value)]
            self.refuse(position, f"duplicate key {event.value}: first given on line {first.line}")
        else:
            top.key = event.value
            self.keys[(*top.path, event.value)] = position

    def _resolve(self, text: str, position: Position) -> YamlValue:
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INTEGER.match(text):
            return int(text)
        if _PREFIXED.match(text):
            return int(text, 0)
        if _FLOAT.match(text):
            if math.isfinite(number := float(text)):
                return number
            self.refuse(position, "a number out of range")
        elif _NOT_FINITE.match(text):
            self.refuse(position, "a number must be finite")
        return text

    def _scalar(self, value: YamlValue, position: Position, style: str | None) -> None:
        if self._expects_key():
            self.stack[-1].key, self.stack[-1].waiting_for_key = None, False
            return
        path = self._put(value, position)
        if isinstance(value, str):
            self.styles[path] = style or ""

    def _put(self, value: YamlValue, position: Position) -> Path:
        path: Path = ()
        if not self.stack:
            self.root = value
            self.values[path] = position
            return path
        top = self.stack[-1]
        if isinstance(top.into, list):
            path = (*top.path, len(top.into))
            top.into.append(value)
        else:
            top.waiting_for_key = True
            # A value under a refused key is read on for its own problems, and kept nowhere.
            path = (*top.path, "" if top.key is None else top.key)
            if top.key is not None:
                top.into[top.key] = value
        self.values[path] = position
        return path
