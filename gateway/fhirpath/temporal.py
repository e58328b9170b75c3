"""Dates, date-times and times with their precision, compared and moved as FHIRPath says.

https://hl7.org/fhirpath/N1/#datetime-equality: component by component, after both were brought to UTC; when one of
them has no more components, or only one of them has an offset, the answer is empty (None here).
"""

import calendar
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

_TIME: Final = r"(\d{2})(?::(\d{2})(?::(\d{2}(?:\.\d{1,9})?))?)?"
_ZONE: Final = r"(Z|[+-]\d{2}:\d{2})?"
_DATE_TIME_TEXT: Final = re.compile(rf"(\d{{4}})(?:-(\d{{2}})(?:-(\d{{2}}))?)?(T(?:{_TIME}{_ZONE})?)?", re.ASCII)
_ZONE_TEXT: Final = re.compile(r"[+-]\d{2}:\d{2}", re.ASCII)
_DAY_SIZE: Final = 10
_USUAL: Final = frozenset({_DAY_SIZE, 20, 25})  # characters
_TIME_TEXT: Final = re.compile(rf"T?{_TIME}", re.ASCII)
_DAYS: Final = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_LEAP_DAY: Final = (2, 29)
_LAST_HOUR, _LAST_MINUTE, _LAST_SECOND = 23, 59, 60
_DATE_PARTS: Final = 3
_WITH_SECONDS: Final = 6
_LARGEST: Final = 10**18  # of any unit: far more than the calendar has

