"""The Patient compartment as element paths (http://hl7.org/fhir/R4/compartmentdefinition-patient.html)."""

from gateway.definitions.paths import plain_paths
from gateway.definitions.sources import CompartmentDefinition, SearchParameter

# The element that says whom the resource is about, best name first.
_SUBJECT_LIKE = ("subject", "patient", "for", "beneficiary", "individual", "candidate", "deliverTo")
# Stricter than R4, on purpose: its compartment leaves Task out, though a Task names its Patient as plainly as any
# other type, and later releases of FHIR have it. Left out, a Task about anybody would be judged as about nobody.
_ALSO = {"Task": ("patient", "focus")}


def patient_compartment(
    definitions: list[CompartmentDefinition], parameters: list[SearchParameter]
) -> dict[str, dict[str, object]]:
    """`types`: per type of the compartment its `paths`, and which of them is the `subject`-like one."""
    [definition] = [each for each in definitions if each.code == "Patient"]
    by_type = {(base, parameter.code): parameter for parameter in parameters for base in parameter.base}
    types: dict[str, object] = {}
    for entry in sorted(definition.resource, key=lambda e: e.code):
        found: dict[str, dict[str, str]] = {}
        for code in (*entry.param, *_ALSO.get(entry.code, ())):
            expression = by_type[entry.code, code].expression
            paths = plain_paths(expression, entry.code)
            if paths is None:
                raise ValueError(f"{entry.code}: the expression of {code} is not a plain path: {expression}")
            for path in paths:
                # `X` beside `X.where(resolve() is Patient)` is one element; a compartment asks for Patients anyway.
                found[path["path"]] = {"path": path["path"]}
        if found:
            types[entry.code] = {"paths": sorted(found), "subject": _subject(list(found))}
    return {"types": types}


def _subject(paths: list[str]) -> str:
    for name in _SUBJECT_LIKE:
        if name in paths:
            return name
    return paths[0]
