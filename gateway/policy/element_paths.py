"""Whether an element path (`deny.at`) leads to something, in every type that a rule is about."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from gateway.fhir.model import Field, Model, load

# http://hl7.org/fhir/R4/operationoutcome-definitions.html#OperationOutcome.issue.expression: names and indexes. The
# names are those of the JSON format or of FHIRPath: `valueQuantity` and `value` both.
_STEP = re.compile(r"([a-z][A-Za-z0-9]*)(\[[0-9]{1,6}\])?")


def fault(text: str, types: Iterable[str], release: str) -> tuple[str, str | None] | None:
    """What is wrong with a path, and a hint; None when it leads to an element of every type."""
    steps = [step for step in map(_STEP.fullmatch, text.split(".")) if step is not None]
    if len(steps) <= text.count("."):
        return f"{text} is no element path", "names with dots and indexes, without the type: code.coding[0].system"
    model = load(release)
    for type_ in types:
        at = {type_}
        for step in steps:
            if at == {"Resource"}:  # what is contained can be of any type
                break
            found = [field for path in at for field in _named(model, path, step[1])]
            if not found:
                return _unknown(model, sorted(at), step[1])
            if step[2] and not any(field.many for field in found):
                return f"{step[1]} is a single element of {' or '.join(sorted(at))}", f"leave {step[2]} out"
            at = {field.type for field in found}
    return None


def _named(model: Model, path: str, name: str) -> list[Field]:
    return [field for field in model.fields.get(path, {}).values() if name in (field.name, field.group)]


def _unknown(model: Model, paths: list[str], name: str) -> tuple[str, str | None]:
    known = {known for path in paths for field in model.fields.get(path, {}).values() for known in _names(field)}
    near = get_close_matches(name, sorted(known), n=1)
    return f"{' or '.join(paths)} has no element {name}", f"did you mean {near[0]}?" if near else None


def _names(field: Field) -> tuple[str, ...]:
    return (field.name,) if field.group is None else (field.name, field.group)
