"""Elements and type names: what the element model says of a step, and of one that it does not know."""

from difflib import get_close_matches
from typing import Final

from gateway.fhirpath.tree import Member
from gateway.fhirpath.types_facts import NOTHING, OPEN, Kind, Static, unknown
from gateway.fhirpath.types_report import Report

_CODED: Final = {"CodeableConcept": ("coding",), "CodeableReference": ("concept",), "Coding": ("code",)}
_FEW: Final = 3  # types that a message names one by one


def element(report: Report, node: Member, focus: Static) -> Static:
    """`focus.name`."""
    if not focus.kinds:
        return focus
    if node.name[:1].isupper():
        return _type_name(report, node, focus, focus.kinds)
    if any(kind.type in OPEN for kind in focus.kinds):
        return _of_any_resource(report, node, focus)
    model = report.model
    members = [(kind, model.member(kind.type, node.name)) for kind in focus.kinds]
    present = [(kind, member) for kind, member in members if member is not None]
    if not present:
        _unknown_element(report, node, focus.kinds)
        return NOTHING if report.quiet else unknown(f"there is no element `{node.name}`")
    always = len(present) == len(members) and all(member.required for _, member in present)
    return Static(
        kinds=frozenset(
            Kind(name, kind.type, node.name, _coded(report, kind, node.name))
            for kind, member in present
            for name in member.types
        ),
        least=min(focus.least, 1) if always else 0,
        many=focus.many or any(member.many for _, member in present),
        ordered=focus.ordered,
    )


def _coded(report: Report, kind: Kind, name: str) -> tuple[str, str] | None:
    """For `clinicalStatus.coding.code`: the element that has the binding."""
    if name not in _CODED.get(kind.type, ()):
        return None
    if kind.coded is not None:
        return kind.coded
    return (kind.owner, kind.name) if report.model.codes(kind.owner, kind.name) is not None else None


def _of_any_resource(report: Report, node: Member, focus: Static) -> Static:
    """An element of a resource of any type: those that every resource has are known."""
    found = [report.model.member(kind.type, node.name) for kind in focus.kinds or ()]
    if any(member is None for member in found):
        return unknown("the type of the resource is not known", many=True)
    present = [member for member in found if member is not None]
    return Static(
        kinds=frozenset(Kind(name, "Resource", node.name) for member in present for name in member.types),
        many=focus.many or any(member.many for member in present),
    )


def _type_name(report: Report, node: Member, focus: Static, kinds: frozenset[Kind]) -> Static:
    """`Patient.name`: the type as first step keeps the resource if it is one."""
    model = report.model
    kept = frozenset(kind for kind in kinds if model.is_a(kind.type, node.name))
    if kept:
        return Static(kinds=kept, least=focus.least if kept == kinds else 0, many=focus.many, ordered=focus.ordered)
    if any(kind.type in OPEN for kind in kinds):
        known = node.name in model.types
        return Static(kinds=frozenset({Kind(node.name)}), many=focus.many) if known else unknown("no FHIR type")
    if node.name not in report.types:
        actual = " or ".join(sorted({kind.type for kind in kinds}))
        report.absent(node, f"this can only be empty: it is asked of {actual}, not of {node.name}")
    return NOTHING


def _unknown_element(report: Report, node: Member, kinds: frozenset[Kind]) -> None:
    model = report.model
    types = sorted({kind.type for kind in kinds})
    for type_name in types:
        choice = model.choice_of(type_name, node.name)
        if choice is not None:
            message = f"{type_name} has no element `{node.name}` in FHIRPath"
            report.absent(node, message, f"write `{choice[0]}.ofType({choice[1]})`")
            return
    if node.name == "resourceType":
        hint = "write `$this is Patient` for a type test"
        report.absent(node, "`resourceType` is no element in FHIRPath", hint)
        return
    close = get_close_matches(node.name, sorted(set().union(*(model.names(name) for name in types))), 1, 0.7)
    owner = types[0] if len(types) == 1 else " or ".join(types) if len(types) <= _FEW else "no type of this choice"
    verb = "has an element" if len(types) > _FEW else "has no element"
    report.absent(node, f"{owner} {verb} `{node.name}`", f"did you mean `{close[0]}`?" if close else None)
