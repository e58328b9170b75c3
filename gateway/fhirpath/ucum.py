"""The part of UCUM (https://ucum.org/ucum) that FHIR resources use: a code as a factor on base units.

Covered: metric prefixes, the SI units, the units of time, volume, mass, energy, pressure and activity that
laboratories write, `%`, powers of ten, products, quotients, exponents and annotations. What is not covered has no
reading here, and is compared with itself only. Celsius and Fahrenheit have an offset beside their factor, and stand
alone only; pH has a logarithm, and no reading.
"""

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

# Base unit and exponent, sorted.
Dimension: TypeAlias = tuple[tuple[str, int], ...]
Unit: TypeAlias = tuple[Fraction, Dimension]

_MAX_CODE: Final = 100
_MAX_EXPONENT: Final = 30
_MAX_PARTS: Final = 6
_MAX_BITS: Final = 512  # of a factor: arithmetic on amounts stays cheap
_PREFIXES: Final = {
    "Y": 24,
    "Z": 21,
    "E": 18,
    "P": 15,
    "T": 12,
    "G": 9,
    "M": 6,
    "k": 3,
    "h": 2,
    "da": 1,
    "d": -1,
    "c": -2,
    "m": -3,
    "u": -6,
    "n": -9,
    "p": -12,
    "f": -15,
    "a": -18,
    "z": -21,
    "y": -24,
}
# code: (factor, base units). These take prefixes.
_METRIC: Final[dict[str, tuple[str, str]]] = {
    "m": ("1", "m"),
    "g": ("1", "g"),
    "s": ("1", "s"),
    "K": ("1", "K"),
    "A": ("1", "A"),
    "cd": ("1", "cd"),
    "mol": ("1", "mol"),
    "L": ("1/1000", "m3"),
    "l": ("1/1000", "m3"),
    "Hz": ("1", "s-1"),
    "Bq": ("1", "s-1"),
    "N": ("1000", "g.m.s-2"),
    "Pa": ("1000", "g.m-1.s-2"),
    "bar": ("100000000", "g.m-1.s-2"),
    "J": ("1000", "g.m2.s-2"),
    "cal": ("4184", "g.m2.s-2"),
    "W": ("1000", "g.m2.s-3"),
    "V": ("1000", "g.m2.s-3.A-1"),
    "Ohm": ("1000", "g.m2.s-3.A-2"),
    "C": ("1", "s.A"),
    "Gy": ("1", "m2.s-2"),
    "Sv": ("1", "m2.s-2"),
    "kat": ("1", "mol.s-1"),
    "U": ("1/60000000", "mol.s-1"),
    "eq": ("1", "mol"),
    "osm": ("1", "mol"),
    "t": ("1000000", "g"),
    "m[Hg]": ("133322387", "g.m-1.s-2"),
    "m[H2O]": ("9806650", "g.m-1.s-2"),
    "[iU]": ("1", "[iU]"),
    "[IU]": ("1", "[iU]"),
}
_OTHER: Final[dict[str, tuple[str, str]]] = {
    "1": ("1", ""),
    "%": ("1/100", ""),
    "[ppth]": ("1/1000", ""),
    "[ppm]": ("1/1000000", ""),
    "[ppb]": ("1/1000000000", ""),
    "10*": ("10", ""),
    "10^": ("10", ""),
    "min": ("60", "s"),
    "h": ("3600", "s"),
    "d": ("86400", "s"),
    "wk": ("604800", "s"),
    "mo": ("2629800", "s"),
    "a": ("31557600", "s"),
    "mo_j": ("2629800", "s"),
    "a_j": ("31557600", "s"),
    "[in_i]": ("254/10000", "m"),
    "[ft_i]": ("3048/10000", "m"),
    "[yd_i]": ("9144/10000", "m"),
    "[mi_i]": ("1609344/1000", "m"),
    "[lb_av]": ("45359237/100000", "g"),
    "[oz_av]": ("45359237/1600000", "g"),
    "[gr]": ("6479891/100000000", "g"),
    "[foz_us]": ("295735295625/10000000000000000", "m3"),
    "[gal_us]": ("3785411784/1000000000000", "m3"),
    "[drp]": ("1/20000000", "m3"),
    "deg": ("1", "deg"),
    "[arb'U]": ("1", "[arb'U]"),
    "[CFU]": ("1", "[CFU]"),
}
# UCUM's special units: kelvins are (value + offset) * factor.
_SPECIAL: Final = {"Cel": (Fraction(1), Fraction("273.15")), "[degF]": (Fraction(5, 9), Fraction("459.67"))}
_ANNOTATION: Final = re.compile(r"\{[!-z|~]*\}", re.ASCII)
_COMPONENT: Final = re.compile(r"(?P<atom>10[*^]|[^\d.+/()-][^.+/()-]*?|\d+)(?P<exponent>[+-]?\d+)?", re.ASCII)
_BASE: Final = re.compile(r"(\[[^\]]*\]|[A-Za-z]+)(-?\d+)?")


