"""YAML is read strictly, and every value knows its place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gateway.yaml_positions import Position, YamlProblems, YamlValue, read, value_at


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: no", {"a": "no"}),
        ("a: on", {"a": "on"}),
        ("a: yes", {"a": "yes"}),
        ("a: true", {"a": True}),
        ("a: False", {"a": False}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: 0x1F", {"a": 31}),
        ("a: 0o17", {"a": 15}),
        ("a: 1.5e3", {"a": 1500.0}),
        ("a: -.5", {"a": -0.5}),
        ("a: 2020-01-01", {"a": "2020-01-01"}),
        ("a: '1'", {"a": "1"}),
        ('a: "x\\ty"', {"a": "x\ty"}),
        ("a: 12345678901234567890", {"a": 1.2345678901234567e19}),
        ("'1': a", {"1": "a"}),
        ("- 1\n- [2, {b: 3}]", [1, [2, {"b": 3}]]),
        ("%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
        ("plain", "plain"),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("{}", {}),
    ],
)
def test_values(text: str, value: YamlValue) -> None:
    read_value = read(text).value
    assert read_value == value
    assert type(read_value) is type(value)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", [(1, 1, "empty")]),
        ("# nothing\n", [(1, 1, "empty")]),
        ("a: &x 1", [(1, 4, "anchor &x")]),
        ("a: &x 1\nb: *x", [(1, 4, "anchor &x"), (2, 4, "alias *x")]),
        ("&x a: 1", [(1, 1, "anchor &x")]),
        ("*x : 1", [(1, 1, "alias *x")]),
        ("a: !!str 1", [(1, 4, "tag")]),
        ("a: !foo {b: 1}", [(1, 4, "tag")]),
        ("<<: {a: 1}", [(1, 1, "merge key")]),
        ("a: 1\na: 2", [(2, 1, "duplicate key a: first given on line 1")]),
        ("b: {a: 1, 'a': 2}", [(1, 11, "duplicate key a")]),
        ("1: a", [(1, 1, "key must be text: quote 1")]),
        ("true: a", [(1, 1, "key must be text: quote true")]),
        (": a", [(1, 1, "quote the empty key")]),
        ("? [a, {b: c}]\n: 1\nd: 2\nd: 3", [(1, 3, "a key must be text"), (4, 1, "duplicate key d")]),
        ("a: 1\n---\nb: &x 2", [(2, 1, "second document")]),
        ("%YAML 1.1\n---\na: 1", [(2, 1, "only YAML 1.2")]),
        ("%TAG !e! tag:e,2000:\n---\na: 1", [(2, 1, "%TAG")]),
        ("a: .inf", [(1, 4, "finite")]),
        ("a: .NaN", [(1, 4, "finite")]),
        ("a: 1e999", [(1, 4, "out of range")]),
        ("a: [1", [(1, 6, "not YAML")]),
        ("a:\n\t- b", [(2, 1, "not YAML")]),
        ("a: b: c", [(1, 5, "not YAML")]),
        ("a: 1\nb: \x00", [(2, 4, "not YAML")]),
        ('a: "\\ud800"', [(1, 4, "surrogate")]),
        ("[" * 200, [(1, 65, "nested deeper than 64")]),
    ],
)
def test_problems(text: str, problems: list[tuple[int, int, str]]) -> None:
    with pytest.raises(YamlProblems) as caught:
        read(text)
    found = caught.value.problems
    assert [(p.position.line, p.position.column) for p in found] == [(line, column) for line, column, _ in problems]
    for problem, (_, _, message) in zip(found, problems, strict=True):
        assert message in problem.message


def test_a_character_without_a_place_is_reported_at_the_start() -> None:
    with pytest.raises(YamlProblems) as caught:
        read("a: \ud800")
    assert caught.value.problems[0].position.line == 1


def test_places_of_values_and_keys() -> None:
    document = read("a: 1\nrules:\n  - id: x\n    cel: y\n")
    assert document.position(("a",)) == Position(1, 4)
    assert document.key_position(("rules", 0, "cel")) == Position(4, 5)
    assert document.position(("rules", 0, "cel")) == Position(4, 10)
    assert document.key_position(("rules", 0)) == Position(3, 5)
    assert document.position(("rules", 0, "missing", "deeper")) == Position(3, 5)
    assert document.position(()) == Position(1, 1)


@pytest.mark.parametrize(
    ("text", "path", "offset", "place"),
    [
        ("a: x == 1", ("a",), 2, Position(1, 6)),
        ('a: "x == 1"', ("a",), 2, Position(1, 7)),
        ("a: 'x == 1'", ("a",), 0, Position(1, 5)),
        ('a: "x\\ty"', ("a",), 2, Position(1, 4)),
        ("a: 'it''s'", ("a",), 4, Position(1, 4)),
        ("a: |\n   abc\n   def\n", ("a",), 5, Position(3, 5)),
        ("a:\n  - |-\n\n    abc\n", ("a", 0), 1, Position(4, 5)),
        ("a: >\n  abc\n", ("a",), 1, Position(1, 4)),
        ("a: 1", ("a",), 1, Position(1, 4)),
        ("a: 1", ("b",), 0, Position(1, 1)),
        ("a: |\n  b\n", ("a",), 2, Position(3, 3)),
    ],
)
def test_places_inside_texts(text: str, path: tuple[str | int, ...], offset: int, place: Position) -> None:
    assert read(text).inside(path, offset) == place


def test_values_at_paths() -> None:
    tree: YamlValue = {"a": [1, {"b": 2}]}
    assert value_at(tree, ("a", 1, "b")) == 2
    assert value_at(tree, ("a", 5)) is None
    assert value_at(tree, ("a", "b")) is None
    assert value_at(tree, (0,)) is None


leaves = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(st.characters(codec="utf-8"), max_size=8)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(trees)
def test_what_is_written_is_read_again(tree: Any) -> None:
    from io import StringIO

    out = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.representer.ignore_aliases = lambda *_: True
    writer.dump({"root": tree}, out)
    assert read(out.getvalue()).value == {"root": tree}
