"""What holds for every text and every input."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fhirpath import engine
from gateway.fhirpath.engine import Failure, Outcome, Program
from gateway.fhirpath.items import Element
from gateway.fhirpath.reads import reads
from gateway.fhirpath.types_check import check
from tests.fhirpath.resources import NOW, PATIENT, VARIABLES
from tests.fhirpath.suite import cases, resource

NAMES = ["name", "given", "family", "birthDate", "active", "contact", "deceased", "%patient", "%claims.org", "$this"]
LITERALS = ["'a'", "1", "1.5", "true", "@2024-01-01", "@T10:00", "5 'mg'", "2 days", "{}", "$index", "$total"]
OPERATORS = ["and", "or", "xor", "implies", "=", "!=", "~", "<", ">=", "+", "-", "*", "/", "div", "mod", "&", "|", "in"]
CALLS = ["where", "select", "all", "exists", "repeat", "union", "combine", "intersect", "startsWith", "matches", "skip"]
BARE = [
    *("first()", "count()", "not()", "empty()", "children()", "descendants()", "distinct()", "toString()", "toDate()"),
    *("hasValue()", "upper()", "toInteger()", "sum()", "abs()", "resolve()", "ofType(string)", "is(Quantity)"),
]

EXPRESSIONS = st.recursive(
    st.sampled_from(NAMES + LITERALS),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(inner, st.sampled_from(CALLS), inner).map(lambda parts: f"{parts[0]}.{parts[1]}({parts[2]})"),
        st.tuples(inner, st.sampled_from(BARE)).map(".".join),
        st.tuples(inner, inner).map(lambda parts: f"{parts[0]}[{parts[1]}]"),
        st.tuples(inner, inner, inner).map(lambda parts: f"{parts[0]}.aggregate({parts[1]}, {parts[2]})"),
    ),
    max_leaves=8,
)
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="aA1.'\"`()[]{}|&=<>!~+-*/%$@T: \\\n,is", max_size=30),
    st.lists(
        st.sampled_from([*NAMES, *LITERALS, *OPERATORS, ".", "(", ")", "[", "]", ",", "is", "as"]), max_size=12
    ).map(" ".join),
)


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_program_or_problems_with_places(text: str) -> None:
    compiled = engine.compile(text)
    if isinstance(compiled, Program):
        assert compiled.source == text
        assert reads(compiled.tree) is not None
        assert isinstance(check(compiled.tree, compiled.model, {"resource": "Patient"}), tuple)
    else:
        assert compiled
        assert all(0 <= problem.offset <= len(text) for problem in compiled)


@given(EXPRESSIONS)
@settings(max_examples=200, deadline=None)
def test_evaluation_ends_in_an_outcome_and_changes_nothing(text: str) -> None:
    compiled = engine.compile(text)
    if not isinstance(compiled, Program):
        return
    resource, variables = copy.deepcopy(PATIENT), copy.deepcopy(VARIABLES)
    first = compiled.evaluate(resource, variables, now=NOW)
    # The net below all functions is for JSON that is no FHIR; on a sound resource nothing may fall into it.
    assert "the evaluation failed" not in str(first.reason)
    assert (resource, variables) == (PATIENT, VARIABLES)
    assert _shape(compiled.evaluate(resource, variables, now=NOW)) == _shape(first)
    assert isinstance(check(compiled.tree, compiled.model, {"resource": "Patient", "patient": "Patient"}), tuple)


@given(EXPRESSIONS, st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=100, deadline=None)
def test_more_budget_never_turns_a_value_into_a_failure(text: str, some: int, more: int) -> None:
    compiled = engine.compile(text)
    if not isinstance(compiled, Program):
        return
    little = compiled.evaluate(PATIENT, VARIABLES, now=NOW, budget=some)
    much = compiled.evaluate(PATIENT, VARIABLES, now=NOW, budget=some + more)
    if little.failure is not Failure.OUT_OF_BUDGET:
        assert _shape(little) == _shape(much)


def test_the_official_suite_changes_none_of_its_examples() -> None:
    seen = 0
    for case in cases("R4"):
        compiled = engine.compile(case.expression)
        if isinstance(compiled, Program):
            example = resource(case.release, case.example) if case.example else None
            before = copy.deepcopy(example)
            compiled.evaluate(example, now=NOW)
            assert example == before, case.name
            seen += 1
    assert seen > 800


def _shape(outcome: Outcome) -> str:
    values = [(one.type.name, one.value, one.extra) if isinstance(one, Element) else one for one in outcome.values]
    return repr((outcome.failure, outcome.reason, values))
