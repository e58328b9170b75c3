"""The frozen clock, and the parts of dates and times."""

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Final

from gateway.fhirpath.env import Env
from gateway.fhirpath.equality import as_temporal
from gateway.fhirpath.items import MOMENT_WORK, NONE, Collection, EvaluationError, Item
from gateway.fhirpath.signature import Implementation, Signature, of_one
from gateway.fhirpath.temporal import Temporal

_DATE_PARTS: Final = 3
_NAMES: Final = ("year", "month", "day", "hour", "minute", "second")


def _clock(read: Callable[[Temporal], Temporal | None]) -> Implementation:
    """`now()`, `today()`, `timeOfDay()` of the instant that was given; without one they are errors."""

    @lru_cache(maxsize=16)
    def at(instant: str | None) -> Collection:
        """One instant is asked for by many expressions."""
        now = None if instant is None else Temporal.parse(instant)
        if now is None:
            raise EvaluationError("the time of the request is not known")
        return _found(read(now))

    def call(env: Env, _focus: Collection) -> Collection:
        env.spend(MOMENT_WORK)
        return at(env.now)

    return call


def _today(now: Temporal) -> Temporal | None:
    return Temporal.parse(now.text.partition("T")[0])


def _time_of_day(now: Temporal) -> Temporal | None:
    return Temporal.parse("T" + now.text.partition("T")[2].rstrip("Z").partition("+")[0].partition("-")[0])


def _moment(value: object) -> Temporal:
    moment = as_temporal(value)
    if not isinstance(moment, Temporal):
        raise EvaluationError("a date or time is expected here")
    return moment


def _part(name: str) -> Implementation:
    def read(value: object) -> Collection:
        moment = _moment(value)
        at = _NAMES.index(name) - (_DATE_PARTS if moment.kind == "Time" else 0)
        return [int(moment.parts[at])] if 0 <= at < len(moment.parts) else NONE

    return of_one("a date function", read)


def _millisecond(value: object) -> Collection:
    moment = _moment(value)
    at = len(_NAMES) - 1 - (_DATE_PARTS if moment.kind == "Time" else 0)
    return [int(moment.parts[at] * 1000 % 1000)] if at < len(moment.parts) else NONE


def _offset(value: object) -> Collection:
    moment = _moment(value)
    return NONE if moment.offset is None else [Decimal(moment.offset) / 60]


def _date_of(value: object) -> Collection:
    moment = _moment(value)
    return NONE if moment.kind == "Time" else _found(Temporal.parse(moment.text.partition("T")[0]))


def _time_of(value: object) -> Collection:
    moment = _moment(value)
    return _found(_time_of_day(moment)) if "T" in moment.text else NONE


def _found(value: Item | None) -> Collection:
    return NONE if value is None else [value]


MOMENTS: Final[dict[str, Signature]] = {
    "now": Signature(0, 0, _clock(lambda now: now)),
    "today": Signature(0, 0, _clock(_today)),
    "timeOfDay": Signature(0, 0, _clock(_time_of_day)),
    **{f"{name}Of": Signature(0, 0, _part(name)) for name in _NAMES},
    "millisecondOf": Signature(0, 0, of_one("a date function", _millisecond)),
    "timezoneOffsetOf": Signature(0, 0, of_one("a date function", _offset)),
    "dateOf": Signature(0, 0, of_one("a date function", _date_of, MOMENT_WORK)),
    "timeOf": Signature(0, 0, of_one("a date function", _time_of, MOMENT_WORK)),
}
