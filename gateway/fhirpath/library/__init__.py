"""Every function of the language, by name."""

from typing import Final

from gateway.fhirpath.library.boundaries import BOUNDARIES
from gateway.fhirpath.library.collections import COLLECTIONS
from gateway.fhirpath.library.conversions import CONVERSIONS
from gateway.fhirpath.library.fhir import FHIR
from gateway.fhirpath.library.filtering import FILTERING
from gateway.fhirpath.library.intervals import INTERVALS
from gateway.fhirpath.library.moments import MOMENTS
from gateway.fhirpath.library.numbers import NUMBERS
from gateway.fhirpath.library.texts import TEXTS
from gateway.fhirpath.signature import Signature

LIBRARY: Final[dict[str, Signature]] = {
    **FILTERING,
    **COLLECTIONS,
    **TEXTS,
    **NUMBERS,
    **CONVERSIONS,
    **MOMENTS,
    **INTERVALS,
    **BOUNDARIES,
    **FHIR,
}

# Arguments that are evaluated for each item of the input, and those that name a type.
CRITERIA: Final = frozenset({"where", "all", "exists"})
PER_ITEM: Final = CRITERIA | {"select", "repeat", "repeatAll", "aggregate", "sort"}
ON_INPUT: Final = frozenset({"iif", "defineVariable"})  # evaluated once, with the input as `$this`
TYPE_ARGUMENT: Final = frozenset({"ofType", "is", "as"})
