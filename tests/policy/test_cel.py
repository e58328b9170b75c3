"""The CEL project's engine behind our interface: what the check says, and what evaluation may be given."""

import inspect
import json
import re
import sys
import threading
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gateway.policy import cel_types, cel_values
from gateway.policy.cel import CelEngine, CelExpression
from gateway.policy.cel_engine import cel_engine
from gateway.policy.cel_python import CelPythonEngine
from gateway.policy.cel_reasons import reason
from gateway.policy.cel_source import spell
from gateway.policy.decision import Result
from gateway.policy.engines import standard_engines
from gateway.policy.expression import NAMES, Compiled, Engine, ExpressionProblem, Scope

TABLE = YAML(typ="safe", pure=True).load((Path(__file__).parents[1] / "cases/cel-problems.yaml").read_text("utf-8"))
FIRST, SECOND = CelEngine(), CelPythonEngine()
BOTH = pytest.mark.parametrize("engine", [FIRST, SECOND], ids=["cel-expr-python", "cel-python"])
OBSERVATION = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}


def scope(*types: str, **more: Any) -> Scope:
    settings: dict[str, Any] = {
        "resource_types": types or ("Observation",),
        "available": frozenset(NAMES) - {"stored"},
        "params": TABLE["params"],
        "lets": ("performer",),
    }
    return Scope(**settings | more)


def problems(engine: Engine, source: str, where: Scope) -> tuple[ExpressionProblem, ...]:
    found = engine.compile(source, where)
    assert isinstance(found, tuple), "it compiles"
    assert any(not problem.is_warning for problem in found)
    return found


def compiled(engine: Engine, source: str, where: Scope | None = None) -> Compiled:
    found = engine.compile(source, where or scope())
    assert not isinstance(found, tuple), found
    return found


def check(case: dict[str, Any], found: tuple[ExpressionProblem, ...]) -> None:
    source, wanted = case["cel"], case["message"]
    problem = next((problem for problem in found if problem.message == wanted), None)
    assert problem is not None, [p.message for p in found]
    assert problem.hint == case.get("hint")
    if case.get("end"):
        assert problem.offset == len(source)
    elif not case.get("anywhere"):
        assert source[problem.offset :].startswith(str(case["at"])), source[problem.offset :]
        assert problem.length >= 1


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["cel"][:70])
def test_every_problem_is_named_at_its_place(case: dict[str, Any]) -> None:
    check(case, problems(FIRST, case["cel"], scope(*case.get("types", ()))))


@pytest.mark.parametrize("case", [c for c in TABLE["cases"] if c.get("python")], ids=lambda case: case["cel"][:70])
def test_the_second_engine_finds_the_same(case: dict[str, Any]) -> None:
    check(case, problems(SECOND, case["cel"], scope(*case.get("types", ()))))


@BOTH
@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["cel"][:70])
def test_no_engine_evaluates_what_is_wrong(engine: Engine, case: dict[str, Any]) -> None:
    found = engine.compile(case["cel"], scope(*case.get("types", ())))
    if engine is SECOND and not isinstance(found, tuple):
        outcome = found.evaluate(engine.bind({"resource": OBSERVATION, "claims": {}}))
        assert outcome.result is not Result.PASS
    else:
        assert isinstance(found, tuple)


@BOTH
@pytest.mark.parametrize("case", TABLE["named"], ids=lambda case: case["cel"])
def test_a_let_is_a_json_value(engine: Engine, case: dict[str, Any]) -> None:
    found = problems(engine, case["cel"], scope(wants_boolean=False))
    assert [(p.message, p.hint) for p in found if not p.is_warning] == [(case["message"], case["hint"])]


@BOTH
@pytest.mark.parametrize("case", TABLE["warnings"], ids=lambda case: case["cel"])
def test_an_optional_element_that_is_read_bare_is_warned_of(engine: Engine, case: dict[str, Any]) -> None:
    warnings = compiled(engine, case["cel"]).warnings
    assert all(warning.is_warning and warning.hint for warning in warnings)
    found = [re.sub(r"…\d+", "…", warning.message.split("'")[1]) for warning in warnings]
    assert sorted(found) == sorted(case["paths"])


@BOTH
def test_warnings_stand_beside_problems(engine: Engine) -> None:
    found = problems(engine, "resource.id == 'x' && resource.status == 'fnal'", scope())
    assert [problem.is_warning for problem in found] == [False, True]


