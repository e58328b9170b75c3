"""The prefixes of UCUM (https://ucum.org/ucum#section-Prefixes), each before a unit that takes them."""

from decimal import Decimal
from typing import Final

import pytest

from gateway.fhirpath.quantity import Quantity, order

PREFIXES: Final = (
    *(("Y", 24), ("Z", 21), ("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("h", 2), ("da", 1)),
    *(("d", -1), ("c", -2), ("m", -3), ("u", -6), ("n", -9), ("p", -12), ("f", -15), ("a", -18), ("z", -21)),
    ("y", -24),
)


@pytest.mark.parametrize(("prefix", "power"), PREFIXES)
def test_prefix(prefix: str, power: int) -> None:
    for unit in ("m", "mol", "L"):
        assert order(Quantity(Decimal(1), f"{prefix}{unit}"), Quantity(Decimal(1).scaleb(power), unit)) == 0
