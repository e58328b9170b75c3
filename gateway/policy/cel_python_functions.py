"""The functions that the second engine evaluates with, where cel-python's own differ from the CEL specification.

Values are cel-python's. A failure is returned as a `CELEvalError`, never raised, so that `||`, `&&` and `exists()`
absorb it as CEL says.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import re2
from celpy import celtypes
from celpy.evaluation import CELEvalError, base_functions

_NUMBERS: Final = (celtypes.IntType, celtypes.UintType, celtypes.DoubleType)
_INSTANT: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})", re.ASCII
)  # RFC 3339, what CEL's timestamp() reads; Python's clock knows no more than six places, so more is an error here
_OF_DURATION: Final = frozenset({"getHours", "getMinutes", "getSeconds", "getMilliseconds"})
_CONVERTED: Final[Mapping[str, tuple[type, ...]]] = {  # langdef.md, List of Standard Definitions
    "int": (*_NUMBERS, celtypes.BoolType, celtypes.StringType, celtypes.TimestampType),
    "uint": (*_NUMBERS, celtypes.StringType),
    "double": (*_NUMBERS, celtypes.StringType),
    "bool": (celtypes.BoolType, celtypes.StringType),
    "bytes": (celtypes.BytesType, celtypes.StringType),
    "duration": (celtypes.DurationType, celtypes.StringType),
    "string": (
        *(*_NUMBERS, celtypes.BoolType, celtypes.StringType, celtypes.BytesType),
        *(celtypes.TimestampType, celtypes.DurationType),
    ),
}
_ANY: Final = re.compile(r".*", re.DOTALL)
_TEXTS: Final = {  # what cel-python reads beyond the specification is not read
    "int": re.compile(r"-?[0-9]+"),
    "uint": re.compile(r"[0-9]+"),
    "double": re.compile(r"[^_]*"),
    "duration": re.compile(r"[-+]?([0-9]+(\.[0-9]*)?(h|m|s|ms|us|ns))+|0?"),
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MISSING: Final = object()


class OutOfBudget(Exception):
    """Too many iterations. No CEL error: nothing absorbs it."""


@dataclass(slots=True)
class Steps:
    """What is left of an evaluation's budget of iterations."""

    left: int

    def take(self) -> None:
        """One iteration. Raises OutOfBudget."""
        self.left -= 1
        if self.left < 0:
            raise OutOfBudget


@dataclass(frozen=True, slots=True)
class Optional:
    """CEL's optional value (https://github.com/google/cel-spec/wiki/proposal-246)."""

    content: Any = _MISSING

    @property
    def present(self) -> bool:
        return self.content is not _MISSING


def no_overload() -> CELEvalError:
    """The error of a value in a place where its type does not belong."""
    return CELEvalError("no such overload", TypeError, ())


def _select(value: Any, key: Any) -> Any:
    if isinstance(value, Optional):
        return optional_select(value, key)
    if not isinstance(value, celtypes.MapType):
        return no_overload()
    found = value.get(key, _MISSING) if key in value else _MISSING
    return CELEvalError(f'Key not found in map : "{key}"', KeyError, ()) if found is _MISSING else found


def has_key(value: Any, key: Any) -> Any:
    """`has(value.key)` of an untyped value."""
    if isinstance(value, Optional):
        value = value.content if value.present else celtypes.MapType()
    return celtypes.BoolType(key in value) if isinstance(value, celtypes.MapType) else no_overload()


def optional_select(value: Any, key: Any) -> Any:
    """`value.?key`."""
    if isinstance(value, Optional):
        if not value.present:
            return value
        value = value.content
    if not isinstance(value, celtypes.MapType):
        return no_overload()
    return Optional(value[key]) if key in value else Optional()


def optional_index(value: Any, index: Any) -> Any:
    """`value[?index]`."""
    if isinstance(value, Optional):
        if not value.present:
            return value
        value = value.content
    if isinstance(value, celtypes.MapType):
        return Optional(value[index]) if index in value else Optional()
    if isinstance(value, celtypes.ListType) and isinstance(index, celtypes.IntType):
        return Optional(value[index]) if 0 <= index < len(value) else Optional()
    return no_overload()


def _has_value(value: Any) -> Any:
    return celtypes.BoolType(value.present) if isinstance(value, Optional) else no_overload()


def _value(value: Any) -> Any:
    if isinstance(value, Optional) and not value.present:
        return CELEvalError("optional value is absent", ValueError, ())
    return value.content if isinstance(value, Optional) else no_overload()


def of_non_zero(value: Any) -> Any:
    """`optional.ofNonZeroValue(value)`."""
    zero = value is None or (not isinstance(value, Optional) and not value)
    return Optional() if zero else Optional(value)


