"""Where the values of a configuration come from: one YAML file, then environment variables on top.

Every problem names its source: `file:line:column`, or the variable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from gateway.config_values import EnvironmentText
from gateway.yaml_positions import Document, Position, YamlProblems, YamlValue, read
from gateway.yaml_positions import Path as TreePath

PREFIX = "FHIR_GATEWAY_"
# Kubernetes puts these beside every container of a namespace that has a Service called `fhir-gateway`.
# For tests of crashes alone; `settings.unsafe_of` shows it in log, metrics and /status.
_NO_KEYS = frozenset({"FHIR_GATEWAY_CRASH_AT", "FHIR_GATEWAY_CRASH_SIGNAL"})
_SERVICE_LINKS = re.compile(r"FHIR_GATEWAY_(?:SERVICE_(?:HOST|PORT)|PORT)(?:_[A-Z0-9_]+)?\Z")
_INDEX = re.compile(r"[0-9]{1,4}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """One thing that is wrong. `variable` is set when it came from the environment."""

    file: str
    line: int
    column: int
    message: str
    variable: str | None = None

    def __str__(self) -> str:
        if self.variable is not None:
            return f"{self.variable}: {self.message}"
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigErrors(Exception):
    """The configuration cannot be used. Carries every problem found."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


@dataclass(slots=True)
class Source:
    """The merged value tree of a configuration, and the origin of each of its values."""

    file: str
    tree: YamlValue
    document: Document | None
    variables: dict[TreePath, str] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)

    def refuse(self, path: TreePath, message: str, *, at_key: bool = False) -> None:
        """Record a problem with the value (or the key) at `path`."""
        if (variable := self._variable_of(path)) is not None:
            self.refuse_variable(variable, message)
            return
        place = Position(1, 1)
        if self.document is not None:
            place = self.document.key_position(path) if at_key else self.document.position(path)
        self._add(ConfigProblem(file=self.file, line=place.line, column=place.column, message=message))

    def _variable_of(self, path: TreePath) -> str | None:
        """The variable that gave the value at `path`, or a part of it that is not in the file."""
        for length in range(len(path), 0, -1):
            if (variable := self.variables.get(path[:length])) is not None:
                return variable
        if self.document is not None and path in self.document.values:
            return None
        return next((name for at, name in self.variables.items() if at[: len(path)] == path), None)

    def refuse_variable(self, variable: str, message: str) -> None:
        """Record a problem with an environment variable."""
        self._add(ConfigProblem(file=self.file, line=0, column=0, message=message, variable=variable))

    def _add(self, problem: ConfigProblem) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def open_source(path: Path, environ: Mapping[str, str]) -> Source:
    """Read the file and lay the environment over it. Raises ConfigErrors when the file is no YAML mapping."""
    file = str(path)
    try:
        document = read(path.read_text(encoding="utf-8"))
    except YamlProblems as error:
        raise ConfigErrors(
            tuple(
                ConfigProblem(file=file, line=p.position.line, column=p.position.column, message=p.message)
                for p in error.problems
            )
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        problem = ConfigProblem(file=file, line=1, column=1, message=f"cannot be read: {reason}")
        raise ConfigErrors((problem,)) from None
    source = Source(file=file, tree=document.value, document=document)
    if not isinstance(source.tree, dict):
        source.refuse((), "the configuration must be a mapping")
        raise ConfigErrors(tuple(source.problems))
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in _NO_KEYS and not _SERVICE_LINKS.match(variable):
            _override(source, variable, environ[variable])
    return source


def _override(source: Source, variable: str, text: str) -> None:
    steps = variable.removeprefix(PREFIX).lower().split("__")
    node: YamlValue = source.tree
    path: list[str | int] = []
    for number, step in enumerate(steps):
        is_last = number == len(steps) - 1
        empty: YamlValue = [] if not is_last and _INDEX.match(steps[number + 1]) else {}
        value: YamlValue = EnvironmentText(text) if is_last else empty
        if isinstance(node, dict) and step:
            path.append(step)
            node = _replace_or_enter(node, step, value, is_last=is_last)
        elif isinstance(node, list) and _INDEX.match(step) and int(step) <= len(node):
            path.append(int(step))
            node = _replace_or_enter_item(node, int(step), value, is_last=is_last)
        else:
            source.refuse_variable(variable, _why_not(node, step))
            return
    source.variables[tuple(path)] = variable


def _why_not(node: YamlValue, step: str) -> str:
    if isinstance(node, list):
        return f"names item {step} of a list of {len(node)}: items are numbered from 0, without gaps"
    return f"names {step!r} inside a value that is no mapping"


def _replace_or_enter(node: dict[str, YamlValue], key: str, value: YamlValue, *, is_last: bool) -> YamlValue:
    if is_last or node.get(key) is None:
        node[key] = value
    return node[key]


def _replace_or_enter_item(node: list[YamlValue], index: int, value: YamlValue, *, is_last: bool) -> YamlValue:
    if index == len(node):
        node.append(value)
    elif is_last:
        node[index] = value
    return node[index]


def closest(word: str, known: tuple[str, ...]) -> str:
    """` (did you mean …?)`, or nothing."""
    matches = get_close_matches(word, known, n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""
