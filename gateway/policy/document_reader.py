"""Reads a policy file's text into a document, or lists what is wrong with its form, each with its place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from gateway.policy import document as parts
from gateway.policy.document import PolicyDocument
from gateway.policy.problems import Problem, ProblemSeverity
from gateway.yaml_positions import Document, Path, Position, YamlProblems, read

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_NOT_YET = ("patch", "delete", "transaction", "batch", "operation")

_PARTS: tuple[type[BaseModel], ...] = (
    PolicyDocument,
    parts.ClientsPart,
    parts.ExpressionPart,
    parts.RulePart,
    parts.DenyPart,
    parts.CasePart,
    parts.GivenPart,
    parts.ExpectPart,
)
_KEYS = sorted({name for part in _PARTS for name in part.model_fields})

_MESSAGES = {
    "string_type": "must be text; put it in quotes",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "missing": "is missing",
    "too_short": "must not be empty; leave the key out instead",
    "string_too_short": "must not be empty",
    "string_too_long": "is too long",
}
_PATTERNS = {
    "^[a-z][a-z0-9-]{0,63}$": "a name has small letters, digits and hyphens, and begins with a letter",
    "^[a-z][A-Za-z0-9_]{0,63}$": "a name has letters, digits and underscores, and begins with a small letter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where everything in one file stands; makes its problems."""

    file: str
    text: str
    document: Document

    def at(
        self,
        path: Path,
        message: str,
        *,
        hint: str | None = None,
        key: bool = False,
        severity: ProblemSeverity = ProblemSeverity.ERROR,
    ) -> Problem:
        """A problem of the value (or of the key) at a path of the document."""
        position = self.document.key_position(path) if key else self.document.position(path)
        width = len(str(path[-1])) if key and path else 1
        return _problem_at(self.file, self.text, position, message, hint=hint, severity=severity, length=width)

    def inside(
        self,
        path: Path,
        offset: int,
        message: str,
        *,
        hint: str | None = None,
        length: int = 1,
        severity: ProblemSeverity = ProblemSeverity.ERROR,
    ) -> Problem:
        """A problem at an offset of the text at a path."""
        position = self.document.inside(path, offset)
        return _problem_at(self.file, self.text, position, message, hint=hint, length=length, severity=severity)


def _problem_at(
    file: str,
    text: str,
    position: Position,
    message: str,
    *,
    hint: str | None = None,
    length: int = 1,
    severity: ProblemSeverity = ProblemSeverity.ERROR,
) -> Problem:
    lines = text.split("\n")
    return Problem(
        file=file,
        line=position.line,
        column=position.column,
        message=message,
        hint=hint,
        severity=severity,
        length=max(1, length),
        excerpt=lines[position.line - 1].rstrip("\r") if position.line <= len(lines) else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPolicy:
    """A policy file whose form is right."""

    document: PolicyDocument
    places: Places


def read_policy(file: str, text: str) -> ReadPolicy | tuple[Problem, ...]:
    """The document, or every problem of its form."""
    try:
        tree = read(text)
    except YamlProblems as errors:
        return tuple(_problem_at(file, text, problem.position, problem.message) for problem in errors.problems)
    places = Places(file=file, text=text, document=tree)
    try:
        document = PolicyDocument.model_validate(tree.value)
    except ValidationError as errors:
        found = errors.errors(include_url=False, include_context=True)
        return tuple(_problem(places, error) for error in _without_echoes(found))
    empty = tuple(
        places.at(path, f"{path[-1]} has no value", hint="write one, or leave the key out", key=True)
        for path in _empty_keys(document, ())
    )
    return empty or ReadPolicy(document=document, places=places)


def _empty_keys(value: object, path: Path) -> Iterator[Path]:
    """Keys that stand there with nothing behind them: `permit:` left empty would make a guard of a permit."""
    if isinstance(value, BaseModel):
        for name in sorted(value.model_fields_set):
            inside: object = getattr(value, name)
            if inside is None:
                yield (*path, name)
            yield from _empty_keys(inside, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _empty_keys(item, (*path, index))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _empty_keys(item, (*path, name))


def _without_echoes(errors: Sequence["ErrorDetails"]) -> list["ErrorDetails"]:
    """`expect` is a word or a mapping: of the complaints of both branches, those that fit what was written."""
    words = {error["loc"][:-1] for error in errors if str(error["loc"][-1:]).startswith('("literal[')}
    not_mappings = {error["loc"][:-1] for error in errors if error["loc"][-1:] == ("ExpectPart",)}
    return [
        error
        for error in errors
        if error["loc"][-1:] != ("ExpectPart",)
        and (error["loc"][:-1] not in words or error["loc"][:-1] in not_mappings)
    ]


def _path(location: "tuple[int | str, ...]") -> Path:
    # The tags of a union's branches stand in no file.
    return tuple(step for step in location if step != "ExpectPart" and not str(step).startswith("literal["))


def _problem(places: Places, error: "ErrorDetails") -> Problem:
    path, kind, context = _path(error["loc"]), error["type"], error.get("ctx", {})
    name = str(path[-1]) if path else "a policy file"
    if path and path[-1] == "[key]":
        pattern = _PATTERNS.get(str(context.get("pattern")), "")
        return places.at(path[:-1], f"the key {path[-2]!s} is no name", hint=pattern, key=True)
    if kind == "extra_forbidden":
        near = get_close_matches(name, _KEYS, n=1)
        return places.at(path, f"unknown key {name}", hint=f"did you mean {near[0]}?" if near else None, key=True)
    if kind == "missing":
        return places.at(path[:-1], f"the key {name} is missing")
    if kind == "literal_error":
        return _literal(places, path, str(context.get("expected")), error["input"])
    if kind == "string_pattern_mismatch":
        return places.at(path, f"{error['input']} is no name", hint=_PATTERNS.get(str(context.get("pattern"))))
    message = _MESSAGES.get(kind, error["msg"].lower())
    return places.at(path, f"{_spoken(path)} {message}")


def _spoken(path: Path) -> str:
    """The last key of a path as a person says it: `rules[0]`, `title`."""
    if not path:
        return "a policy file"
    if isinstance(path[-1], int) and len(path) > 1:
        return f"{path[-2]}[{path[-1]}]"
    return str(path[-1])


def _literal(places: Places, path: Path, expected: str, given: object) -> Problem:
    if path[:1] == ("permit",) and given in _NOT_YET:
        return places.at(path, f"{given} is not judged yet, so that no policy can permit it", hint="create or update")
    if path[-1:] == ("expect",):
        return places.at(path, "expect must be allow, or deny, warn or undo with a list of rules")
    words = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    near = get_close_matches(str(given), words, n=1) if isinstance(given, str) else []
    hint = f"did you mean {near[0]}?" if near else None
    return places.at(path, f"{_spoken(path)} must be one of: {', '.join(words)}", hint=hint)
