"""A problem as a person reads it."""

from gateway.policy.problems import PolicyErrors, Problem, ProblemSeverity, in_order

ONE = Problem(file="a.yaml", line=2, column=8, message="unknown element", length=6, excerpt="  cel: subjct == 'x'")
WARNING = Problem(file="a.yaml", line=1, column=1, message="odd", hint="try", severity=ProblemSeverity.WARNING)


def test_a_problem_says_where_and_what() -> None:
    assert str(ONE) == "a.yaml:2:8: unknown element"
    assert str(WARNING) == "a.yaml:1:1: warning: odd"


def test_a_problem_is_shown_with_a_caret_below_its_place() -> None:
    assert ONE.render().split("\n") == [
        "a.yaml:2:8: unknown element",
        "      cel: subjct == 'x'",
        "           ^^^^^^",
    ]


def test_the_caret_ends_with_the_line() -> None:
    long = Problem(file="a", line=1, column=3, message="m", length=99, excerpt="abcd")
    assert long.render().split("\n")[2] == "      ^^"


def test_a_hint_follows() -> None:
    assert WARNING.render() == "a.yaml:1:1: warning: odd\n    hint: try"


def test_problems_come_once_and_in_order() -> None:
    assert in_order([ONE, WARNING, ONE]) == (WARNING, ONE)


def test_the_exception_carries_them_all() -> None:
    errors = PolicyErrors([ONE, WARNING])
    assert errors.problems == (WARNING, ONE)
    assert str(errors) == "a.yaml:1:1: warning: odd\na.yaml:2:8: unknown element"
