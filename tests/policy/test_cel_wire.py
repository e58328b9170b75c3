"""CEL trees to protobuf and back, as the engine itself reads them."""

from datetime import UTC, datetime

import pytest
from cel_expr_python import cel  # type: ignore[import-untyped]
from cel_expr_python.ext import ext_optional  # type: ignore[import-untyped]

from gateway.policy import cel_lenient, cel_wire
from gateway.policy.cel_tree import Constant, Entry, StructOf, Type, walk

ENV = cel.NewEnv(
    variables={"x": cel.Type.DYN, "t": cel.Type.TIMESTAMP, "m": cel.Type.Map(cel.Type.STRING, cel.Type.INT)},
    extensions=[ext_optional.ExtOptional()],
)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("[1, 2u, 1.5, 'a', true, null, b'c'].size()", 7),
        ("b'c'", bytearray(b"c")),
        ("2u", 2),
        ("{'a': 1, 'b': {'c': [2]}}['b']['c'][0]", 2),
        ("[?x.?a, 1].size()", 1),
        ("{?'a': x.?a}.size()", 0),
        ("has(x.b) ? x.b : -1", 5),
        ("x.b in [5] && !(x.b < 2) || false", True),
        ("[1, 2, 3].filter(i, i > 1).map(i, i * 2).exists(i, i == 6)", True),
        ("m.all(k, m[k] > 0) && t < timestamp('2030-01-01T00:00:00Z')", True),
        ("google.protobuf.Duration{seconds: 5}.getSeconds()", 5),
        ("type(1) == int", True),
        ("google.protobuf.Int64Value{value: 5} == 5", True),
    ],
)
def test_a_tree_read_and_written_evaluates_as_before(source: str, value: object) -> None:
    tree = cel_wire.decode(ENV.compile(source).serialize())
    program = ENV.deserialize(cel_wire.encode(tree.root))
    data = {"x": {"b": 5}, "m": {"k": 1}, "t": datetime(2026, 1, 1, tzinfo=UTC)}
    found = program.eval(ENV.Activation(data)).value()
    assert found == value


def test_types_and_positions_of_every_node() -> None:
    tree = cel_wire.decode(ENV.compile("m['k'] == 1 && x.b == null && t == t").serialize())
    assert tree.type_of(tree.root) == Type("bool")
    kinds = {tree.type_of(node).kind for node in walk(tree.root)}
    assert kinds >= {"bool", "map", "string", "int", "dyn", "null", "timestamp"}
    assert tree.positions[tree.root.id] > 0
    assert tree.type_of(Constant(1)) == Type("dyn")


def test_a_node_without_a_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="without a kind"):
        cel_wire.decode(b"")


def test_map_entries_of_a_message_have_names_for_keys() -> None:
    node = StructOf("google.protobuf.Duration", (Entry("seconds", Constant(3)),))
    assert ENV.deserialize(cel_wire.encode(node)).eval(ENV.Activation({})).value().total_seconds() == 3
    assert [type(part) for part in walk(node)] == [StructOf, Constant]


def test_only_json_values_become_literals() -> None:
    with pytest.raises(TypeError):
        cel_lenient.literal(object())
