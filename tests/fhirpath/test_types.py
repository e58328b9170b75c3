"""Static types: what cannot be right is said when a policy is loaded, and nothing else is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhirpath.model import load
from gateway.fhirpath.parser import parse
from gateway.fhirpath.problem import Problem
from gateway.fhirpath.types_check import check, static_type

ROOTS = {"resource": "Observation", "prior": "Observation", "patient": "Patient"}

PROBLEMS = [
    ("subjct.reference", 0, 6, "Observation has no element `subjct`", "`subject`"),
    ("name", 0, 4, "Observation has no element `name`", None),
    ("%patient.nam.family", 9, 3, "Patient has no element `nam`", "`name`"),
    ("%prior.statu = 'final'", 7, 5, "Observation has no element `statu`", "`status`"),
    ("%resource.x", 10, 1, "no element `x`", None),
    ("component.cod.coding", 10, 3, "Observation.component has no element `cod`", "`code`"),
    ("code.where(codng.exists())", 11, 5, "CodeableConcept has no element `codng`", "`coding`"),
    ("value.foo", 6, 3, "no type of this choice has an element `foo`", None),
    ("effective.foo", 10, 3, "no type of this choice has an element `foo`", None),
    ("(code | subject | issued).foo", 26, 3, "CodeableConcept or Reference or instant has no element `foo`", None),
    ("effective.ofType(Period).begin", 25, 5, "Period has no element `begin`", None),
    ("(effective.ofType(Period) | issued).strt", 36, 4, "Period or instant has no element `strt`", "`start`"),
    ("valueQuantity.value > 5", 0, 13, "no element `valueQuantity` in FHIRPath", "`value.ofType(Quantity)`"),
    ("component.valueString", 10, 11, "no element `valueString`", "`value.ofType(string)`"),
    ("resourceType = 'Observation'", 0, 12, "`resourceType` is no element", "$this is"),
    ("Patient.name", 0, 7, "can only be empty", None),
    ("category.coding.where(code)", 22, 4, "`where()` is a code, not a boolean", "`.exists()`"),
    ("category.exists(coding)", 16, 6, "`exists()` is a Coding", None),
    ("category.all(coding.code)", 13, 11, "`all()` is a code", None),
    ("category.where({})", 15, 2, "can only be empty", None),
    ("iif(status, 1, 2)", 4, 6, "`iif()` is a code", None),
    ("status and true", 0, 6, "`and` needs booleans", "`.exists()`"),
    ("true or 'a'", 8, 3, "`or` needs booleans", None),
    ("status.not()", 7, 3, "`not()` cannot be asked of a code", None),
    ("code.startsWith('x')", 5, 10, "`startsWith()` cannot be asked of a CodeableConcept", None),
    ("value.ofType(Quantity).sqrt()", 23, 4, "`sqrt()` cannot be asked of a Quantity", None),
    ("status = 'finall'", 9, 8, "'finall' is not in the required value set of `status`", "'final'"),
    ("'finall' != status", 0, 8, "'finall' is not in the required", None),
    ("status in ('final' | 'zzz')", 21, 5, "'zzz' is not in the required", "one of amended"),
    ("('a' | 'final') contains status", 1, 3, "'a' is not in the required", None),
    ("%patient.gender ~ 'males'", 18, 7, "value set of `gender`", "'male'"),
    ("value.ofType(Quantity).comparator = '=<'", 36, 4, "value set of `comparator`", None),
    ("code = '4548-4'", 0, 15, "no common values", "`coding.code`"),
    ("status = 5", 0, 10, "no common values", None),
    ("%patient.active = 'true'", 0, 24, "no common values", None),
    ("1 > today()", 0, 11, "no common values", None),
    ("value is Patient", 0, 16, "can never be a Patient", None),
    ("subject.ofType(CodeableConcept)", 8, 23, "can never be a CodeableConcept", None),
    ("status.as(string)", 7, 10, "engines disagree on `as(string)` of a code", "leave"),
    ("repeat(component | codng)", 19, 5, "Observation or Observation.component has no element `codng`", None),
    ("repeat(componnt)", 7, 8, "no element `componnt`", "`component`"),
    ("component.select(valu)", 17, 4, "no element `valu`", "`value`"),
    ("status[idd]", 7, 3, "no element `idd`", None),
    ("-valuee.unit.length()", 1, 6, "no element `valuee`", None),
]

NO_PROBLEMS = [
    "status in ('final' | 'amended')",
    "Observation.status = 'final'",
    "Resource.id.exists() and DomainResource.text.exists()",
    "$this is Observation and $this.as(Observation).status.exists()",
    "category.coding.where(code = 'laboratory').exists()",
    "category.coding.where(userSelected).exists()",
    "value.ofType(Quantity).value > 5.2 and value.unit = '%'",
    "(value as Quantity).value > 5",
    "value < 5 '%' and value < 5",
    "effective <= now() and issued > '2020' and issued > @2020",
    "issued.startsWith('2020')",
    "contained.name.where(family = 'x').exists()",
    "contained.where($this is Patient).name.exists()",
    "contained.ofType(Patient).gender = 'male'",
    "contained.select(Patient.active)",
    "contained.Nope.x",
    "performer.first().resolve().anything",
    "extension('urn:x').value.ofType(Coding).code = 'x'",
    "%claims.anything.at.all = 1",
    "%patient.birthDate < today() - 18 years",
    "%patient.identifier.where(system = %params.s and value = %claims.v).exists()",
    "%ucum = 'x'",
    "status.extension('x').exists()",
    "children().foo",
    "component.repeat(referenceRange).low.value",
    "referenceRange.repeat(appliesTo | age).exists()",
    "repeat(contained).name",
    "repeat(contained | nothing.known)",
    "contained.first() = %claims.x or contained.name = 'x' or contained.first() = code",
    "repeat(code | component | coding | referenceRange).where(text.exists()).exists()",
    "component.code.coding.union(code.coding).code",
    "code.coding.combine(%claims.x).foo",
    "iif(status = 'final', code, category.first()).coding.exists()",
    "coalesce(code, category.first()).text",
    "component.where($index > 0).select($this.code.text)",
    "component.aggregate($total + 1, 0) > 3",
    "code.text & 'x' = 'y'",
    "code.text + 'x' = 'y'",
    "code.coding[0].code = 'x' and code.coding.count() = 1",
    "value.type().name = 'Quantity'",
    "{} = status",
    "id = 'x' and id.matches('x')",
    "language = 'anything'",
    "status.toString() = 'anything'",
    "status is string and status is System.String",
    "'a'.ofType(System.String) = 'a'",
    "component.value.where($this is Quantity).exists()",
    "children().select(first()).exists() and children().where($this.last().exists()).exists()",
    "implicitRules.ofType(url).exists() and subject.display.ofType(code).exists()",
    "-%claims.x = 1 and -{} = 1",
    "2 * value.ofType(Quantity) = 4 'mg' or (value.ofType(integer) | value.ofType(Quantity)).first() + 1 = 2",
    "referenceRange.first().low > 5 and 5 <= referenceRange.first().low",
    "effective.ofType(dateTime) > '2020' and '2020' < effective.ofType(dateTime)",
]


def problems(source: str, release: str = "R4", types: tuple[str, ...] = ()) -> tuple[Problem, ...]:
    return check(parse(source), load(release), ROOTS, types=types)


def shown(source: str, *context: str) -> str:
    return str(static_type(parse(source), load("R4"), ROOTS, context=context))


@pytest.mark.parametrize(("source", "offset", "length", "said", "hint"), PROBLEMS)
def test_problem(source: str, offset: int, length: int, said: str, hint: str | None) -> None:
    found = problems(source)
    assert [(one.offset, one.length) for one in found] == [(offset, length)], found
    assert said in found[0].message
    assert not found[0].is_warning
    if hint is not None:
        assert hint in str(found[0].hint)


@pytest.mark.parametrize("source", NO_PROBLEMS)
def test_no_problem(source: str) -> None:
    assert problems(source) == ()


@pytest.mark.parametrize(
    ("source", "offset", "said"),
    [
        ("status + 5", 0, "`+` has no meaning between a code and an Integer"),
        ("issued + 7 > now()", 0, "`+` has no meaning between an instant and an Integer"),
        ("@2024-01-01 - 7", 0, "`-` has no meaning"),
        ("-status", 0, "`-` needs a number, not a code"),
        ("status.startsWith(5)", 18, "takes a string here, not an Integer"),
        ("category.skip('a').exists()", 14, "takes a number here, not a String"),
        ("('a' | 'b').length()", 12, "asked of one value"),
        ("(true | false) and true", 1, "needs one boolean"),
        ("(1 | 2) + 1 = 3", 1, "needs single values"),
        ("children().first()", 11, "children have no order"),
        ("descendants()[0]", 0, "no order"),
        ("$this.children().skip(1)", 17, "children have no order"),
        ("value.ofType(Quantty)", 6, "`Quantty` is no FHIR type"),
        ("defineVariable('a', 1).defineVariable('a', 2)", 38, "defined already"),
        ("defineVariable('resource', 1)", 15, "a name of the language"),
        ("defineVariable('ucum', 1)", 15, "a name of the language"),
        ("defineVariable('patient', 1)", 15, "a name of the language"),
        ("defineVariable('c', code).select(%c.codng)", 36, "no element `codng`"),
        ("defineVariable('a', 1).code | defineVariable('b', 2).select(%a)", 60, "`%a` is not defined here"),
        ("select(defineVariable('a', 1)).select(%a)", 38, "`%a` is not defined here"),
        ("(code | subject | issued).first().abs()", 34, "asked of a CodeableConcept or Reference or instant"),
        ("length() > 5", 0, "`length()` cannot be asked of an Observation"),
        ("'a'.substring(length())", 14, "cannot be asked of an Observation"),
        ("sort(-subjct).exists()", 6, "no element `subjct`"),
        ("contained.id.ceiling()", 13, "`ceiling()` cannot be asked of an id"),
    ],
)
def test_problem_of_types(source: str, offset: int, said: str) -> None:
    found = [one for one in problems(source) if not one.is_warning]
    assert [one.offset for one in found] == [offset], found
    assert said in found[0].message


@pytest.mark.parametrize(
    ("source", "offset", "said"),
    [
        ("performer.reference.startsWith('x')", 20, "may be several"),
        ("category.coding.userSelected and true", 0, "`and` needs one boolean"),
        ("component.value.ofType(Quantity).value > 5", 0, "`>` needs single values"),
        ("category.where(coding.userSelected)", 15, "the criterion of `where()` is one boolean"),
        ("category.coding.code in ('a' | 'b')", 0, "`in` asks for one value"),
        ("('a' | 'b') contains category.coding.code", 21, "`contains` asks for one value"),
        ("'a' & category.text", 6, "`&` needs single values"),
        ("component.value is Quantity", 0, "`is` is asked of one value"),
        ("'a'.startsWith(category.text)", 15, "takes one value here"),
        ("'a' & (status | subject.display)", 7, "`&` needs single values"),
        ("value.ofType(Quantity) + 1", 0, "a number is a quantity of unit '1' for `+`"),
        ("1 - value.ofType(Quantity)", 0, "a number is a quantity of unit '1' for `-`"),
    ],
)
def test_an_error_for_some_inputs_is_a_warning(source: str, offset: int, said: str) -> None:
    (found,) = problems(source)
    assert found.is_warning
    assert found.offset == offset
    assert said in found.message


@pytest.mark.parametrize(
    ("source", "type_text"),
    [
        ("status", "code 1..1"),
        ("subject", "Reference 0..1"),
        ("subject.reference", "string 0..1"),
        ("category", "CodeableConcept 0..*"),
        ("code.coding", "Coding 0..*"),
        ("code.coding.first().code", "code 0..1"),
        ("code.coding[0]", "Coding 0..1"),
        ("referenceRange", "Observation.referenceRange 0..*"),
        ("component.referenceRange.low.value", "decimal 0..*"),
        ("effective", "Period | Timing | dateTime | instant 0..1"),
        ("value.ofType(Quantity).value", "decimal 0..1"),
        ("value as Quantity", "Quantity 0..1"),
        ("status = 'final'", "System.Boolean 1..1"),
        ("subject = 'final'", "System.Boolean 0..1"),
        ("issued < now()", "System.Boolean 0..1"),
        ("status.exists() and true", "System.Boolean 1..1"),
        ("1 + 1", "System.Integer 0..1"),
        ("1 + 1.0", "System.Decimal 0..1"),
        ("6 / 2", "System.Decimal 0..1"),
        ("7 div 2.5", "System.Integer 0..1"),
        ("issued + 1 day", "System.DateTime 0..1"),
        ("1 'mg' + 1 'g'", "System.Quantity 0..1"),
        ("'a' + 'b'", "System.String 0..1"),
        ("{}", "always empty"),
        ("1 | 2", "System.Integer 2..*"),
        ("1 | 1", "System.Integer 1..*"),
        ("status | subject.display", "code | string 1..*"),
        ("(1).combine(2)", "System.Integer 2..*"),
        ("5L", "System.Long 1..1"),
        ("@2024", "System.Date 1..1"),
        ("@T12:00", "System.Time 1..1"),
        ("2 days", "System.Quantity 1..1"),
        ("category.count()", "System.Integer 1..1"),
        ("status.length()", "System.Integer 1..1"),
        ("subject.display.upper()", "System.String 0..1"),
        ("subject.display.split(' ')", "System.String 0..*"),
        ("iif(status = 'final', code, category.first())", "CodeableConcept 0..1"),
        ("iif(status = 'final', 1)", "System.Integer 0..1"),
        ("iif(status = 'final', 1, 2)", "System.Integer 1..1"),
        ("coalesce(subject.display, 'nobody')", "System.String | string 1..1"),
        ("category.select(text)", "string 0..*"),
        ("category.where(text = 'a')", "CodeableConcept 0..*"),
        ("code.trace('x')", "CodeableConcept 1..1"),
        ("code.distinct()", "CodeableConcept 1..1"),
        ("repeat(component)", "Observation.component 0..*"),
        ("extension('x')", "Extension 0..*"),
        ("contained.id", "id 0..*"),
        ("contained.name", "anything 0..* (the type of the resource is not known)"),
        ("contained.ofType(Patient).name", "HumanName 0..*"),
        ("subject.resolve()", "anything 0..1 (what a reference leads to is not known before it is followed)"),
        ("children()", "anything 0..* (children have any type)"),
        ("%claims.org", "anything 0..* (what `%claims` holds is not known)"),
        ("%prior.status", "code 0..1"),
        ("%patient.birthDate", "date 0..1"),
        ("%ucum", "System.String 1..1"),
        ("%`vs-administrative-gender`", "System.String 1..1"),
        ("%resource", "Observation 1..1"),
        ("%context.status", "code 1..1"),
        ("component.select($index)", "System.Integer 0..*"),
        ("status.$this", "Observation 1..1"),
        ("value.ofType(Quantity).round(1)", "System.Quantity 0..1"),
        ("value.ofType(integer).round(1)", "System.Decimal 0..1"),
        ("effective.ofType(dateTime).duration(issued, 'day')", "System.Integer 0..1"),
        ("code.defineVariable(text).select(coding)", "Coding 0..*"),
        ("aggregate($total + 1)", "anything 0..* (`aggregate()` gives what its last step gave)"),
        ("type()", "anything 0..* (what `type()` gives is not known)"),
        ("component.sort(code.text desc)", "Observation.component 0..*"),
        ("children().sort().first()", "anything 0..1 (children have any type)"),
        ("defineVariable('c', code).select(%c)", "CodeableConcept 1..1"),
        ("(defineVariable('c', code) | code).select(%c)", "anything 0..* (`%c` is not defined here)"),
        ("value.ofType(System.String)", "System.String 0..1"),
        ("value is Quantity", "System.Boolean 0..1"),
        ("status.getValue()", "System.String 0..1"),
        ("value.ofType(Quantity).abs()", "System.Quantity 0..1"),
        ("value.ofType(integer).abs()", "System.Integer 0..1"),
        ("code.getValue()", "anything 0..1 (not known before it is evaluated)"),
        ("-value.ofType(integer)", "System.Integer 0..1"),
        ("value.nothing", "anything 0..* (there is no element `nothing`)"),
        ("repeat(repeat(repeat(component)))", "Observation.component 0..*"),
        ("repeat(repeat(repeat(repeat(component))))", "anything 0..* (`repeat()` is nested too deeply to follow)"),
        ("(1 | 2).distinct()", "System.Integer 1..*"),
        ("%claims.x.first().round(1)", "System.Decimal | System.Quantity 0..1"),
        ("status.round(1)", "System.Decimal 1..1"),
        ("%claims.x | status", "anything 1..* (what `%claims` holds is not known)"),
        ("status | %claims.x", "anything 1..* (what `%claims` holds is not known)"),
        ("subject ~ 'x'", "System.Boolean 1..1"),
        ("subject !~ 'x'", "System.Boolean 1..1"),
        ("1.0 + 1", "System.Decimal 0..1"),
        ("code as CodeableConcept", "CodeableConcept 1..1"),
        ("subject as Reference", "Reference 0..1"),
        ("value.ofType(Quantity) as Quantity", "Quantity 0..1"),
    ],
)
def test_type(source: str, type_text: str) -> None:
    assert shown(source) == type_text


def test_the_start_may_be_a_part_of_the_resource() -> None:
    assert shown("code", "Observation.component") == "CodeableConcept 1..1"
    assert shown("%resource.status", "Observation.component") == "code 1..1"
    assert shown("low", "decimal", "Range") == "Quantity 0..1"
    assert str(static_type(parse("%resource"), load("R4"), {})) == (
        "anything 0..1 (the type of the resource is not known)"
    )
    tree = parse("start <= end and %resource.anything.exists()")
    assert check(tree, load("R5"), {}, context=("Period",)) == ()
    assert check(parse("strt"), load("R5"), {}, context=("Period",))[0].hint == "did you mean `start`?"


def test_a_path_may_begin_with_any_type_that_the_text_is_for() -> None:
    text = "Observation.status = 'final' or DiagnosticReport.status = 'final' or Patient.active"
    assert problems(text, types=("Observation", "DiagnosticReport")) != ()
    assert problems(text, types=("Observation", "DiagnosticReport", "Patient")) == ()


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("clinicalStatus.coding.code = 'actve'", "did you mean 'active'?"),
        ("clinicalStatus.coding.where(code = 'actve').exists()", "did you mean 'active'?"),
        ("clinicalStatus.coding.exists(code in ('active' | 'resolve'))", "did you mean 'resolved'?"),
        ("'zzz' in clinicalStatus.coding.code", "one of active, inactive, "),
    ],
)
def test_a_code_beside_the_bound_ones_is_a_warning(source: str, hint: str) -> None:
    (found,) = check(parse(source), load("R4"), {"resource": "AllergyIntolerance"})
    assert found.is_warning
    assert "is not in the required value set of `clinicalStatus`" in found.message
    assert hint in str(found.hint)


def test_the_code_of_a_concept_without_a_required_binding_may_be_any() -> None:
    for source in ("code.coding.code = 'zzz'", "clinicalStatus.coding.system = 'zzz'", "clinicalStatus.text = 'zzz'"):
        assert check(parse(source), load("R4"), {"resource": "AllergyIntolerance"}) == ()


def test_every_release_has_its_elements_and_codes() -> None:
    assert problems("status = 'cannot-be-obtained'", "R4") != ()
    assert problems("instantiates.exists()", "R4B") != ()
    assert problems("instantiates.exists()", "R5") == ()


def test_a_problem_is_listed_once() -> None:
    assert len(problems("component.repeat(componnt)")) == 1


LEAVES = st.sampled_from(
    (
        *("status", "component", "value", "code", "coding", "contained", "Observation", "nothing", "%patient", "%x"),
        *("$this", "$index", "$total", "{}", "1", "'a'", "2.5", "@2024", "@T12", "5 'mg'", "2 days", "true", "5L"),
    )
)
OPERATORS = st.sampled_from(("=", "~", "<", "+", "-", "*", "/", "div", "mod", "&", "and", "implies", "in", "|"))
CALLS = st.sampled_from(
    (
        *("first()", "length()", "children()", "resolve()", "not()", "sum()", "type()", "extension('x')", "[0]"),
        *("where({0})", "select({0})", "repeat({0})", "iif({0}, {0})", "ofType(Quantity)", "exists({0})", "sort({0})"),
        *("aggregate({0})", "defineVariable('v', {0})", "select(%v)", "matches({0})", "combine({0})", "skip({0})"),
        *("is(code)", "as(Coding)", "coalesce({0}, {0})", "all({0})", "round({0})", "unheard({0})", "status", "$this"),
    )
)


def _longer(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    infix = st.tuples(inner, OPERATORS, inner).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})")
    call = st.tuples(inner, CALLS, inner).map(
        lambda parts: f"({parts[0]}).{parts[1].format(parts[2])}".replace(".[", "[")
    )
    return infix | call | inner.map("-({})".format)


@given(st.recursive(LEAVES, _longer, max_leaves=10))
def test_any_expression_has_a_type_and_problems_with_places(source: str) -> None:
    tree = parse(source)
    for problem in check(tree, load("R4"), ROOTS, wants_boolean=True):
        assert 0 <= problem.offset < len(source)
        assert problem.offset + problem.length <= len(source)
    assert str(static_type(tree, load("R4"), ROOTS))


def test_nested_repeats_cost_their_depth_and_not_its_power() -> None:
    start = time.perf_counter()
    assert problems("repeat(component | " * 40 + "code" + ")" * 40) == ()
    assert shown("repeat(repeat(repeat(repeat(component))))").startswith("anything 0..*")
    assert time.perf_counter() - start < 2