@BOTH
def test_a_release_without_a_model_is_refused(engine: Engine) -> None:
    (problem,) = problems(engine, "true", scope(release="R9"))
    assert "R9" in problem.message


@pytest.mark.parametrize("source", ["'\ud800' == 'x'", "resource.status == '\x00"])
def test_text_that_no_engine_reads_is_a_problem(source: str) -> None:
    assert problems(FIRST, source, scope())


@pytest.mark.parametrize(
    ("source", "offset"),
    [("[?resource.?id] == []", 0), ("has(1)", 0), ("99999999999999999999 == 1", 0), ('true &&\n  "" ===', 15)],
)
def test_what_only_the_second_engine_refuses(source: str, offset: int) -> None:
    (problem,) = problems(SECOND, source, scope())
    assert problem.offset == offset


@BOTH
def test_names_and_lets_that_are_read(engine: Engine) -> None:
    one = compiled(engine, "resource.status == params.x && [1].exists(prior, prior == 1) && let.performer == 'let.x'")
    assert one.names == {"resource", "params", "let"}
    assert one.lets == {"performer"}
    assert one.source.startswith("resource.status")
    assert compiled(engine, "let.?performer.hasValue() && claims.let == request.type").lets == {"performer"}


def test_let_is_respelled_where_it_is_a_name_only() -> None:
    source = """let.a + "let" + 'it\\'s let' + r'let\\' + \"\"\"let "let" \"\"\" + x.let + x.?let // let\n+ let"""
    spelled = spell(source)
    assert len(spelled) == len(source)
    assert [found.start() for found in re.finditer("_et", spelled)] == [0, len(source) - 3]


@BOTH
def test_params_of_every_kind(engine: Engine) -> None:
    source = (
        "params.mixed[0] == 1 && params.nested['a'][0] == 1 && params.nothing == null && params.on && params.half < 1.0"
    )
    assert compiled(engine, source).evaluate(engine.bind({"resource": OBSERVATION, "params": {}})).result is Result.PASS


class Kind(StrEnum):
    FINAL = "final"


@BOTH
@pytest.mark.parametrize(
    ("source", "claims"),
    [
        ("claims.x == 1.5", {"x": Decimal("1.5")}),
        ("claims.x > 1e18", {"x": 2**70}),
        ("claims.x < -1e18", {"x": -(2**70)}),
        ("claims.x > 1e308", {"x": 10**400}),
        ("claims.x < -1e308", {"x": -(10**400)}),
        ("claims.x == ['a']", {"x": ("a",)}),
        ("claims.x.y == [1]", {"x": MappingProxyType({"y": frozenset({1})})}),
        ("claims.x == 'final'", {"x": Kind.FINAL}),
    ],
)
def test_values_that_are_not_plain_json_are_made_so(engine: Engine, source: str, claims: dict[str, object]) -> None:
    for given_claims in (claims, MappingProxyType(claims)):
        bound = engine.bind({"resource": OBSERVATION, "claims": given_claims, "let": MappingProxyType({})})
        assert compiled(engine, source).evaluate(bound).result is Result.PASS


@BOTH
def test_a_value_of_no_json_type_fails(engine: Engine) -> None:
    bound = engine.bind({"resource": OBSERVATION, "claims": {"x": object()}})
    assert compiled(engine, "claims.x == 1").evaluate(bound).result is Result.ERROR


@BOTH
def test_a_number_past_64_bits_does_not_crash(engine: Engine) -> None:
    resource = OBSERVATION | {"valueQuantity": {"value": 10**30}}
    bound = engine.bind({"resource": resource})
    assert compiled(engine, "resource.valueQuantity.value > 0.0").evaluate(bound).result is Result.PASS
    assert compiled(engine, "resource.status == 'final'").evaluate(bound).result is Result.PASS


def test_text_that_is_no_unicode_fails() -> None:
    bound = FIRST.bind({"resource": OBSERVATION | {"status": "\ud800"}})
    assert compiled(FIRST, "resource.status == 'final'").evaluate(bound).result is Result.ERROR


