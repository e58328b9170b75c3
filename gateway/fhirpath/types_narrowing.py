"""`is`, `as` and `ofType` on what is known of their input."""

from difflib import get_close_matches

from gateway.fhirpath.tree import Node
from gateway.fhirpath.types_facts import ANY, Kind, Static, one, shown, unknown
from gateway.fhirpath.types_report import Report


def narrowed(report: Report, node: Node, focus: Static, operator: str, wanted: str) -> Static:
    """What a type test gives; a test that cannot succeed is a problem."""
    model = report.model
    name = wanted.removeprefix("FHIR.")
    known = name in model.types
    if not model.knows(wanted):
        close = get_close_matches(name, sorted(model.types), 1)
        report.problem(node, f"`{wanted}` is no FHIR type", f"did you mean `{close[0]}`?" if close else None)
    if focus.kinds and known:
        _narrowing_problem(report, node, focus.kinds, operator, name)
    if operator != "ofType" and focus.many and focus.kinds:
        report.several(node, focus, f"`{operator}` is asked of one value, and this may be several")
    if operator == "is":
        return Static(kinds=one("System.Boolean").kinds, least=min(focus.least, 1))
    many = focus.many and operator == "ofType"
    if not known:
        kept = frozenset({Kind(wanted if wanted.startswith("System.") else f"System.{wanted}")})
        return Static(kinds=kept, many=many) if model.knows(wanted) else unknown("the type is not known", many=many)
    kept = frozenset(kind for kind in focus.kinds or () if kind.type == name) or frozenset({Kind(name)})
    least = min(focus.least, 1) if focus.kinds == kept else 0
    return Static(kinds=kept, least=least, many=many, ordered=focus.ordered)


def _narrowing_problem(report: Report, node: Node, kinds: frozenset[Kind], operator: str, name: str) -> None:
    model = report.model
    actual = sorted({kind.type for kind in kinds})
    if any(each.startswith("System.") or each in ANY for each in actual):
        return
    if not any(model.is_a(each, name) or model.is_a(name, each) for each in actual):
        report.problem(node, f"this can never be a {name}: it is {shown(kinds)}")
    elif operator != "is" and name[:1].islower() and not any(each == name or model.is_a(name, each) for each in actual):
        # The official suites have `gender.as(string)` empty, the text of the specification has it not.
        report.problem(node, f"engines disagree on `{operator}({name})` of a {actual[0]}", f"leave `{operator}` out")
