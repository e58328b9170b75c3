"""HL7's own expressions: every constraint and search parameter of R4, R4B and R5 compiles, has types, and holds.

What the static pass says of them, and examples that they do not hold on, is in tests/cases/fhirpath-hl7.yaml, each
with the reason.
"""

import functools
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from gateway.fhir.json import JsonObject
from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from gateway.fhirpath.model import Model, load
from gateway.fhirpath.types_check import check
from tests.fhirpath import fetch_suite
from tests.fhirpath.fetch_definitions import Rule, published, rules, searches
from tests.fhirpath.hl7_rules import Part, first_places, is_of_release, parts, types_at

RELEASES = ("R4", "R4B", "R5")
# Rules, and search parameters, of each release; so that an extraction that loses some is noticed.
SIZES = {"R4": (269, 1372), "R4B": (279, 1406), "R5": (421, 1231)}
EXAMPLES = {"R4": 72, "R4B": 72, "R5": 36}
DEFINITIONS = {"R4": 38, "R4B": 39, "R5": 75}
NOW = "2026-11-23T12:00:00.000Z"
BUDGET = 10_000_000


class Difference(BaseModel):
    """A group of places with one reason; `places` are `path key`, or `file path key`, by release."""

    model_config = ConfigDict(extra="forbid")

    why: str
    places: dict[str, tuple[str, ...]]


class Differences(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")

    static: dict[str, Difference]
    examples: dict[str, Difference]
    definitions: dict[str, Difference]


@functools.cache
def differences() -> Differences:
    path = Path(__file__).parents[1] / "cases" / "fhirpath-hl7.yaml"
    return Differences.model_validate(YAML(typ="safe").load(path.read_text("utf-8")))


def listed(groups: dict[str, Difference], release: str) -> list[str]:
    return sorted(place for group in groups.values() for place in group.places.get(release, ()))


@functools.cache
def written(release: str) -> tuple[Rule, ...]:
    return first_places(rules(release))


@pytest.mark.parametrize("release", RELEASES)
def test_all_are_read(release: str) -> None:
    assert (len(written(release)), len(searches(release))) == SIZES[release]


@pytest.mark.parametrize("release", RELEASES)
def test_every_expression_compiles(release: str) -> None:
    expressions = {rule.expression for rule in rules(release)} | {one.expression for one in searches(release)}
    compiled = {text: engine.compile(text, model=release) for text in expressions}
    assert {text: found for text, found in compiled.items() if not isinstance(found, Program)} == {}


@pytest.mark.parametrize("release", RELEASES)
def test_types_say_nothing_of_a_constraint_that_is_right(release: str) -> None:
    model = load(release)
    found = set()
    for rule in written(release):
        context, root = types_at(rule.path, model), rule.path.partition(".")[0]
        roots = {"resource": root} if root in model.resources else {}
        problems = check(_compiled(rule.expression, release).tree, model, roots, context=context)
        found |= {f"{rule.path} {rule.key}" for problem in problems if context and not problem.is_warning}
    assert sorted(found) == [each for each in listed(differences().static, release) if not each.startswith("search ")]


@pytest.mark.parametrize("release", RELEASES)
def test_types_say_nothing_of_a_search_parameter_that_is_right(release: str) -> None:
    model = load(release)
    found = set()
    for search in searches(release):
        tree, types = _compiled(search.expression, release).tree, tuple(model.types)
        # A text for several types has parts that are for some of them: a problem is one for all.
        by_type = [
            {one.offset for one in check(tree, model, {"resource": base}, types=types) if not one.is_warning}
            for base in search.bases
        ]
        if set.intersection(*by_type):
            found.add(f"search {search.bases[0]} {search.code}")
    assert sorted(found) == [each for each in listed(differences().static, release) if each.startswith("search ")]


@pytest.mark.parametrize("release", RELEASES)
def test_constraints_hold_on_the_published_examples(release: str) -> None:
    model, at = load(release), _by_place(release)
    found: set[str] = set()
    examples = {name: each for name, each in _examples(release) if is_of_release(each, model)}
    assert len(examples) == EXAMPLES[release]
    for name, example in examples.items():
        for part in parts(example, model):
            found |= {
                f"{name} {part.path} {rule.key}"
                for rule in _applying(part, at, model)
                if not _holds(rule, part, release)
            }
    assert sorted(found) == listed(differences().examples, release)


@pytest.mark.parametrize("release", RELEASES)
def test_constraints_hold_on_the_definitions_themselves(release: str) -> None:
    model, at = load(release), _by_place(release)
    found = set()
    for definition in published(release):
        for part in parts(definition, model):
            found |= {
                f"{rule.path} {rule.key}" for rule in _applying(part, at, model) if not _holds(rule, part, release)
            }
    assert len(published(release)) == DEFINITIONS[release]
    assert sorted(found) == listed(differences().definitions, release)


def test_every_difference_has_a_reason() -> None:
    groups = {**differences().static, **differences().examples, **differences().definitions}
    assert [name for name, group in groups.items() if not group.why] == []


@functools.cache
def _compiled(expression: str, release: str) -> Program:
    found = engine.compile(expression, model=release)
    assert isinstance(found, Program), found
    return found


def _examples(release: str) -> Iterator[tuple[str, JsonObject]]:
    for path in sorted((fetch_suite.ensure() / release.lower() / "examples").glob("*.json")):
        content = json.loads(path.read_text("utf-8"))
        if isinstance(content, dict) and content.get("resourceType") in load(release).resources:
            yield path.stem, content


def _by_place(release: str) -> dict[str, list[Rule]]:
    """The constraints of FHIR itself that have to hold, by their path; the others only warn."""
    found: dict[str, list[Rule]] = defaultdict(list)
    for rule in written(release):
        if rule.is_base and rule.severity == "error":
            found[rule.path].append(rule)
    return found


def _applying(part: Part, at: dict[str, list[Rule]], model: Model) -> set[Rule]:
    owner, _, name = part.path.rpartition(".")
    places = [part.path, *model.line(part.type), *(f"{each}.{name}" for each in model.line(owner) if name)]
    return {rule for place in places for rule in at.get(place, ())}


def _holds(rule: Rule, part: Part, release: str) -> bool:
    """Whether a constraint gives true, or nothing, which is no failure of it either."""
    context = None if part.value is part.resource else (part.value, part.type)
    outcome = _compiled(rule.expression, release).evaluate(part.resource, context=context, now=NOW, budget=BUDGET)
    return outcome.failure is None and outcome.values in ([], [True])
