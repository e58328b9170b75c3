"""Functions of FHIRPath, FHIR and its guides that this engine has not, and why; those whose answer proves too little.

A text that calls one of them does not compile, so that a policy with it does not load. Everything else that
https://hl7.org/fhirpath/N1/, https://build.fhir.org/ig/HL7/FHIRPath/ and the fhirpath.html of R4, R4B and R5 name is
there, but for two forms: the selector of an instance (`Coding { code: 'a' }`), and a format for `toDate`.
"""

from typing import Final

_TERMINOLOGY: Final = (
    *("subsumes", "subsumedBy", "expand", "lookup", "translate"),
    *("validateVS", "validateCS"),
)
_PROFILES: Final = ("elementDefinition", "slice", "checkModifiers")
_SCORES: Final = ("weight", "ordinal")

UNSUPPORTED: Final[dict[str, str]] = {
    **dict.fromkeys(_TERMINOLOGY, "needs a terminology server"),
    **dict.fromkeys(_PROFILES, "needs profiles"),
    **dict.fromkeys(_SCORES, "needs the questionnaire or the code system that has the scores"),
    "hasTemplateIdOf": "is of CDA",
    "pathname": "is not in this engine: a value does not know where it stands",
}
HINTS: Final[dict[str, str]] = {
    **dict.fromkeys(_TERMINOLOGY, "list the codes: `code in ('a' | 'b')`; `memberOf()` knows the required value sets"),
    **dict.fromkeys(_PROFILES, "ask for the elements themselves, such as `.where(…).exists()`"),
    **dict.fromkeys(_SCORES, "compare `code`, or read the extension with the score"),
}

# Not for policies: the type of a resource is compared, its constraints are not.
UNPROVEN: Final[dict[str, str]] = {"conformsTo": "looks at the type of a resource only"}
