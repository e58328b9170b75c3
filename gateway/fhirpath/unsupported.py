"""Functions of FHIR that this engine has not, and why; and those whose answer proves less than a policy would think."""

from typing import Final

UNSUPPORTED: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("subsumes", "subsumedBy", "validateVS", "validateCS", "expand", "lookup", "translate"),
        "needs a terminology server",
    ),
    **dict.fromkeys(("elementDefinition", "slice", "checkModifiers"), "needs profiles"),
    "hasTemplateIdOf": "is of CDA",
    **dict.fromkeys(("duration", "difference"), "is not in this engine"),
}

# Not for policies: the type of a resource is compared, its constraints are not.
UNPROVEN: Final[dict[str, str]] = {"conformsTo": "looks at the type of a resource only"}
