"""Quantities: a number with a UCUM code or a calendar unit, and how two of them compare.

https://hl7.org/fhirpath/N1/#quantity: `1 'cm' = 0.01 'm'`; what has no common measure has no answer; a calendar year
or month is as long as its UCUM namesake for `~` alone (https://hl7.org/fhirpath/N1/#time-valued-quantities).
"""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Final

from gateway.fhirpath import ucum

_WORDS: Final = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
CALENDAR_WORDS: Final = frozenset(f"{word}{end}" for word in _WORDS for end in ("", "s"))
_CODES: Final = dict(zip(_WORDS, ("a", "mo", "wk", "d", "h", "min", "s", "ms"), strict=True))
_MONTHS: Final = {"year": 12, "month": 1}


class UnknownUnit(Exception):
    """Two different units, one of which is outside of the part of UCUM that is known here."""


@dataclass(slots=True, unsafe_hash=True)
class Quantity:
    """A number with a UCUM code (`mg`) or a calendar unit (`days`). Never changed; see `Temporal`."""

    value: Decimal
    unit: str

    @property
    def word(self) -> str | None:
        """The calendar unit in the singular, if the unit is one."""
        return self.unit.removesuffix("s") if self.unit in CALENDAR_WORDS else None

    @property
    def code(self) -> str:
        """The UCUM code: a calendar word's namesake."""
        word = self.word
        return _CODES[word] if word else self.unit


def order(one: Quantity, other: Quantity) -> int | None:
    """-1, 0 or 1; None without a common measure. Raises UnknownUnit."""
    if one.unit == other.unit:
        return (one.value > other.value) - (one.value < other.value)
    left, right = one.word, other.word
    if left in _MONTHS and right in _MONTHS:
        return _sign(Fraction(one.value) * _MONTHS[left] - Fraction(other.value) * _MONTHS[right])
    if left in _MONTHS or right in _MONTHS:
        return None
    first, second = measure(one), measure(other)
    return None if first[1] != second[1] else _sign(first[0] - second[0])


def coarse(one: Quantity, other: Quantity) -> tuple[Decimal, Decimal] | None:
    """Both values in the larger of the two units, where a calendar year is a UCUM year; None without a common one."""
    left, right = ucum.unit(one.code), ucum.unit(other.code)
    if left is None or right is None or left[1] != right[1]:
        return None
    factor = max(left[0], right[0])
    return _scaled(one, left[0] / factor), _scaled(other, right[0] / factor)


def _scaled(one: Quantity, factor: Fraction) -> Decimal:
    return one.value if factor == 1 else _decimal(Fraction(one.value) * factor)


def measure(one: Quantity) -> tuple[Fraction, ucum.Dimension]:
    """The amount in base units. Raises UnknownUnit."""
    unit = ucum.unit(one.code)
    if unit is None:
        raise UnknownUnit
    return Fraction(one.value) * unit[0], unit[1]


def key(one: Quantity) -> object:
    """Equal for equal quantities, for sets."""
    word = one.word
    if word in _MONTHS:
        return str(Fraction(one.value) * _MONTHS[word]), "calendar"
    unit = ucum.unit(one.code)
    # Written out, since Python's hash of a number is no secret: a payload could make them all collide.
    amount = Fraction(one.value) * (1 if unit is None else unit[0])
    return str(amount), one.unit if unit is None else unit[1]


def comparable(one: Quantity, other: Quantity) -> bool:
    """Whether both measure the same thing; an unknown unit is comparable with itself only."""
    left, right = ucum.unit(one.code), ucum.unit(other.code)
    if left is None or right is None:
        return one.unit == other.unit
    return left[1] == right[1]


def plus(one: Quantity, other: Quantity) -> Quantity | None:
    """The sum, in the unit of the first; None without a common measure. Raises UnknownUnit."""
    if one.unit == other.unit:
        return Quantity(one.value + other.value, one.unit)
    first, second = measure(one), measure(other)
    if first[1] != second[1] or (one.word in _MONTHS) != (other.word in _MONTHS):
        return None
    factor = measure(Quantity(Decimal(1), one.unit))[0]
    return Quantity(_decimal((first[0] + second[0]) / factor), one.unit)


def times(one: Quantity, other: Quantity, *, divide: bool = False) -> Quantity | None:
    """The product or quotient, in a unit that is written out; None on division by zero."""
    if divide and other.value == 0:
        return None
    value = one.value / other.value if divide else one.value * other.value
    if other.code == "1":
        return Quantity(value, one.unit)
    if not divide and one.code == "1":
        return Quantity(value, other.unit)
    if divide and one.code == other.code:
        return Quantity(value, "1")
    return _combined(one, other, -1 if divide else 1)


def _combined(one: Quantity, other: Quantity, sign: int) -> Quantity:
    """In base units when both are known: `2 'cm' * 2 'm'` is `0.04 'm2'`."""
    first, second = measure(one), measure(other)
    powers = dict(first[1])
    for base, power in second[1]:
        powers[base] = powers.get(base, 0) + sign * power
    unit = ".".join(f"{base}{'' if power == 1 else power}" for base, power in sorted(powers.items()) if power)
    return Quantity(_decimal(first[0] * second[0] ** sign), unit or "1")


def _decimal(number: Fraction) -> Decimal:
    with localcontext() as context:
        context.prec = 28
        return Decimal(number.numerator) / Decimal(number.denominator)


def _sign(number: Fraction) -> int:
    return (number > 0) - (number < 0)
