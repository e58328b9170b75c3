"""The door for values: what both CEL engines are handed, as plain JSON containers and numbers that fit.

The engines take `dict`, `list` and `str` themselves, no look-alikes, and integers of at most 64 bits
(https://github.com/google/cel-spec/blob/master/doc/langdef.md#values).
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Final

from gateway.policy.cel_source import LET
from gateway.policy.expression import Reads

_LARGEST: Final = 2**63 - 1
_SMALLEST: Final = -(2**63)
_OWN: Final = ("client", "request")  # the gateway's own records: small, and never plain at the start


def excerpt(values: Mapping[str, object], reads: Reads) -> dict[str, object]:
    """The values with no more of their elements than are read."""
    seen = dict(values)
    for name, elements in reads.items():
        value = seen.get(name)
        if type(value) is dict and len(elements) < len(value):
            seen[name] = {element: value[element] for element in elements if element in value}
    return seen


def shallow(values: Mapping[str, object]) -> dict[str, object]:
    """NAMES -> values as the environment names them. `params` are literals by then; payloads are not copied."""
    data: dict[str, object] = {}
    for name, value in values.items():
        if name == "let":
            data[LET] = value if type(value) is dict else plain(value)
        elif name in _OWN and isinstance(value, Mapping) and None in value.values():
            # An absent member (`request.id` of a create) is absent, not null: has() answers false.
            data[name] = {
                key: item if type(item) is str else plain(item) for key, item in value.items() if item is not None
            }
        elif name != "params":
            data[name] = dict(value) if type(value) is not dict and isinstance(value, Mapping) else value
    return data


def deep(values: Mapping[str, object]) -> dict[str, object]:
    """As `shallow`, all the way down, with numbers past 64 bits as floating point."""
    return {name: plain(value) for name, value in shallow(values).items()}


def plain(value: object) -> object:  # noqa: PLR0911 (one per kind)
    """A JSON value in the engines' own containers. What is no JSON value stays, and is refused by the engine."""
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [item if type(item) is str else plain(item) for item in value]
        case Decimal():
            return float(value)
        case int() if not isinstance(value, bool) and not _SMALLEST <= value <= _LARGEST:
            return _float(value)
        case Enum():
            return plain(value.value)
        case str():
            return str(value)
        case _:
            return value


def is_json(value: object) -> bool:
    """Whether a constant of a policy file can be written in an expression."""
    match value:
        case Mapping():
            return all(isinstance(key, str) and is_json(key) and is_json(item) for key, item in value.items())
        case list() | tuple():
            return all(map(is_json, value))
        case str():
            return value.isprintable() or value.encode("utf-8", "replace") == value.encode("utf-8", "surrogatepass")
        case _:
            return value is None or isinstance(value, (bool, int, float))


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:  # past 1.8e308
        return float("inf") if value > 0 else float("-inf")


def resource_type(values: Mapping[str, object]) -> str:
    """The `resourceType` that the write is about: of `resource`, else `prior`, else `stored`; empty if none."""
    for name in ("resource", "prior", "stored"):
        match values.get(name):
            case {"resourceType": str(found)}:
                return found
            case _:
                continue
    return ""