# Calendar words, and the UCUM codes whose meaning equals the calendar's.
_UNITS: Final = {
    **{word: word.rstrip("s") for word in ("years", "months", "weeks", "days", "hours", "minutes", "seconds")},
    **{word: word for word in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")},
    "milliseconds": "millisecond",
    "wk": "week",
    "d": "day",
    "h": "hour",
    "min": "minute",
    "s": "second",
    "ms": "millisecond",
}
_MONTHS: Final = {"years": 12, "year": 12, "months": 1, "month": 1}
MICROSECONDS: Final = {
    "week": 604_800_000_000,
    "day": 86_400_000_000,
    "hour": 3_600_000_000,
    "minute": 60_000_000,
    "second": 1_000_000,
    "millisecond": 1_000,
}
_COARSE_STEP: Final = {1: 365 * MICROSECONDS["day"], 2: 30 * MICROSECONDS["day"]}


@dataclass(slots=True, unsafe_hash=True, init=False)
class Temporal:
    """`kind`: Date, DateTime or Time. `parts`: as many of year … second as were written. `offset`: minutes.

    Never changed; made by `temporal`. Not `frozen`, because many are made and a frozen one costs three times as much.
    """

    kind: str
    parts: tuple[int | Decimal, ...]
    offset: int | None
    written: str | None = field(compare=False)

    @property
    def text(self) -> str:
        """As it was written; of a value that was calculated, as FHIR writes it."""
        return _text(self.kind, self.parts, self.offset) if self.written is None else self.written

    @classmethod
    def parse(cls, text: str) -> "Temporal | None":
        """Read a FHIR date, dateTime, instant or time, or the text of a literal after its `@`; None if it is none."""
        return _usual(text) or _any(text)

    @classmethod
    def of(cls, kind: str, parts: tuple[int | Decimal, ...], offset: int | None) -> "Temporal":
        """From its parts."""
        return temporal(kind, parts, offset)

    def as_date_time(self) -> "Temporal":
        """A date as a date-time of the same precision."""
        return self if self.kind == "DateTime" else temporal("DateTime", self.parts, self.offset, self.written)

    def compare(self, other: "Temporal") -> int | None:
        """-1, 0 or 1; None when the precision or a missing offset leaves it open."""
        if (self.kind == "Time") != (other.kind == "Time"):
            return None
        mine, theirs = self.parts, other.parts
        if self.offset != other.offset:
            if self.offset is not None and other.offset is not None and len(mine) == len(theirs) == _WITH_SECONDS:
                mine, theirs = _minutes_and_seconds(self), _minutes_and_seconds(other)
                return (mine > theirs) - (mine < theirs)
            first, second = _comparable(self, other), _comparable(other, self)
            if first is None or second is None:
                return None
            mine, theirs = first, second
        if len(mine) == len(theirs):
            return (mine > theirs) - (mine < theirs)
        for left, right in zip(mine, theirs, strict=False):
            if left != right:
                return -1 if left < right else 1
        return None

    def in_utc(self) -> tuple[int | Decimal, ...]:
        if not self.offset:
            return self.parts
        whole = [int(part) for part in self.parts[:5]]
        try:
            moved = _instant(whole) - timedelta(minutes=self.offset)
        except OverflowError:
            return self.parts
        shifted: tuple[int | Decimal, ...] = (moved.year, moved.month, moved.day, moved.hour, moved.minute)
        return (*shifted[: len(whole)], *self.parts[5:])

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal values, for sets."""
        return (self.kind == "Time", self.offset is None, self.in_utc() if self.kind != "Time" else self.parts)

    def plus(self, value: Decimal, unit: str) -> "Temporal | None":
        """This moved by a time-valued quantity; None if the unit is no duration that a calendar knows.

        https://hl7.org/fhirpath/N1/#datetime-arithmetic: the whole part counts above seconds; a value of less
        precision moves by whole years or months.
        """
        months = whole_months(value, unit)
        if months is not None:
            return self.plus_months(months)
        word = _UNITS.get(unit)
        if word is None or not -_LARGEST <= value <= _LARGEST:
            return None
        exact = value if word in ("second", "millisecond") else Decimal(int(value))
        return self._plus_microseconds(int(exact * MICROSECONDS[word]))

    def plus_months(self, months: int) -> "Temporal | None":
        """This moved by calendar months; None for a time, and past the years that FHIR can write."""
        if self.kind == "Time":
            return None
        size = len(self.parts)
        if size == 1:
            months = int(months / 12) * 12
        index = int(self.parts[0]) * 12 + (int(self.parts[1]) - 1 if size > 1 else 0) + months
        year, month = index // 12, index % 12 + 1
        if not 1 <= year <= 9999:  # noqa: PLR2004 (the years FHIR can write)
            return None
        if size < _DATE_PARTS:
            return self._with((year, month)[:size])
        last = 28 if month == 2 and not calendar.isleap(year) else _DAYS[month]  # noqa: PLR2004 (February)
        return self._with((year, month, min(int(self.parts[2]), last), *self.parts[3:]))

    def _plus_microseconds(self, amount: int) -> "Temporal | None":
        if self.kind == "Time":
            return self._plus_in_day(amount)
        if len(self.parts) < _DATE_PARTS:
            step = _COARSE_STEP[len(self.parts)]
            return self.plus_months(int(amount / step) * (12 if len(self.parts) == 1 else 1))
        if len(self.parts) == _DATE_PARTS:
            amount = int(amount / MICROSECONDS["day"]) * MICROSECONDS["day"]
        second = Decimal(self.parts[5]) if len(self.parts) > 5 else Decimal(0)  # noqa: PLR2004
        whole = [int(part) for part in self.parts[:5]]
        try:
            start = _instant(whole)
            moved = start + timedelta(microseconds=amount + int(second * 1_000_000))
        except OverflowError:
            return None
        exact = _second(moved.second * 1_000_000 + moved.microsecond, second)
        parts = (moved.year, moved.month, moved.day, moved.hour, moved.minute, exact)[: len(self.parts)]
        return self._with(parts)

    def _plus_in_day(self, amount: int) -> "Temporal":
        hour, minute, second = (*self.parts, 0, 0)[:3]
        start = int(hour) * 3_600_000_000 + int(minute) * 60_000_000 + int(Decimal(second) * 1_000_000)
        total = (start + amount) % MICROSECONDS["day"]
        exact = _second(total % 60_000_000, Decimal(second))
        return self._with((total // 3_600_000_000, total // 60_000_000 % 60, exact)[: len(self.parts)])

    def _with(self, parts: tuple[int | Decimal, ...]) -> "Temporal":
        return temporal(self.kind, parts, self.offset)


def temporal(kind: str, parts: tuple[int | Decimal, ...], offset: int | None, written: str | None = None) -> Temporal:
    """A date or time of these parts. It stands for an `__init__`, and takes half of the time."""
    made = Temporal()
    made.kind = kind
    made.parts = parts
    made.offset = offset
    made.written = written
    return made


def whole_months(value: Decimal, unit: str) -> int | None:
    """The months that a number of years or months is, its whole part; None for another unit, and for too many."""
    each = _MONTHS.get(unit)
    return None if each is None or not -_LARGEST <= value <= _LARGEST else int(value) * each


def _usual(text: str) -> Temporal | None:
    """`2026-01-15` and `2026-01-15T08:30:00Z`, read by Python's own reader; None: another form, or none at all.

    It reads other forms of ISO 8601 too, so that the punctuation is looked at first. `+01:00` may stand for the `Z`.
    """
    size = len(text)
    if size not in _USUAL or text[4] != "-" or text[7] != "-":
        return None
    try:
        if size == _DAY_SIZE:
            day = date.fromisoformat(text)
            return temporal("Date", (day.year, day.month, day.day), None, text)
        if text[10] != "T" or text[13] != ":" or text[16] != ":":
            return None
        zone = 0 if text[19:] == "Z" else _minutes(text[19:]) if _ZONE_TEXT.fullmatch(text, 19) else None
        moment = datetime.fromisoformat(text[:19])
    except ValueError:
        return None
    if zone is None:
        return None
    parts = (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    return temporal("DateTime", parts, zone, text)


def _any(text: str) -> Temporal | None:
    """Every form, to the part."""
    match = _DATE_TIME_TEXT.fullmatch(text)
    if match is None:
        match = _TIME_TEXT.fullmatch(text)
        clock = None if match is None else _clock(*match.groups())
        return None if clock is None else temporal("Time", clock, None, text.removeprefix("T"))
    year, month, day, t, hour, minute, second, zone = match.groups()
    parts = _day(year, month, day)
    if parts is None:
        return None
    if t is None:
        return temporal("Date", parts, None, text)
    if hour is not None:
        clock = _clock(hour, minute, second)
        if clock is None or day is None:
            return None
        parts += clock
    return temporal("DateTime", parts, None if zone is None else _minutes(zone), text)


def _comparable(one: Temporal, other: Temporal) -> tuple[int | Decimal, ...] | None:
    has_time, other_has_time = len(one.parts) > _DATE_PARTS, len(other.parts) > _DATE_PARTS
    if not (has_time and other_has_time):
        return one.parts
    if (one.offset is None) != (other.offset is None):
        return None
    return one.in_utc()


def _minutes_and_seconds(one: Temporal) -> tuple[int | Decimal, ...]:
    """Since the first day of the calendar, in UTC."""
    year, month, day, hour, minute, second = one.parts
    days = date(int(year), int(month), int(day)).toordinal()
    return int(days * 1440 + hour * 60 + minute - (one.offset or 0)), second


def _instant(parts: list[int]) -> datetime:
    year, month, day, hour, minute = parts + [0] * (5 - len(parts))
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def _second(microseconds: int, like: Decimal) -> Decimal:
    """Seconds with at least the places that the moved value was written with."""
    exact = Decimal(microseconds) / 1_000_000
    exponent = like.as_tuple().exponent
    return exact.quantize(like) if isinstance(exponent, int) and exact == exact.quantize(like) else exact


def _day(year: str, month: str | None, day: str | None) -> tuple[int | Decimal, ...] | None:
    years = int(year)
    if years == 0:
        return None
    if month is None:
        return (years,)
    months = int(month)
    if not 1 <= months <= 12:  # noqa: PLR2004 (months)
        return None
    if day is None:
        return years, months
    days = int(day)
    if not 1 <= days <= _DAYS[months] or ((months, days) == _LEAP_DAY and not calendar.isleap(years)):
        return None
    return years, months, days


def _clock(hour: str, minute: str | None, second: str | None) -> tuple[int | Decimal, ...] | None:
    hours = int(hour)
    if hours > _LAST_HOUR:
        return None
    if minute is None:
        return (hours,)
    minutes = int(minute)
    if minutes > _LAST_MINUTE:
        return None
    if second is None:
        return hours, minutes
    seconds = Decimal(second) if "." in second else int(second)
    return (hours, minutes, seconds) if seconds < _LAST_SECOND + 1 else None


def _minutes(zone: str) -> int:
    if zone == "Z":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return -minutes if zone[0] == "-" else minutes


def _text(kind: str, parts: tuple[int | Decimal, ...], offset: int | None) -> str:
    texts = [_number(part, 4 if index == 0 and kind != "Time" else 2) for index, part in enumerate(parts)]
    if kind == "Time":
        return ":".join(texts)
    day = "-".join(texts[:_DATE_PARTS])
    if len(parts) <= _DATE_PARTS:
        return day
    zone = ""
    if offset is not None:
        sign = "-" if offset < 0 else "+"
        zone = "Z" if offset == 0 else f"{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    return f"{day}T{':'.join(texts[_DATE_PARTS:])}{zone}"


def _number(part: int | Decimal, width: int) -> str:
    whole, point, fraction = (str(part) if isinstance(part, int) else f"{part:f}").partition(".")
    return f"{int(whole):0{width}d}{point}{fraction}"