def equal(left: Any, right: Any) -> bool:
    """Equality across types, numbers by value (langdef.md, Equality)."""
    if isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS):
        return bool(operator.eq(*_numbers(left, right)))
    if isinstance(left, celtypes.ListType) and isinstance(right, celtypes.ListType):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, celtypes.MapType) and isinstance(right, celtypes.MapType):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, Optional) and isinstance(right, Optional):
        return left.present == right.present and (not left.present or equal(left.content, right.content))
    return _kind(left) is _kind(right) and bool(left == right)


def _kind(value: Any) -> type:
    return type(None) if value is None else type(value)


def _numbers(left: Any, right: Any) -> tuple[int | float, int | float]:
    """An integer is compared with a double as a double, as the first engine does past 2**53."""
    if isinstance(left, float) or isinstance(right, float):
        return float(left), float(right)
    return int(left), int(right)


def _number(value: Any) -> int | float:
    return float(value) if isinstance(value, float) else int(value)


def _equals(left: Any, right: Any) -> Any:
    return celtypes.BoolType(equal(left, right))


def _differs(left: Any, right: Any) -> Any:
    return celtypes.BoolType(not equal(left, right))


def _ordered(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def ordered(left: Any, right: Any) -> Any:
        if isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS):
            return celtypes.BoolType(compare(*_numbers(left, right)))
        if type(left) is not type(right) or isinstance(left, (celtypes.ListType, celtypes.MapType, Optional)):
            return no_overload()
        plain = str if isinstance(left, str) else bytes if isinstance(left, bytes) else None
        if plain is not None:
            return celtypes.BoolType(compare(plain(left), plain(right)))
        return celtypes.BoolType(compare(left, right))

    return ordered


def _contains_item(item: Any, container: Any) -> Any:
    if isinstance(container, celtypes.MapType):
        if not is_key(item) and not isinstance(item, celtypes.DoubleType):
            return no_overload()
        return celtypes.BoolType(any(equal(item, key) for key in container))
    if isinstance(container, celtypes.ListType):
        return celtypes.BoolType(any(equal(item, other) for other in container))
    return no_overload()


def is_key(value: Any) -> bool:
    """What may be the key of a map."""
    return isinstance(value, (celtypes.StringType, celtypes.BoolType, celtypes.IntType, celtypes.UintType))


def _index(value: Any, index: Any) -> Any:
    if isinstance(value, Optional):
        return optional_index(value, index)
    if isinstance(value, celtypes.MapType):
        return _select(value, index)
    if not isinstance(value, celtypes.ListType) or isinstance(index, (bool, celtypes.BoolType)):
        return no_overload()
    if not isinstance(index, _NUMBERS) or _number(index) != int(index):
        return no_overload()
    if not 0 <= int(index) < len(value):
        return CELEvalError("Index error", IndexError, ())
    return value[int(index)]


def _arithmetic(name: str) -> Callable[[Any, Any], Any]:
    own: Callable[[Any, Any], Any] = base_functions[name]

    def arithmetic(left: Any, right: Any) -> Any:
        numbers = isinstance(left, _NUMBERS)
        if (numbers or isinstance(left, celtypes.BoolType) or name not in ("_+_", "_-_")) and not (
            numbers and type(left) is type(right)
        ):
            return no_overload()
        if isinstance(left, celtypes.DoubleType) and name == "_/_" and not right:
            return celtypes.DoubleType(float("nan") if not left else float("inf") * float(left))
        try:
            return _own(own(left, right))
        except ZeroDivisionError:
            return CELEvalError("divide by zero", ZeroDivisionError, ())
        except (ValueError, OverflowError):
            return CELEvalError("integer overflow", ValueError, ())

    return arithmetic


def _own(value: Any) -> Any:
    """Sums of cel-python's values are Python's."""
    match value:
        case str():
            return celtypes.StringType(value)
        case bytes():
            return celtypes.BytesType(value)
        case float():
            return celtypes.DoubleType(value)
        case list():
            return celtypes.ListType(value)
        case timedelta():
            return celtypes.DurationType(value)
        case _:
            return value


def boolean(value: Any) -> Any:
    """An operand of `&&`, `||`, `!` and `?:`, and what a macro's body gives."""
    return value if isinstance(value, celtypes.BoolType) else no_overload()


def _items(value: Any) -> Any:
    """What a macro goes through."""
    return value if isinstance(value, (celtypes.ListType, celtypes.MapType)) else no_overload()


