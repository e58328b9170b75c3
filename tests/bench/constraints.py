"""All R4 constraints of a Bundle of 1,000 entries in one pass, beside fhirpathpy: `python -m tests.bench.constraints`.

fhirpathpy is asked about a sample of the entries, because all of them would take minutes, and this engine about the
same sample in turn with it. The walk through the resource is on our clock only: fhirpathpy is handed each element
with its type and the compiled constraints that stand there. It lacks three functions that HL7's constraints call; it
gets `hasValue` (of ele-1, which stands at every element) and `htmlChecks` by its own way of adding functions, the
latter the very function of this engine, and does without `resolve`.
"""

import copy
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import fhirpathpy
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models

from gateway.fhir.json import Json, JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.constraints import Constraint, Constraints, Place
from gateway.fhirpath.engine import Program
from gateway.fhirpath.items import Element
from gateway.fhirpath.markup import is_fhir_html
from tests.fhirpath import fetch_suite
from tests.fhirpath.fetch_definitions import rules
from tests.fhirpath.hl7_rules import first_places

ENTRIES = 1000
EVERY = 29  # one entry of so many is in the sample: prime to the number of sources, so that all kinds are in it
ROUNDS = 9
AIM = 20.0
NOW = "2026-01-15T10:00:00Z"
# HL7's examples of what is pushed most; of the laboratory report its 18 resources, and so most are Observations.
SOURCES = (
    *("patient-example", "encounter-example", "condition-example", "observation-example", "observation-decimal"),
    *("medicationrequest0301", "medicationstatementexample1", "medicationadministration0301"),
    *("allergyintolerance-example", "immunization-example", "specimen-example", "careteam-example", "goal-example"),
    *("practitioner-example", "organization-example", "documentreference-example", "diagnosticreport-example"),
)


def bundle(entries: int = ENTRIES, every: int = 1) -> JsonObject:
    """A collection of copies of the sources in turn, each with an id of its own; one of so many of them."""
    resources = list(_sources())
    found: list[Json] = []
    for at in range(0, entries, every):
        resource = copy.deepcopy(resources[at % len(resources)])
        resource["id"] = f"e{at}"
        found.append({"fullUrl": f"https://x.example/fhir/{resource['resourceType']}/e{at}", "resource": resource})
    return {"resourceType": "Bundle", "type": "collection", "entry": found}


def _sources() -> Iterator[JsonObject]:
    folder = fetch_suite.ensure() / "r4" / "examples"
    for name in SOURCES:
        content: JsonObject = json.loads((folder / f"{name}.json").read_text("utf-8"))
        entries = content.get("entry")
        parts = (
            [each.get("resource") for each in entries if isinstance(each, dict)]
            if isinstance(entries, list)
            else [content]
        )
        yield from (part for part in parts if isinstance(part, dict))


def all_constraints() -> tuple[Constraint, ...]:
    """Every constraint of R4, warnings too, where HL7 wrote it."""
    found = []
    for rule in first_places(rules("R4")):
        program = engine.compile(rule.expression)
        assert isinstance(program, Program), program
        if rule.is_base:
            found.append(Constraint(rule.path, rule.key, program))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """CPU seconds for the same entries. `lacking`: evaluations that fhirpathpy could not do, by constraint."""

    evaluations: int
    own: float
    other: float
    lacking: Counter[str]

    @property
    def ratio(self) -> float:
        return self.other / self.own


def seconds(work: Callable[[], object], rounds: int) -> float:
    """CPU of one call: the best of several rounds, because other work only ever adds."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def compared(constraints: tuple[Constraint, ...], sample: JsonObject, rounds: int) -> Compared:
    """Both engines on the same entries, in turn."""
    whole = Constraints(constraints)
    tasks = [
        (place, constraint.key, other)
        for place in whole.places(sample)
        for _, group in place.rules
        for constraint in group
        for other in [_compiled(constraint.program.source)]
    ]
    lacking: Counter[str] = Counter()
    own, others = [], []
    for _ in range(rounds):
        own.append(seconds(lambda: whole.judge(sample, now=NOW), 1))
        lacking.clear()
        others.append(seconds(lambda: _by_fhirpathpy(tasks, lacking), 1))
    return Compared(evaluations=len(tasks), own=min(own), other=min(others), lacking=lacking)


_Other = Callable[..., object]
_COMPILED: dict[str, _Other] = {}
_FUNCTIONS = {
    "hasValue": {
        "fn": lambda inputs: len(inputs) == 1 and not isinstance(inputs[0], dict | list),
        "arity": {0: []},
    },
    "htmlChecks": {"fn": lambda inputs: is_fhir_html(inputs[0]), "arity": {0: []}},
}
_GIVEN = {"traceFn": lambda _label, _values: None}


def _compiled(expression: str) -> _Other:
    if expression not in _COMPILED:
        calls = any(f"{name}(" in expression for name in _FUNCTIONS)
        # The table is read anew in each evaluation: only what calls its functions has to bear that.
        given = {**_GIVEN, "userInvocationTable": _FUNCTIONS} if calls else _GIVEN
        _COMPILED[expression] = fhirpathpy.compile(expression, models["r4"], given)
    return _COMPILED[expression]


def _by_fhirpathpy(tasks: list[tuple[Place, str, _Other]], lacking: Counter[str]) -> None:
    for place, key, evaluate in tasks:
        around, root = place.resource[0], place.root[0]
        assert isinstance(around, Element)
        assert isinstance(root, Element)
        node = ResourceNode(place.item.value, place.item.type.name, place.item.extra)  # type: ignore[no-untyped-call]
        try:
            evaluate(node, {"resource": around.value, "rootResource": root.value})
        except Exception:  # noqa: BLE001 (whatever it says, it has no answer)
            lacking[key] += 1


def main() -> None:
    """Prints the comparison, and whether the aim is reached."""
    whole, constraints = bundle(), all_constraints()
    judged = Constraints(constraints)
    size = len(json.dumps(whole, separators=(",", ":"))) / 1e6
    own = seconds(lambda: judged.judge(whole, now=NOW), 3)
    found = compared(constraints, bundle(every=EVERY), ROUNDS)
    sampled = -(-ENTRIES // EVERY)
    knows = tuple(one for one in constraints if one.key not in found.lacking and one.key not in _ADDED)
    without = compared(knows, bundle(every=EVERY), ROUNDS)
    print(f"{len(constraints)} constraints, {ENTRIES} entries, {size:.1f} MB: {own:.2f} s of CPU in one pass")  # noqa: T201
    for name, one in (("all", found), ("without those that call what fhirpathpy lacks", without)):
        verdict = "reached" if one.ratio >= AIM else "MISSED"
        print(  # noqa: T201
            f"{name}: {sampled} entries, {one.evaluations} evaluations, {one.own * 1e3:.1f} ms here, "
            f"{one.other * 1e3:.0f} ms by fhirpathpy: {one.ratio:.1f} x (aim {AIM:.0f}: {verdict})"
        )
    print(f"no answer by fhirpathpy: {dict(found.lacking)}")  # noqa: T201


_ADDED = ("ele-1", "txt-1", "txt-2", "per-1", "bdl-10")

if __name__ == "__main__":
    main()
