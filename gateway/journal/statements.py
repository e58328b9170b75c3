"""The SQL of the journal, from its files: statements by name, and numbered migrations."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from operator import itemgetter
from types import MappingProxyType

from gateway.journal.rows import Value, Values

Picking = Callable[[Values], tuple[Value | list[str], ...]]
_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)
_MIGRATION = re.compile(r"(\w+)-([0-9]{4})\.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """What leads from the version before to `version`."""

    version: int
    script: str


@cache
def statements(backend: str) -> Mapping[str, str]:
    """The statements of `sqlite` or `postgresql`, by name."""
    text = resources.files("gateway.journal").joinpath(f"{backend}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    found = {name: _COMMENT.sub("", sql).strip() for name, sql in zip(parts[::2], parts[1::2], strict=True)}
    return MappingProxyType(found)


@cache
def migrations(backend: str) -> tuple[Migration, ...]:
    """Every migration of a backend, oldest first. The last one's version is what this program speaks."""
    found = []
    for file in resources.files("gateway.journal.schema").iterdir():
        match = _MIGRATION.fullmatch(file.name)
        if match is not None and match[1] == backend:
            found.append(Migration(version=int(match[2]), script=file.read_text(encoding="utf-8")))
    return tuple(sorted(found, key=lambda each: each.version))


def numbered(sql: str, parameter: re.Pattern[str], sign: str) -> tuple[str, Picking]:
    """A statement whose parameters go by number (`sign` 1, 2 …), and what picks their values in that order.

    `parameter` finds one by its name, which is its first group. Binding by name takes twice as long.
    """
    names = tuple(dict.fromkeys(parameter.findall(sql)))
    text = parameter.sub(lambda found: f"{sign}{names.index(found[1]) + 1}", sql)
    return text, itemgetter(*names) if len(names) > 1 else lambda values: tuple(values[name] for name in names)
