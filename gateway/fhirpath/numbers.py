"""Functions on numbers, conversions between the System types, and the frozen clock."""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from fhirpathpy.engine.invocations import math, misc

from gateway.fhirpath import comparing
from gateway.fhirpath.evaluation import Evaluation, Function, Scope
from gateway.fhirpath.syntax import Expr
from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.values import Collection, EvaluationError, Item, Quantity, is_number, plain, scalar


def number_function(function: Callable[..., object]) -> Function:
    """A function of one number and of number arguments, by the library; empty when any of them is empty."""

    def call(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
        items = [comparing.only(focus, "a number function")]
        items += [comparing.only(run.of(argument, scope.this, scope), "an argument") for argument in arguments]
        if any(item is None for item in items):
            return []
        numbers = [plain(item) for item in items if item is not None]
        if not all(is_number(number) for number in numbers):
            raise EvaluationError("a number function needs numbers")
        answer = function(*numbers)
        return [answer] if isinstance(answer, int | Decimal) else []  # the library says empty by a list

    return call


def _library(function: Callable[..., object]) -> Callable[..., object]:
    def call(number: object, *arguments: object) -> object:
        return function(None, [number], *arguments)

    return call


def _whole(function: Callable[..., object]) -> Callable[..., object]:
    """`ceiling`, `floor` and `truncate` give Integers, which the library forgets."""

    def call(number: object) -> object:
        answer = function(None, [number])
        return int(answer) if isinstance(answer, Decimal) else answer

    return call


def _abs(number: Decimal) -> Decimal:
    return abs(number)


def _round(number: int | Decimal, places: int | Decimal = 0) -> int | Decimal:
    if not 0 <= places <= 28 or places != int(places):  # noqa: PLR2004 (Decimal's own precision)
        raise EvaluationError("round() needs a small whole number")
    return Decimal(number).quantize(Decimal(1).scaleb(-int(places)), rounding="ROUND_HALF_UP")


def _summed(focus: Collection) -> Collection:
    numbers = [plain(item) for item in focus]
    if not all(is_number(number) for number in numbers):
        raise EvaluationError("sum() needs numbers")
    return [sum(numbers)] if numbers else [0]  # type: ignore[arg-type]  # numbers, as was just asked


def _to_string(item: Item) -> Item | None:
    value = scalar(item)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Quantity):
        quoted = value.unit if value.unit.isalpha() and len(value.unit) > 3 else f"'{value.unit}'"  # noqa: PLR2004
        return f"{value.value} {quoted}"
    if isinstance(value, Temporal):
        return value.text
    return str(value) if isinstance(value, str) or is_number(value) else None


def _to_temporal(*kinds: str, cut: bool = False) -> Callable[[Item], Item | None]:
    def convert(item: Item) -> Item | None:
        value = scalar(item)
        value = Temporal.parse(value) if isinstance(value, str) else value
        if not isinstance(value, Temporal) or value.kind not in kinds:
            return None
        if cut and value.kind == "DateTime":
            return Temporal.parse(value.text[:10])
        return value

    return convert


def _to_quantity(item: Item) -> Item | None:
    value = scalar(item)
    if isinstance(value, Quantity):
        return value
    if isinstance(value, bool):
        return Quantity(Decimal(int(value)), "1")
    if isinstance(value, int | Decimal):
        return Quantity(Decimal(value), "1")
    match = misc.quantity_regex.match(value) if isinstance(value, str) else None
    if match is None:
        return None
    unit = match.group(5) or match.group(6)
    if unit and not unit.startswith("'") and unit not in comparing.CALENDAR_WORDS:
        return None
    return Quantity(Decimal(match.group(1)), (unit or "1").strip("'"))


def _to_boolean(item: Item) -> Item | None:
    value = plain(item)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | Decimal):
        return {0: False, 1: True}.get(int(value)) if value == int(value) else None
    return _BOOLEANS.get(value.lower()) if isinstance(value, str) else None


def _by_library(function: Callable[..., object]) -> Callable[[Item], Item | None]:
    def convert(item: Item) -> Item | None:
        answer = function(None, [plain(item)])
        return answer if isinstance(answer, bool | int | Decimal) else None

    return convert


def conversion(convert: Callable[[Item], Item | None]) -> Function:
    """`toX()`: the converted single item, or empty."""

    def call(_run: Evaluation, focus: Collection, _arguments: tuple[Expr, ...], _scope: Scope) -> Collection:
        item = comparing.only(focus, "a conversion")
        converted = None if item is None else convert(item)
        return [] if converted is None else [converted]

    return call


def convertible(convert: Callable[[Item], Item | None]) -> Function:
    """`convertsToX()`."""

    def call(_run: Evaluation, focus: Collection, _arguments: tuple[Expr, ...], _scope: Scope) -> Collection:
        item = comparing.only(focus, "a conversion")
        return [] if item is None else [convert(item) is not None]

    return call


def clock(kind: str) -> Function:
    """`now()`, `today()`, `timeOfDay()` of the frozen instant of the decision; without one they are errors."""

    def call(run: Evaluation, _focus: Collection, _arguments: tuple[Expr, ...], _scope: Scope) -> Collection:
        if run.now is None:
            raise EvaluationError("the time of the request is not known")
        date, _, rest = run.now.text.partition("T")
        time = rest.rstrip("Z").partition("+")[0].partition("-")[0]
        value = {"now": run.now, "today": Temporal.parse(date), "timeOfDay": Temporal.parse("T" + time)}[kind]
        return [] if value is None else [value]

    return call


_BOOLEANS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
}
_CONVERSIONS: Final[dict[str, Callable[[Item], Item | None]]] = {
    "Boolean": _to_boolean,
    "Integer": _by_library(misc.to_integer),
    "Decimal": _by_library(misc.to_decimal),
    "String": _to_string,
    "Date": _to_temporal("Date", "DateTime", cut=True),
    "DateTime": _to_temporal("Date", "DateTime"),
    "Time": _to_temporal("Time"),
    "Quantity": _to_quantity,
}

NUMBER_FUNCTIONS: Final[dict[str, tuple[int, int, Function]]] = {
    **{f"to{name}": (0, 0, conversion(convert)) for name, convert in _CONVERSIONS.items()},
    **{f"convertsTo{name}": (0, 0, convertible(convert)) for name, convert in _CONVERSIONS.items()},
    **{name: (0, 0, clock(name)) for name in ("now", "today", "timeOfDay")},
    "abs": (0, 0, number_function(_abs)),
    "ceiling": (0, 0, number_function(_whole(math.ceiling))),
    "floor": (0, 0, number_function(_whole(math.floor))),
    "truncate": (0, 0, number_function(_whole(math.truncate))),
    "round": (0, 1, number_function(_round)),
    "exp": (0, 0, number_function(_library(math.exp))),
    "ln": (0, 0, number_function(_library(math.ln))),
    "log": (1, 1, number_function(_library(math.log))),
    "power": (1, 1, number_function(_library(math.power))),
    "sqrt": (0, 0, number_function(_library(math.sqrt))),
    "sum": (0, 0, lambda _run, focus, _arguments, _scope: _summed(focus)),
}