@BOTH
def test_the_program_is_that_of_the_resource_type(engine: Engine) -> None:
    # `scope` repeats in neither, `text` of a Consent is a Narrative; `category` repeats in both but not in Coverage.
    rule = compiled(engine, "resource.identifier.size() == 0", scope("Observation", "Consent"))
    assert rule.evaluate(engine.bind({"resource": {"resourceType": "Consent"}})).result is Result.PASS
    outcome = rule.evaluate(engine.bind({"resource": {"resourceType": "Patient"}}))
    assert (outcome.result, outcome.reason) == (Result.ERROR, "the rule is not made for this resource type")
    assert rule.evaluate(engine.bind({"resource": None})).result is Result.ERROR
    assert rule.evaluate(engine.bind({"resource": None, "prior": OBSERVATION})).result is Result.ERROR


@BOTH
def test_repetition_may_differ_between_types(engine: Engine) -> None:
    # Observation.category repeats; Task.code is single and Flag.code too; DocumentReference.author repeats
    where = scope("Observation", "MedicationRequest")
    rule = compiled(engine, "has(resource.category) || resource.note.size() == 0", where)
    assert rule.evaluate(engine.bind({"resource": {"resourceType": "MedicationRequest"}})).result is Result.PASS
    differing = "has(resource.performer)"  # a list in Observation, one Reference in MedicationRequest
    rule = compiled(engine, differing, where)
    empty = {"resourceType": "Observation", "performer": []}
    assert rule.evaluate(engine.bind({"resource": empty})).result is Result.FAIL
    one = {"resourceType": "MedicationRequest", "performer": {"reference": "x"}}
    assert rule.evaluate(engine.bind({"resource": one})).result is Result.PASS


@BOTH
def test_a_conjunction_holds_exactly_when_every_part_does(engine: Engine) -> None:
    sources = ["resource.status == 'final'", "claims.a == 1", "resource.id == 'x'"]
    parts = tuple(compiled(engine, source) for source in sources)
    joined = engine.conjunction(parts)
    assert joined is not None
    assert joined.names == {"resource", "claims"}
    for resource, claims in [({"id": "x"}, {"a": 1}), ({"id": "y"}, {"a": 1}), ({}, {"a": 1}), ({"id": "x"}, {})]:
        bound = engine.bind({"resource": OBSERVATION | resource, "claims": claims})
        every = all(part.evaluate(bound).result is Result.PASS for part in parts)
        assert (joined.evaluate(bound).result is Result.PASS) is every
    hundred = engine.conjunction(parts[:2] * 50)
    assert hundred is not None
    assert hundred.evaluate(engine.bind({"resource": OBSERVATION, "claims": {"a": 1}})).result is Result.PASS


@BOTH
def test_what_cannot_be_joined(engine: Engine) -> None:
    other = SECOND if engine is FIRST else FIRST
    rule = compiled(engine, "true")
    assert engine.conjunction(()) is None
    assert engine.conjunction((rule, compiled(other, "true"))) is None
    assert engine.conjunction((rule, compiled(engine, "true", scope("Patient")))) is None


@BOTH
def test_the_value_of_a_let(engine: Engine) -> None:
    where = scope(wants_boolean=False)
    bound = engine.bind({"resource": OBSERVATION, "claims": {"a": [1, 2.5, None, {"b": "x"}], "t": True}})
    for source, value in [
        ("claims.a", [1, 2.5, None, {"b": "x"}]),
        ("resource.status", "final"),
        ("1 + 1", 2),
        ("claims.t", True),
        ("[claims.t]", [True]),
        ("!claims.t", False),
    ]:
        assert compiled(engine, source, where).evaluate(bound).value == value
    assert compiled(engine, "claims.a").evaluate(bound).value is None, "a rule keeps no payload values"
    for untyped in ("dyn(claims.?a)", "dyn(timestamp('2026-01-01T00:00:00Z'))", "[b'x']"):
        assert compiled(engine, untyped, where).evaluate(bound).result is Result.ERROR


@BOTH
def test_only_the_engines_own_activation_is_taken(engine: Engine) -> None:
    with pytest.raises(TypeError):
        compiled(engine, "true").evaluate({"resource": OBSERVATION})


@BOTH
def test_a_name_that_was_not_bound_is_an_error(engine: Engine) -> None:
    outcome = compiled(engine, "patient.active").evaluate(engine.bind({"resource": OBSERVATION}))
    assert outcome.result is Result.ERROR


@BOTH
def test_deep_nesting_ends(engine: Engine) -> None:
    source = "(" * 60 + "resource.status == 'final'" + ")" * 60
    found = engine.compile(source, scope())
    assert isinstance(found, tuple) or found.evaluate(engine.bind({"resource": OBSERVATION})).result is Result.PASS


