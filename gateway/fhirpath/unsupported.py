"""Functions of the language that this engine does not evaluate as the specification says; a policy may not use them.

Each was found by the official suite (tests/cases/fhirpath-known-failures.yaml) or needs what a decision does not have.
"""

from typing import Final

UNSUPPORTED: Final[dict[str, str]] = {
    "lowBoundary": "precision boundaries are not implemented",
    "highBoundary": "precision boundaries are not implemented",
    "precision": "precision of decimals is lost in JSON",
    "comparable": "needs UCUM",
    "memberOf": "needs a terminology server",
    "subsumes": "needs a terminology server",
    "subsumedBy": "needs a terminology server",
    "validateVS": "needs a terminology server",
    "validateCS": "needs a terminology server",
    "expand": "needs a terminology server",
    "lookup": "needs a terminology server",
    "translate": "needs a terminology server",
    "conformsTo": "needs profiles",
    "elementDefinition": "needs profiles",
    "slice": "needs profiles",
    "checkModifiers": "needs profiles",
    "htmlChecks": "not implemented",
    "defineVariable": "not implemented",
    "sort": "not implemented",
    "escape": "not implemented",
    "unescape": "not implemented",
    "avg": "not implemented",
    "min": "not implemented",
    "max": "not implemented",
    "toLong": "the type Long is not implemented",
    "convertsToLong": "the type Long is not implemented",
    "yearOf": "not implemented",
    "monthOf": "not implemented",
    "dayOf": "not implemented",
    "hourOf": "not implemented",
    "minuteOf": "not implemented",
    "secondOf": "not implemented",
    "millisecondOf": "not implemented",
    "timezoneOffsetOf": "not implemented",
    "dateOf": "not implemented",
    "timeOf": "not implemented",
    "duration": "not implemented",
    "difference": "not implemented",
}
