"""Quantities: a number with a UCUM code or a calendar unit."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a UCUM code (`mg`) or a calendar unit (`days`)."""

    value: Decimal
    unit: str