@BOTH
def test_reasons_hold_no_payload_values(engine: Engine) -> None:
    secret = "Zebra123"
    values = {"resource": OBSERVATION | {"id": secret}, "claims": {"s": secret, "n": 2**70, "l": []}}
    sources = [
        "claims[resource.id] == 1",
        "int(claims.s) == 1",
        "timestamp(claims.s) < request.time",
        "duration(claims.s) < duration('1h')",
        "claims.s + 1 == 1",
        "claims.s.x == 1",
        "claims.l[0] == 1",
        "claims.n + 1 == 1",
        "claims.s.all(x, true)",
        "-claims.s == 1",
        "claims.s < 1",
        "{claims.s: 1}[resource.status] == 1",
        "claims.l.x == 1",
        "resource.?issued.value() == claims.s",
        "claims.s",
    ]
    for source in sources:
        outcome = compiled(engine, source).evaluate(engine.bind(values))
        assert outcome.result is not Result.PASS, source
        assert secret not in str(outcome), source


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ('NOT_FOUND: Key not found in map : "status"', "no such key 'status'"),
        ('NOT_FOUND: Key not found in map : "Zebra"', "no such key"),
        (
            "UNKNOWN: No matching overloads found : (int64).startsWith(string)",
            "a value has the wrong type for startsWith()",
        ),
        ("UNKNOWN: No matching overloads found : _+_(string, int64)", "a value has the wrong type"),
        ('UNKNOWN: No value with name "patient" found in Activation', "'patient' has no value here"),
        ("never seen: Zebra", "evaluation failed"),
    ],
)
def test_engine_texts_are_mapped_to_classes(text: str, short: str) -> None:
    assert reason(text, {"status", "startsWith"}) == short


def test_one_compiled_rule_in_many_threads() -> None:
    rule = compiled(FIRST, "resource.category.exists(c, c.text == 'here')")
    wrong: list[int] = []

    def judge(number: int) -> None:
        for turn in range(300):
            here = (number + turn) % 2 == 0
            resource = OBSERVATION | {"category": [{"text": "here" if here else "not"}]}
            if (rule.evaluate(FIRST.bind({"resource": resource})).result is Result.PASS) is not here:
                wrong.append(number)

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_first_importable_engine_is_taken() -> None:
    second = ("gateway.policy.cel_python", "CelPythonEngine")
    assert isinstance(cel_engine((("gateway.policy.no_such", "X"), second)), CelPythonEngine)
    with pytest.raises(ImportError):
        cel_engine((("gateway.policy.no_such", "X"),))


def test_a_set_says_which_engines_it_is_judged_by() -> None:
    assert standard_engines().names == {"cel": "cel-expr-python", "fhirpath": "fhir-gateway"}
    assert SECOND.name == "cel-python"


def test_the_types_know_the_model() -> None:
    types = cel_types.load("R4")
    assert types.repeats("fhir.Observation", "category")
    assert not types.repeats("fhir.Observation", "no_such")
    assert types.find("fhir.Observation", "_status") is not None
    assert types.find("fhir.Observation", "_category") is None
    assert types.find("fhir.Observation", "no_such") is None
    assert types.names("fhir.Observation")[:2] == ("resourceType", "id")
    assert types.names("fhir.no_such") == ()
    assert cel_types.element_path("fhir.Observation_component") == "Observation.component"


@BOTH
def test_an_expression_that_is_nested_too_deeply_is_a_problem(engine: Engine) -> None:
    for source in ("1 + " * 2000 + "1 == 0", "(" * 2000 + "true" + ")" * 2000):
        assert "deep" in problems(engine, source, scope())[0].message


@BOTH
def test_a_deep_stack_ends_in_an_outcome(engine: Engine) -> None:
    rule = compiled(engine, "1 + " * 25 + "1 > 0")
    bound = engine.bind({"resource": OBSERVATION})

    def at_depth(frames: int) -> Result:
        return at_depth(frames - 1) if frames else rule.evaluate(bound).result

    outcome = at_depth(sys.getrecursionlimit() - len(inspect.stack()) - 60)
    assert outcome is (Result.PASS if engine is FIRST else Result.OUT_OF_BUDGET)