@lru_cache(maxsize=512)
def unit(code: str) -> Unit | None:
    """The factor and dimension of a code; None for one that is not covered here."""
    if not code or len(code) > _MAX_CODE:
        return None
    bare = _ANNOTATION.sub("", code)
    if "{" in bare or "(" in bare:  # brackets occur in no unit of the code systems that FHIR binds
        return None
    parts = re.split(r"([./])", bare)
    return None if len(parts) > 2 * _MAX_PARTS else _product(parts, is_annotated=bare != code)


def _product(parts: list[str], *, is_annotated: bool) -> Unit | None:
    """Units, with `.` or `/` between them."""
    factor, powers, sign = Fraction(1), dict[str, int](), 1
    for at, part in enumerate(parts):
        if part in (".", "/"):
            sign = -1 if part == "/" else 1
            continue
        if not part:
            if at == 0 or is_annotated:
                continue  # `/min`, `{cells}/uL`
            return None
        found = _component(part)
        if found is None:
            return None
        factor *= found[0] ** sign
        for base, power in found[1]:
            powers[base] = powers.get(base, 0) + sign * power
    if max(factor.numerator, factor.denominator).bit_length() > _MAX_BITS:
        return None
    return factor, tuple(sorted((base, power) for base, power in powers.items() if power))


class Scale(NamedTuple):
    """How a value of a unit is read: (value + offset) * factor, in the base units of the dimension."""

    factor: Fraction
    offset: Fraction
    dimension: Dimension

    def measure(self, value: Decimal) -> Fraction:
        return (Fraction(value) + self.offset) * self.factor

    def value(self, measure: Fraction) -> Fraction:
        return measure / self.factor - self.offset


def scale(code: str) -> Scale | None:
    """The scale of a code; None for one that is not covered here."""
    if code in _SPECIAL:
        return Scale(*_SPECIAL[code], (("K", 1),))
    found = unit(code)
    return None if found is None else Scale(found[0], Fraction(0), found[1])


def is_special(code: str) -> bool:
    """Whether nothing can be calculated with the unit, because its zero is none."""
    return code in _SPECIAL


def _component(text: str) -> Unit | None:
    match = _COMPONENT.fullmatch(text)
    if match is None:
        return None
    atom, exponent = match["atom"], int(match["exponent"] or 1)
    if atom.isascii() and atom.isdigit():  # a factor: UCUM gives it no exponent
        return (Fraction(int(atom)), ()) if match["exponent"] is None else None
    found = _atom(atom)
    if found is None or abs(exponent) > _MAX_EXPONENT:
        return None
    return found[0] ** exponent, tuple((base, power * exponent) for base, power in found[1])


@lru_cache(maxsize=1024)
def _atom(code: str) -> Unit | None:
    definition = _OTHER.get(code) or _METRIC.get(code)
    if definition is not None:
        return _read(definition)
    for length in (2, 1):
        prefix, rest = code[:length], code[length:]
        metric = _METRIC.get(rest)
        if prefix in _PREFIXES and metric is not None:
            factor, dimension = _read(metric)
            return factor * Fraction(10) ** _PREFIXES[prefix], dimension
    return None


def _read(definition: tuple[str, str]) -> Unit:
    factor, bases = definition
    powers: dict[str, int] = {}
    for base, power in _BASE.findall(bases):
        powers[base] = powers.get(base, 0) + int(power or 1)
    return Fraction(factor), tuple(powers.items())
