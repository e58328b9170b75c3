"""Which Patients a resource is about: the links of the Patient compartment.

http://hl7.org/fhir/R4/compartmentdefinition-patient.html says by which references a resource belongs to a
Patient. Every one of them counts; one that could name a Patient but does not say which is a problem.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from gateway.fhir.json import Json, JsonObject
from gateway.fhir.model import load
from gateway.fhir.reference import UnresolvableReference, classify

PATIENT = "Patient"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkProblem:
    """A compartment reference that does not name one Patient. `at` is its element path, `form` what it is.

    `form` is one of the forms of `reference.UnresolvableReference`, or `identifier` (only a logical identifier)
    or `absent` (the resource names no Patient at all).
    """

    at: str
    form: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientLinks:
    """The Patients of one resource: `places` has each id once, in order of first mention, with the path of it.

    The subject comes first. `applicable` is False for types outside the Patient compartment; there is then
    nothing else.
    """

    applicable: bool
    places: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[LinkProblem, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids alone."""
        return tuple(self.places)


def patient_links(
    resource: JsonObject, bases: tuple[str, ...], *, release: str = "R4", creating: bool = False
) -> PatientLinks:
    """The Patients that a resource (checked by `shape`) is about. `bases` are the absolute bases of this server.

    With `creating`, the `id` of a Patient is no link: servers ignore it on a create
    (http://hl7.org/fhir/R4/http.html#create), so it may be the id of somebody else.
    """
    type_name = str(resource["resourceType"])
    entry = load(release).compartment.get(type_name)
    if entry is None:
        return PatientLinks(applicable=False)
    places: dict[str, str] = {}
    problems: list[LinkProblem] = []
    if type_name == PATIENT and not creating and isinstance(resource.get("id"), str):
        # Definition of the compartment: "the patient resource itself".
        places[str(resource["id"])] = "Patient.id"
    for names, can_be_patient in _subject_first(type_name, release):
        for at, reference in _values(resource, names, type_name):
            found = _link(reference, bases, can_be_patient=can_be_patient)
            if isinstance(found, str):
                places.setdefault(found, at)
            elif found is not None:
                problems.append(LinkProblem(at=at, form=found[0], text=found[1]))
    if not places and not problems and type_name != PATIENT:
        at = ".".join((type_name, *entry.subject))
        problems.append(LinkProblem(at=at, form="absent", text="No Patient is named."))
    return PatientLinks(applicable=True, places=places, problems=tuple(problems))


@cache
def _subject_first(type_name: str, release: str) -> tuple[tuple[tuple[str, ...], bool], ...]:
    """The element paths of a type in the compartment, and of each whether it may name a Patient."""
    entry = load(release).compartment[type_name]
    ordered = sorted(entry.paths, key=lambda names: names != entry.subject)
    return tuple((names, _targets(type_name, names, release)) for names in ordered)


def _targets(type_name: str, names: tuple[str, ...], release: str) -> bool:
    """Whether the element at a path may name a Patient at all, by the targets of its definition."""
    fields = load(release).fields
    at = type_name
    for name in names[:-1]:
        at = fields[at][name].type
    targets = fields[at][names[-1]].targets
    return not targets or PATIENT in targets


def _values(node: Json, names: tuple[str, ...], at: str) -> Iterator[tuple[str, JsonObject]]:
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _values(item, names, f"{at}[{index}]")
    elif isinstance(node, dict):
        if not names:
            yield at, node
        elif names[0] in node:
            yield from _values(node[names[0]], names[1:], f"{at}.{names[0]}")


def _link(reference: JsonObject, bases: tuple[str, ...], *, can_be_patient: bool) -> str | tuple[str, str] | None:
    """A Patient id; None for what is no link to a Patient; else form and text of a problem."""
    literal = reference.get("reference")
    stated = reference.get("type")
    if not isinstance(literal, str):
        # Only a display says nothing that a server could follow; an identifier could be a Patient's.
        if can_be_patient and ("identifier" in reference or "_reference" in reference) and stated in (None, PATIENT):
            return "identifier", "The reference has no literal reference, so it cannot be said which Patient is meant."
        return None
    named = classify(literal, bases)
    if isinstance(named, UnresolvableReference):
        return (named.form, f"The reference cannot be followed: {named.why}.") if can_be_patient else None
    # Servers keep a `type` that contradicts the reference, and readers may believe either.
    if PATIENT in (named.type, stated) and stated not in (None, named.type):
        return "malformed", "The reference names one type and states another."
    return named.id if named.type == PATIENT else None
