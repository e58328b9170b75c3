"""What cannot be right is said when a policy is loaded, and nothing else is."""

import pytest

from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from gateway.fhirpath.syntax import Problem
from gateway.fhirpath.typecheck import check

ROOTS = {"resource": "Observation", "prior": "Observation", "patient": "Patient"}


def problems(source: str, release: str = "R4", types: tuple[str, ...] = ()) -> tuple[Problem, ...]:
    program = engine.compile(source, model=release)
    assert isinstance(program, Program), program
    return check(program.tree, program.model, ROOTS, release=release, types=types)


PROBLEMS = [
    ("subjct.reference", 0, 6, "Observation has no element `subjct`", "`subject`"),
    ("name", 0, 4, "Observation has no element `name`", None),
    ("%patient.nam.family", 9, 3, "Patient has no element `nam`", "`name`"),
    ("%prior.statu = 'final'", 7, 5, "Observation has no element `statu`", "`status`"),
    ("%resource.x", 10, 1, "no element `x`", None),
    ("component.cod.coding", 10, 3, "Observation.component has no element `cod`", "`code`"),
    ("code.where(codng.exists())", 11, 5, "CodeableConcept has no element `codng`", "`coding`"),
    ("value.foo", 6, 3, "no type of this choice has an element `foo`", None),
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
    ("value.ofType(Quantity).ceiling()", 23, 7, "`ceiling()` cannot be asked of a Quantity", None),
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


@pytest.mark.parametrize(("source", "offset", "length", "said", "hint"), PROBLEMS)
def test_problem(source: str, offset: int, length: int, said: str, hint: str | None) -> None:
    found = problems(source)
    assert [(one.offset, one.length) for one in found] == [(offset, length)], found
    assert said in found[0].message
    if hint is not None:
        assert hint in str(found[0].hint)


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
]


@pytest.mark.parametrize("source", NO_PROBLEMS)
def test_no_problem(source: str) -> None:
    assert problems(source) == ()


def test_a_path_may_begin_with_any_type_that_the_text_is_for() -> None:
    text = "Observation.status = 'final' or DiagnosticReport.status = 'final' or Patient.active"
    assert problems(text, types=("Observation", "DiagnosticReport")) != ()
    assert problems(text, types=("Observation", "DiagnosticReport", "Patient")) == ()


def test_a_release_without_value_sets_says_nothing_of_codes() -> None:
    assert problems("status = 'finall'", release="R5") == ()
    assert problems("subjct", release="R5") != ()


def test_a_problem_is_listed_once() -> None:
    assert len(problems("component.repeat(componnt)")) == 1
