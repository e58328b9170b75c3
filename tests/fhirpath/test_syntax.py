"""What is wrong with a text, and where."""

import pytest

from gateway.fhirpath import engine
from gateway.fhirpath.engine import Program
from gateway.fhirpath.lexer import MAX_SOURCE
from gateway.fhirpath.parser import MAX_DEPTH, MAX_NESTING
from gateway.fhirpath.unsupported import UNSUPPORTED


@pytest.mark.parametrize(
    ("source", "offset", "said", "hint"),
    [
        ("", 0, "empty", None),
        ("  \n", 0, "empty", None),
        ("a" * (MAX_SOURCE + 1), 0, "longer", None),
        ("(" * (MAX_NESTING + 1) + "1" + ")" * (MAX_NESTING + 1), MAX_NESTING, "brackets", None),
        (" and ".join(["a"] * (MAX_DEPTH + 5)), 0, "depend on each other", None),
        ("-" * 5_000 + "1", MAX_NESTING, "brackets", None),
        ("a.", 2, "ends too early", None),
        ("name.exists(", 12, "ends too early", None),
        ("a and\n  b c", 10, "`c` is not expected", None),
        ("a..b", 2, "`.` is not expected", None),
        ("div.exists()", 0, "`div` is not expected", "with backquotes: `div`"),
        ("'abc", 0, "not closed", None),
        ("a = é", 4, "begins nothing", None),
        ("a = @2020-13", 4, "no valid date", None),
        ("a = @2021-02-29", 4, "no valid date", None),
        ("@T25:00", 0, "no valid date", None),
        ("@T14:34:28Z.is(Time)", 10, "no offset from UTC", "leave it out"),
        ("@T14:34+10:00", 7, "no offset from UTC", "leave it out"),
        ("@T25:00Z", 0, "no valid date", None),
        (r"a.matches('\d')", 11, r"`\d` is no escape", r"write `\\d`"),
        (r"a.matches('x\\\d')", 14, r"`\d` is no escape", r"write `\\d`"),
        ("a.matches('[')", 10, "RE2", "back-references"),
        ("a.matches('(?=b)')", 10, "RE2", "look-around"),
        ("a.replaceMatches('(', 'b')", 17, "RE2", None),
        ("a.matches('" + "b" * 1001 + "')", 10, "longer than", None),
        ("nme.exsts()", 4, "no function `exsts()`", "`exists()`"),
        ("a.zzzzzz()", 2, "no function", None),
        ("a.where()", 2, "takes 1 argument, not 0", None),
        ("a.substring(1, 2, 3)", 2, "takes 1 to 2 arguments, not 3", None),
        ("coalesce()", 0, "at least 1", None),
        ("a.subsumes(b)", 2, "`subsumes()` needs a terminology server", "list the codes"),
        ("a.elementDefinition()", 2, "`elementDefinition()` needs profiles", "the elements themselves"),
        ("a.pathname()", 2, "does not know where it stands", None),
        ("@2024.duration(@2025, 'decade')", 22, "no precision", "one of year, month"),
        ("Coding { code: 'a' }", 7, "`{` is not expected", "one by one"),
        ("a is Patiend", 5, "`Patiend` is no FHIR type", "`Patient`"),
        ("a.ofType(Qantity)", 9, "`Qantity` is no FHIR type", "`Quantity`"),
        ("a.ofType(FHIR.Quantity.value)", 9, "type name is expected", None),
        ("a.as('x')", 5, "type name is expected", None),
        ("a is Zzzz.Patient", 5, "no FHIR type", None),
        ("children().first()", 0, "no order", None),
        ("a.descendants()[0]", 2, "no order", None),
        ("$that", 0, "begins nothing", None),
        ("/* open", 0, "comment is not closed", None),
    ],
)
def test_problem(source: str, offset: int, said: str, hint: str | None) -> None:
    problems = engine.compile(source, strict=True)
    assert isinstance(problems, tuple)
    assert said in problems[0].message
    assert problems[0].offset == offset
    assert problems[0].length >= 1
    if hint is not None:
        assert hint in str(problems[0].hint)


@pytest.mark.parametrize(
    "source",
    [
        "a is FHIR.Quantity",
        "a is System.String",
        "(a | b).first() is string",
        "(a | b) is string",
        "a | b is string",
        "text.div.exists()",
        "a.children().count()",
        "`div` = 'x'",
        "name /* a comment */ // and one more\n .given",
        "%'name'",
        "a.matches(b)",
        "a.matches({})",
    ],
)
def test_no_problem(source: str) -> None:
    assert isinstance(engine.compile(source), Program)


def test_every_problem_is_listed_in_order() -> None:
    problems = engine.compile("a.foo1() and b.bar2() and c is Nope")
    assert isinstance(problems, tuple)
    assert [problem.offset for problem in problems] == [2, 15, 31]


def test_every_refused_function_has_a_reason_and_is_refused() -> None:
    for name, reason in UNSUPPORTED.items():
        problems = engine.compile(f"a.{name}()")
        assert reason
        assert isinstance(problems, tuple)
        assert problems[0].message == f"`{name}()` {reason}"


def test_a_backslash_that_begins_no_escape_is_dropped_by_the_language_and_refused_in_a_policy() -> None:
    source = r"'\p\u12\uZZ' & `\u005`"
    problems = engine.compile(source, strict=True)
    assert isinstance(problems, tuple)
    assert (problems[0].message, problems[0].kind) == (r"`\p` is no escape of FHIRPath", "syntax")
    program = engine.compile(source)
    assert isinstance(program, Program)
    assert program.evaluate({"u005": "x"}).values == ["pu12uZZx"]


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        (r"'a\ud83d\ude00\u00e9'", "a😀é"),
        (r"'\ud83d'", "\ud83d"),
        (r"'\u00e9\'\\n\n\t\r\f\`\/\"'", "é'\\n\n\t\r\f`/\""),
        ("''", ""),
    ],
)
def test_escapes_are_read_once(literal: str, text: str) -> None:
    program = engine.compile(literal)
    assert isinstance(program, Program)
    assert program.evaluate(None).values == [text]
