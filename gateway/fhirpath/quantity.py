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
_NAMESAKES: Final = {code: word for word, code in _CODES.items()}
_DAY: Final = 86_400_000
# https://build.fhir.org/ig/HL7/FHIRPath/#fn-toquantity-conversion-factors, in milliseconds.
_CALENDAR: Final = dict(zip(_WORDS, (365 * _DAY, 30 * _DAY, 7 * _DAY, _DAY, 3_600_000, 60_000, 1_000, 1), strict=True))
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
    left, right = ucum.scale(one.code), ucum.scale(other.code)
    if left is None or right is None or left.dimension != right.dimension:
        return None
    larger = left if left.factor >= right.factor else right
    return _scaled(one, left, larger), _scaled(other, right, larger)


def _scaled(one: Quantity, its: ucum.Scale, wanted: ucum.Scale) -> Decimal:
    return one.value if its == wanted else _decimal(wanted.value(its.measure(one.value)))


def measure(one: Quantity) -> tuple[Fraction, ucum.Dimension]:
    """The amount in base units. Raises UnknownUnit."""
    scale = ucum.scale(one.code)
    if scale is None:
        raise UnknownUnit
    return scale.measure(one.value), scale.dimension


def key(one: Quantity) -> object:
    """Equal for equal quantities, for sets."""
    word = one.word
    if word in _MONTHS:
        return str(Fraction(one.value) * _MONTHS[word]), "calendar"
    scale = ucum.scale(one.code)
    # Written out, since Python's hash of a number is no secret: a payload could make them all collide.
    if scale is None:
        return str(Fraction(one.value)), one.unit
    return str(scale.measure(one.value)), scale.dimension


def comparable(one: Quantity, other: Quantity) -> bool:
    """Whether both have an order; an unknown unit has one with itself only, a calendar year none with days."""
    if (one.word in _MONTHS) != (other.word in _MONTHS):
        return False
    left, right = ucum.scale(one.code), ucum.scale(other.code)
    if left is None or right is None:
        return one.unit == other.unit
    return left.dimension == right.dimension


def converted(one: Quantity, unit: str) -> Quantity | None:
    """In another unit (https://build.fhir.org/ig/HL7/FHIRPath/#unit-conversions); None where there is no way.

    Between the calendar and UCUM the amount is reckoned in the system of the source, and then renamed.
    """
    wanted = Quantity(Decimal(1), unit)
    if one.unit == unit or one.code == wanted.code:
        return Quantity(one.value, unit)
    if one.word is not None:
        source, target = _CALENDAR.get(one.word), _CALENDAR.get(wanted.word or _NAMESAKES.get(unit, ""))
        if source is None or target is None:
            return None
        months = (_MONTHS.get(one.word), _MONTHS.get(wanted.word or _NAMESAKES[unit]))
        factor = Fraction(months[0], months[1]) if months[0] and months[1] else Fraction(source, target)
        return Quantity(_decimal(Fraction(one.value) * factor), unit)
    its, other = ucum.scale(one.code), ucum.scale(wanted.code)
    if its is None or other is None or its.dimension != other.dimension:
        return None
    return Quantity(_scaled(one, its, other), unit)


def plus(one: Quantity, other: Quantity) -> Quantity | None:
    """The sum, in the smaller unit (https://build.fhir.org/ig/HL7/FHIRPath/#-addition); None without a common measure.

    Calendar years and months are added to their own only, temperatures to nothing. Raises UnknownUnit.
    """
    if ucum.is_special(one.code) or ucum.is_special(other.code):
        return None
    if one.unit == other.unit or (one.word is not None and one.word == other.word):
        return Quantity(one.value + other.value, one.unit)
    if one.word in _MONTHS or other.word in _MONTHS:
        return None
    first, second = measure(one), measure(other)
    if first[1] != second[1]:
        return None
    left, right = measure(Quantity(Decimal(1), one.unit))[0], measure(Quantity(Decimal(1), other.unit))[0]
    smaller, factor = (one, left) if left <= right else (other, right)
    unit = smaller.unit
    if (one.word is None) != (other.word is None) and smaller.word is None:
        unit = f"{_NAMESAKES[unit]}s" if unit in _NAMESAKES else unit  # of both systems: in calendar units
    return Quantity(_decimal((first[0] + second[0]) / factor), unit)


def times(one: Quantity, other: Quantity, *, divide: bool = False) -> Quantity | None:
    """The product or quotient, in a unit that is written out; None on division by zero."""
    if divide and other.value == 0:
        return None
    plain = "1" in (one.code, other.code)
    if not plain and any(each.word is not None or ucum.is_special(each.code) for each in (one, other)):
        return None  # https://build.fhir.org/ig/HL7/FHIRPath/#-multiplication
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