def _text_only(function: Callable[[str, str], bool]) -> Callable[[Any, Any], Any]:
    def on_texts(text: Any, other: Any) -> Any:
        if not isinstance(text, celtypes.StringType) or not isinstance(other, celtypes.StringType):
            return no_overload()
        return celtypes.BoolType(function(str(text), str(other)))

    return on_texts


def _matches(text: Any, pattern: Any) -> Any:
    if not isinstance(text, celtypes.StringType) or not isinstance(pattern, celtypes.StringType):
        return no_overload()
    return celtypes.BoolType(re2.search(str(pattern), str(text)) is not None)  # the check has compiled it


def _size(value: Any) -> Any:
    sized = (celtypes.StringType, celtypes.BytesType, celtypes.ListType, celtypes.MapType)
    return celtypes.IntType(len(value)) if isinstance(value, sized) else no_overload()


def _since_epoch(seconds: int) -> Any:
    try:
        return celtypes.TimestampType(_EPOCH + timedelta(seconds=int(seconds)))
    except OverflowError:
        return CELEvalError("integer overflow", ValueError, ())


def _timestamp(value: Any) -> Any:
    if isinstance(value, celtypes.TimestampType):
        return value
    if isinstance(value, celtypes.IntType):
        return _since_epoch(value)
    if not isinstance(value, celtypes.StringType) or not _INSTANT.fullmatch(str(value)):
        return CELEvalError("String to Timestamp conversion failed", ValueError, ())
    try:
        return celtypes.TimestampType(value)
    except (ValueError, OverflowError):
        return CELEvalError("String to Timestamp conversion failed", ValueError, ())


def _convert(name: str) -> Callable[[Any], Any]:
    own: Callable[[Any], Any] = base_functions[name]

    def convert(value: Any) -> Any:
        if isinstance(value, celtypes.BoolType) and name == "string":
            return celtypes.StringType("true" if value else "false")
        if isinstance(value, celtypes.DoubleType) and name == "string":
            return celtypes.StringType(repr(float(value)).removesuffix(".0"))
        if isinstance(value, celtypes.StringType) and not _TEXTS.get(name, _ANY).fullmatch(str(value)):
            return CELEvalError("cannot convert", ValueError, ())
        if not isinstance(value, _CONVERTED[name]):
            return no_overload()
        try:
            return own(value)
        except (ValueError, OverflowError, TypeError):
            return CELEvalError("cannot convert", ValueError, ())

    return convert


def _negate(value: Any) -> Any:
    signed = isinstance(value, (celtypes.IntType, celtypes.DoubleType)) and not isinstance(value, celtypes.BoolType)
    if not signed:
        return no_overload()
    try:
        return -value
    except (ValueError, OverflowError):
        return CELEvalError("integer overflow", ValueError, ())


def _part_of_time(name: str) -> Callable[..., Any]:
    own: Callable[..., Any] = base_functions[name]

    def part(value: Any, *zone: Any) -> Any:
        if isinstance(value, celtypes.DurationType) and not zone and name in _OF_DURATION:
            return celtypes.IntType(value.microseconds // 1000) if name == "getMilliseconds" else own(value)
        if not isinstance(value, celtypes.TimestampType) or not all(isinstance(z, celtypes.StringType) for z in zone):
            return no_overload()
        return own(value, *zone)

    return part


def step(steps: Any, value: Any) -> Any:
    """Around the body of every macro: counts the iteration, and hands the body's value on."""
    steps.take()
    return value


FUNCTIONS: Final[Mapping[str, Any]] = {
    "_select": _select,
    "_has": has_key,
    "_?._": optional_select,
    "_[?_]": optional_index,
    "hasValue": _has_value,
    "value": _value,
    "_of": Optional,
    "_none": Optional,
    "_ofNonZeroValue": of_non_zero,
    "_==_": _equals,
    "_!=_": _differs,
    "_<_": _ordered(operator.lt),
    "_<=_": _ordered(operator.le),
    "_>_": _ordered(operator.gt),
    "_>=_": _ordered(operator.ge),
    "@in": _contains_item,
    "_[_]": _index,
    **{name: _arithmetic(name) for name in ("_+_", "_-_", "_*_", "_/_", "_%_")},
    "contains": _text_only(lambda text, part: part in text),
    "startsWith": _text_only(str.startswith),
    "endsWith": _text_only(str.endswith),
    "matches": _matches,
    "size": _size,
    "timestamp": _timestamp,
    **{name: _convert(name) for name in ("int", "uint", "double", "string", "bool", "bytes", "duration")},
    "dyn": lambda value: value,
    "_neg": _negate,
    **{name: _part_of_time(name) for name in base_functions if name.startswith("get")},
    "_step": step,
    "_bool": boolean,
    "_items": _items,
}