@BOTH
def test_a_parameter_is_a_json_value(engine: Engine) -> None:
    for value in (date(2026, 1, 1), {1: "x"}, ["\ud800"]):
        (problem,) = problems(engine, "params.since == 'x'", scope(params={"since": value}))
        assert problem.message == "parameter 'since' is not a JSON value"
    large = compiled(engine, "params.large > 1e18", scope(params={"large": 2**70}))
    assert large.evaluate(engine.bind({"resource": OBSERVATION})).result is Result.PASS


@BOTH
def test_only_what_is_available_may_be_named(engine: Engine) -> None:
    where = scope(available=frozenset({"resource"}))
    for name in ("params.x == 'x'", "let.performer == 'x'", "claims.x == 'x'", "params == 1"):
        (problem,) = problems(engine, name, where)
        assert problem.message.endswith("cannot be used here")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_json_can_be_bound(value: Any) -> None:
    plain = cel_values.plain(value)
    assert plain == value or isinstance(json.dumps(plain), str)
    rule = compiled(FIRST, "claims.x == claims.x")
    assert isinstance(rule, CelExpression)
    assert rule.evaluate(FIRST.bind({"resource": OBSERVATION, "claims": {"x": value}})).result in (
        Result.PASS,
        Result.ERROR,
    )


@given(st.text(max_size=40))
def test_any_text_compiles_or_has_problems(text: str) -> None:
    for engine in (FIRST, SECOND):
        found = engine.compile(text, scope())
        if isinstance(found, tuple):
            assert all(0 <= problem.offset <= len(text) for problem in found)


@BOTH
def test_what_a_request_and_a_client_always_have_is_read_without_a_warning(engine: Engine) -> None:
    always = "request.type == 'X' || request.interaction == 'create' || client.id == 'a' || client.issuer == 'b'"
    assert compiled(engine, always).warnings == ()
    (warning,) = compiled(engine, "request.id == 'x'").warnings
    assert warning.message.startswith("'request.id' may be absent")


@pytest.mark.parametrize(
    ("source", "fine"),
    [
        ("has(resource.meta.source)", {"Observation", "Patient", "Questionnaire", "Condition"}),
        ("resource.status == 'final'", {"Observation"}),
        ("resource.item.exists(i, i.item.exists(j, j.linkId == 'x'))", {"Questionnaire"}),
        ("resource == patient", {"Patient"}),
        ("resource.resourceType == 'Patient'", {"Patient"}),
        ("resource.contact.exists(c, c.gender == 'other')", {"Patient"}),
        ("resource.contact.exists(c, c.name == 'x')", {"Questionnaire"}),
    ],
)
def test_types_are_told_apart_by_what_the_text_reads(source: str, fine: set[str]) -> None:
    every = ("Observation", "Patient", "Questionnaire", "Condition")
    alone = {name for name in every if not isinstance(FIRST.compile(source, scope(name)), tuple)}
    assert alone == fine
    assert isinstance(FIRST.compile(source, scope(*every)), tuple) == (fine != set(every))


def test_a_rule_for_every_type_is_checked_once_for_all_that_look_alike() -> None:
    types = cel_types.load("R4")

    def shapes(*words: str) -> int:
        excerpts = cel_types.Excerpts(types, frozenset(words))
        return len({excerpts.of([cel_types.message_name(name)]).shape(name) for name in types.model.resources})

    assert shapes("meta", "versionId") == 1
    assert 1 < shapes("meta", "source") < 10  # some types have a `source` of their own


@BOTH
@pytest.mark.parametrize(
    ("source", "elements"),
    [
        ("has(resource.status) && resource.?code.?text.hasValue()", {("resource", "status"), ("resource", "code")}),
        ("claims.a == claims['b'] && claims[?'c'].hasValue()", {("claims", "a"), ("claims", "b"), ("claims", "")}),
        ("'x' in claims", {("claims", "")}),
        ("resource == prior", {("resource", ""), ("prior", "")}),
        ("prior != null && prior.status == 'final'", {("prior", "status")}),
        ("resource.category.exists(resource, resource.text == 'x')", {("resource", "category")}),
        ("resource.category.exists(c, c == resource.code)", {("resource", "category"), ("resource", "code")}),
        ("type(patient) == type(1)", {("patient", "")}),
    ],
)
def test_what_is_read_of_a_value(engine: Engine, source: str, elements: set[tuple[str, str]]) -> None:
    large = ("resource", "prior", "patient", "claims")
    found = compiled(engine, source).elements
    assert {(name, element) for name, element in found if name in large} == elements
