"""FHIRPath behind the interface of expression engines."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from gateway.policy.decision import Result
from gateway.policy.expression import NAMES, Compiled, Evaluated, ExpressionProblem, Language, Scope
from gateway.policy.fhirpath import FhirPathEngine

ENGINE = FhirPathEngine()
SCOPE = Scope(
    resource_types=("Observation",),
    available=frozenset(NAMES) - {"stored"},
    params={"system": "urn:members", "limit": 5},
    lets=("performer",),
)
VALUES: Mapping[str, object] = {
    "resource": {
        "resourceType": "Observation",
        "status": "final",
        "performer": [{"reference": "Organization/1"}, {"reference": "Organization/2"}],
        "valueQuantity": {"value": 6.3, "unit": "%"},
        "issued": "2026-01-01T00:00:00Z",
    },
    "prior": None,
    "patient": {"resourceType": "Patient", "active": True},
    "claims": {"org": "lab"},
    "client": {"id": "lab", "issuer": "https://id.example", "scopes": ["system/Observation.c"]},
    "request": {"interaction": "create", "type": "Observation", "id": None, "time": "2026-06-01T12:00:00Z"},
    "params": {"system": "urn:members", "limit": 5},
    "let": {"performer": "Organization/1"},
}


LET = replace(SCOPE, wants_boolean=False)


def compiled(source: str, scope: Scope = LET) -> Compiled:
    found = ENGINE.compile(source, scope)
    assert not isinstance(found, tuple), found
    return found


def refused(source: str, scope: Scope = LET) -> tuple[ExpressionProblem, ...]:
    found = ENGINE.compile(source, scope)
    assert isinstance(found, tuple)
    return found


def evaluated(source: str, values: Mapping[str, object] = VALUES) -> Evaluated:
    return compiled(source).evaluate(ENGINE.bind(values))


def test_language() -> None:
    assert ENGINE.language is Language.FHIRPATH


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("status = 'final'", Result.PASS),
        ("status = 'amended'", Result.FAIL),
        ("%patient.active", Result.PASS),
        ("%prior.status", Result.NON_BOOLEAN),
        ("%prior.exists() implies %prior.status != 'final'", Result.PASS),
        ("performer.reference", Result.NON_BOOLEAN),
        ("status", Result.NON_BOOLEAN),
        ("'true'", Result.NON_BOOLEAN),
        ("true | false", Result.NON_BOOLEAN),
        ("(true).combine(true)", Result.NON_BOOLEAN),
        ("1", Result.NON_BOOLEAN),
        ("performer.single().exists()", Result.ERROR),
        ("%client.scopes = 'system/Observation.c'", Result.PASS),
        ("%request.type = 'Observation' and %request.id.empty()", Result.PASS),
        ("%params.limit > 4 and %params.system = 'urn:members'", Result.PASS),
        ("%let.performer in performer.reference", Result.PASS),
        ("issued < now() and issued < today() and %request.time > issued", Result.PASS),
    ],
)
def test_only_exactly_true_passes(source: str, result: Result) -> None:
    assert evaluated(source).result is result


def test_out_of_budget_is_told_apart() -> None:
    wide = {**VALUES, "resource": {"resourceType": "Observation", "note": [{"text": "x"}] * 2_000}}
    outcome = evaluated("note.all(%resource.note.all(text = 'x'))", wide)
    assert outcome.result is Result.OUT_OF_BUDGET
    assert outcome.value is None


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("status", "final"),
        ("performer.reference", ["Organization/1", "Organization/2"]),
        ("note", []),
        ("value.value", 6.3),
        ("value", {"value": 6.3, "unit": "%"}),
        ("5 'mg'", {"value": 5.0, "unit": "mg"}),
        ("@2024-01-01 + 1 day", "2024-01-02"),
        ("status = 'final'", True),
        ("status = 'amended'", False),
        ("performer.count()", 2),
    ],
)
def test_values_of_lets(source: str, value: object) -> None:
    assert evaluated(source).value == value


@pytest.mark.parametrize(
    ("source", "names", "lets"),
    [
        ("status = 'final'", {"resource"}, set()),
        ("%resource.status = 'final'", {"resource"}, set()),
        ("%context.exists() and %rootResource.exists()", {"resource"}, set()),
        ("exists()", {"resource"}, set()),
        ("$this.status.exists()", {"resource"}, set()),
        ("%patient.name.where(use = 'official').exists()", {"patient"}, set()),
        ("%patient.name.where($this.use = 'official').exists()", {"patient"}, set()),
        ("%patient.name.where(use = %resource.status).exists()", {"patient", "resource"}, set()),
        ("%patient.name.given.combine(status).exists()", {"patient", "resource"}, set()),
        ("where(status = %params.system).exists()", {"resource", "params"}, set()),
        ("%let.performer = %claims.org", {"let", "claims"}, {"performer"}),
        ("%patient.birthDate < today()", {"patient", "request"}, set()),
        ("%patient.name[0].exists() and -1 < 0", {"patient"}, set()),
        ("%patient.name.first() is HumanName", {"patient"}, set()),
        ("%patient.contact.name.ofType(HumanName).exists()", {"patient"}, set()),
        ("%ucum = 'x' and %loinc = 'y'", set(), set()),
        ("iif(%claims.org = 'lab', true, false)", {"claims", "resource"}, set()),
        ("%patient.name.select(today()).exists()", {"patient", "request"}, set()),
        ("%patient.name.where(exists()).exists()", {"patient"}, set()),
        ("1 = 1", set(), set()),
    ],
)
def test_names_that_are_read(source: str, names: set[str], lets: set[str]) -> None:
    assert compiled(source).elements == {(name, "") for name in names}
    found = compiled(source)
    assert found.names == names
    assert found.lets == lets
    assert found.source == source
    assert found.warnings == ()


def test_a_name_that_was_not_bound_is_an_error_and_not_empty() -> None:
    for source, without in (
        ("%patient.empty()", "patient"),
        ("status.empty()", "resource"),
        ("%let.performer.empty()", "let"),
    ):
        values = {name: value for name, value in VALUES.items() if name != without}
        outcome = evaluated(source, values)
        assert outcome.result is Result.ERROR
        assert without in str(outcome.reason)


def test_a_let_that_was_not_bound_is_an_error_and_not_empty() -> None:
    for bound in ({}, None, {"other": 1}):
        outcome = evaluated("%let.performer.empty()", {**VALUES, "let": bound})
        assert outcome.result is Result.ERROR
        assert outcome.reason == "let performer is not available here"


def test_the_clock_needs_the_time_of_the_request() -> None:
    for request in ({}, {"time": 5}):
        assert evaluated("now().exists()", {**VALUES, "request": request}).result is Result.ERROR


def test_values_of_another_language_are_an_error() -> None:
    assert compiled("true").evaluate(VALUES).result is Result.ERROR


def test_there_is_no_faster_conjunction() -> None:
    assert ENGINE.conjunction((compiled("true"), compiled("false"))) is None


@pytest.mark.parametrize(
    ("source", "offset", "length", "said", "hint"),
    [
        ("status = ", 9, 1, "ends too early", None),
        ("%patent.active", 0, 7, "no name `%patent`", "`%patient`"),
        ("true and %zzzz", 9, 5, "no name `%zzzz`", None),
        ("%stored.status = 'final'", 0, 7, "`stored` cannot be used here", "phase: after"),
        ("%let.performr", 5, 8, "`performr` is not declared under `let`", "`performer`"),
        ("%params.zzz", 8, 3, "`zzz` is not declared under `params`", None),
        ("%params.exists()", 0, 7, "read by name", None),
        ("subjct.exists()", 0, 6, "Observation has no element `subjct`", "`subject`"),
        ("%prior.statu.empty()", 7, 5, "Observation has no element `statu`", None),
        ("%patient.nme.empty()", 9, 3, "Patient has no element `nme`", None),
        ("conformsTo('urn:x')", 0, 10, "`conformsTo()` looks at the type of a resource only", None),
    ],
)
def test_problems_have_places_and_hints(source: str, offset: int, length: int, said: str, hint: str | None) -> None:
    first = refused(source)[0]
    assert (first.offset, first.length) == (offset, length)
    assert said in first.message
    assert not first.is_warning
    assert hint is None or hint in str(first.hint)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("status", "a code, not true or false"),
        ("value.ofType(Quantity)", "a Quantity"),
        ("1 + 1", "an Integer"),
        ("effective", "Period or one of 3 other types"),
        ("performer.reference", "a string, not true or false"),
        ("1 + 1 & 'a'", "a String"),
        ("{}", "can only be empty"),
        ("%patient.birthDate", "a date"),
    ],
)
def test_a_rule_that_can_never_be_true(source: str, said: str) -> None:
    assert said in refused(source, SCOPE)[0].message
    assert compiled(source).source == source


@pytest.mark.parametrize(
    "source",
    ["%patient.active", "%claims.admin", "true", "value.ofType(boolean)", "extension('x').value"],
)
def test_a_rule_that_may_be_true(source: str) -> None:
    assert compiled(source, SCOPE).source == source


def test_a_name_that_is_not_available_without_a_hint() -> None:
    scope = Scope(resource_types=("Observation",), available=frozenset({"resource"}))
    assert refused("%claims.org = 'x'", scope)[0].message == "`claims` cannot be used here"


def test_every_problem_is_listed_in_the_order_of_the_text() -> None:
    assert [one.offset for one in refused("subjct.empty() and %patent.x and status = 'finall'")] == [0, 19, 42]


def test_a_problem_of_some_types_names_them() -> None:
    scope = Scope(resource_types=("Observation", "DiagnosticReport"), available=frozenset(NAMES))
    assert [one.message for one in refused("component.exists()", scope)] == [
        "DiagnosticReport has no element `component` (when the resource is a DiagnosticReport)"
    ]
    assert refused("statu = 'final'", scope)[0].message == "Observation has no element `statu`"
    assert compiled("Observation.component.exists() or DiagnosticReport.result.exists()", scope).names == {"resource"}


def test_without_types_nothing_is_said_of_elements() -> None:
    scope = Scope(resource_types=(), available=frozenset(NAMES))
    assert compiled("anything.exists()", scope).names == {"resource"}


def test_a_release_without_a_model_is_refused() -> None:
    scope = Scope(resource_types=("Observation",), available=frozenset(NAMES), release="R9")
    assert "R9" in refused("true", scope)[0].message


def test_a_reference_to_the_patient_who_is_judged_is_followed() -> None:
    values = {
        **VALUES,
        "resource": {"resourceType": "Observation", "subject": {"reference": "Patient/p9"}},
        "patient": {"resourceType": "Patient", "id": "p9", "active": True},
    }
    assert evaluated("subject.resolve().ofType(Patient).active", values).result is Result.PASS
    stranger = {**values, "patient": {"resourceType": "Patient", "id": "p8", "active": True}}
    assert evaluated("subject.resolve().empty()", stranger).result is Result.ERROR
