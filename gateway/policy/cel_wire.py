"""The one door between CEL syntax trees and their protobuf form, `cel.expr.CheckedExpr` and `cel.expr.ParsedExpr`.

The message descriptors are built here, with the field numbers of
https://github.com/google/cel-spec/tree/master/proto/cel/expr (syntax.proto, checked.proto): only the messages
that the gateway reads or writes, so that no generated file has to be kept. Fields left out here (macro calls,
overload references) are skipped when reading and are not needed to evaluate.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from google.protobuf import (  # type: ignore[import-untyped]
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

from gateway.policy.cel_tree import (
    DYN,
    Call,
    Comprehension,
    Constant,
    Entry,
    Ident,
    ListOf,
    Node,
    Select,
    StructOf,
    Tree,
    Type,
    Unsigned,
)

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_KINDS: Final = {
    "bool": _FIELD.TYPE_BOOL,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint64": _FIELD.TYPE_UINT64,
    "double": _FIELD.TYPE_DOUBLE,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "enum": _FIELD.TYPE_INT32,  # enums are varints on the wire; their numbers are named below
}

# message -> "name number type", `*` for repeated, `?` for members of the message's one oneof.
_MESSAGES: Final[Mapping[str, str]] = {
    "ParsedExpr": "expr 2 Expr",
    "CheckedExpr": "type_map 3 *TypeEntry, expr 4 Expr, source_info 5 SourceInfo",
    "SourceInfo": "positions 4 *PositionEntry",
    "PositionEntry": "key 1 int64, value 2 int32",
    "TypeEntry": "key 1 int64, value 2 Type",
    "Expr": "id 2 int64, const_expr 3 ?Constant, ident_expr 4 ?Ident, select_expr 5 ?Select, call_expr 6 ?Call, "
    "list_expr 7 ?CreateList, struct_expr 8 ?CreateStruct, comprehension_expr 9 ?Comprehension",
    "Ident": "name 1 string",
    "Select": "operand 1 Expr, field 2 string, test_only 3 bool",
    "Call": "target 1 Expr, function 2 string, args 3 *Expr",
    "CreateList": "elements 1 *Expr, optional_indices 2 *int32",
    "CreateStruct": "message_name 1 string, entries 2 *Entry",
    "Entry": "id 1 int64, field_key 2 ?string, map_key 3 ?Expr, value 4 Expr, optional_entry 5 bool",
    "Comprehension": "iter_var 1 string, iter_range 2 Expr, accu_var 3 string, accu_init 4 Expr, "
    "loop_condition 5 Expr, loop_step 6 Expr, result 7 Expr, iter_var2 8 string",
    "Constant": "null_value 1 ?enum, bool_value 2 ?bool, int64_value 3 ?int64, uint64_value 4 ?uint64, "
    "double_value 5 ?double, string_value 6 ?string, bytes_value 7 ?bytes",
    "Type": "dyn 1 ?Empty, null 2 ?enum, primitive 3 ?enum, wrapper 4 ?enum, well_known 5 ?enum, "
    "list_type 6 ?ListType, map_type 7 ?MapType, function 8 ?Empty, message_type 9 ?string, type_param 10 ?string, "
    "type 11 ?Type, error 12 ?Empty, abstract_type 14 ?AbstractType",
    "Empty": "",
    "ListType": "elem_type 1 Type",
    "MapType": "key_type 1 Type, value_type 2 Type",
    "AbstractType": "name 1 string, parameter_types 2 *Type",
}
_PRIMITIVES: Final = {1: "bool", 2: "int", 3: "uint", 4: "double", 5: "string", 6: "bytes"}
_WELL_KNOWN: Final = {1: "any", 2: "timestamp", 3: "duration"}


@cache
def _classes() -> Mapping[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="gateway/cel_expr.proto", package="cel.expr", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in filter(None, fields.split(", ")):
            field_name, number, kind = text.split(" ")
            field = message.field.add(name=field_name, number=int(number))
            field.label = _FIELD.LABEL_REPEATED if kind.startswith("*") else _FIELD.LABEL_OPTIONAL
            bare = kind.lstrip("*?")
            if bare in _KINDS:
                field.type = _KINDS[bare]
            else:
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".cel.expr.{bare}"
            if kind.startswith("?"):
                if not message.oneof_decl:
                    message.oneof_decl.add(name="kind")
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"cel.expr.{n}")) for n in _MESSAGES}


def decode(serialized: bytes) -> Tree:
    """The tree of what `Expression.serialize()` gave for a checked expression."""
    message = _classes()["CheckedExpr"]()
    message.ParseFromString(any_pb2.Any.FromString(serialized).value)
    return Tree(
        root=_node(message.expr),
        types={entry.key: _type(entry.value) for entry in message.type_map},
        positions={entry.key: entry.value for entry in message.source_info.positions},
    )


def encode(root: Node) -> bytes:
    """What `Env.deserialize()` reads: an `Any` of a `ParsedExpr`. Every node gets a fresh id."""
    message = _classes()["ParsedExpr"]()
    _Writer().write(root, message.expr)
    parsed = any_pb2.Any(type_url="type.googleapis.com/cel.expr.ParsedExpr", value=message.SerializeToString())
    serialized: bytes = parsed.SerializeToString()
    return serialized


def _type(message: Any) -> Type:  # noqa: PLR0911 (one per kind)
    kind = message.WhichOneof("kind")
    match kind:
        case "list_type":
            return Type("list", items=_type(message.list_type.elem_type))
        case "map_type":
            return Type("map", items=_type(message.map_type.value_type))
        case "message_type":
            return Type("message", name=message.message_type)
        case "primitive":
            return Type(_PRIMITIVES[message.primitive])
        case "wrapper":
            return Type(_PRIMITIVES[message.wrapper])
        case "well_known":
            return Type(_WELL_KNOWN[message.well_known])
        case "abstract_type":
            parameters = [_type(p) for p in message.abstract_type.parameter_types]
            optional = message.abstract_type.name == "optional_type" and parameters
            return Type("optional", items=parameters[0]) if optional else Type("abstract")
        case "dyn" | "type_param" | None:
            return DYN
        case _:
            return Type(kind)


def _node(message: Any) -> Node:  # noqa: PLR0911 (one per kind)
    kind = message.WhichOneof("kind")
    match kind:
        case "const_expr":
            return Constant(_constant(message.const_expr), message.id)
        case "ident_expr":
            return Ident(message.ident_expr.name, message.id)
        case "select_expr":
            select = message.select_expr
            return Select(_node(select.operand), select.field, select.test_only, message.id)
        case "call_expr":
            call = message.call_expr
            target = _node(call.target) if call.HasField("target") else None
            return Call(call.function, tuple(map(_node, call.args)), target, message.id)
        case "list_expr":
            items = message.list_expr
            return ListOf(tuple(map(_node, items.elements)), tuple(items.optional_indices), message.id)
        case "struct_expr":
            struct = message.struct_expr
            return StructOf(struct.message_name, tuple(map(_entry, struct.entries)), message.id)
        case "comprehension_expr":
            return _comprehension(message.comprehension_expr, message.id)
        case _:
            raise ValueError("a CEL node without a kind")


def _entry(message: Any) -> Entry:
    key = _node(message.map_key) if message.WhichOneof("kind") == "map_key" else message.field_key
    return Entry(key, _node(message.value), message.optional_entry, message.id)


def _comprehension(message: Any, node_id: int) -> Comprehension:
    return Comprehension(
        iter_var=message.iter_var,
        iter_range=_node(message.iter_range),
        accu_var=message.accu_var,
        accu_init=_node(message.accu_init),
        loop_condition=_node(message.loop_condition),
        loop_step=_node(message.loop_step),
        result=_node(message.result),
        iter_var2=message.iter_var2,
        id=node_id,
    )


def _constant(message: Any) -> bool | int | float | str | bytes | Unsigned | None:
    kind = message.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    value: bool | int | float | str | bytes = getattr(message, kind)
    return Unsigned(int(value)) if kind == "uint64_value" else value


class _Writer:
    def __init__(self) -> None:
        self.last = 0

    def write(self, node: Node, out: Any) -> None:
        self.last += 1
        out.id = self.last
        match node:
            case Constant():
                self._constant(node, out.const_expr)
            case Ident():
                out.ident_expr.name = node.name
            case Select():
                out.select_expr.field = node.field
                out.select_expr.test_only = node.test_only
                self.write(node.operand, out.select_expr.operand)
            case Call():
                out.call_expr.function = node.function
                if node.target is not None:
                    self.write(node.target, out.call_expr.target)
                for arg in node.args:
                    self.write(arg, out.call_expr.args.add())
            case ListOf():
                out.list_expr.SetInParent()
                out.list_expr.optional_indices.extend(node.optional)
                for element in node.elements:
                    self.write(element, out.list_expr.elements.add())
            case StructOf():
                self._struct(node, out.struct_expr)
            case _:
                self._comprehension(node, out.comprehension_expr)

    def _constant(self, node: Constant, out: Any) -> None:
        match node.value:
            case None:
                out.null_value = 0
            case bool():
                out.bool_value = node.value
            case int():
                out.int64_value = node.value
            case Unsigned():
                out.uint64_value = node.value.value
            case float():
                out.double_value = node.value
            case str():
                out.string_value = node.value
            case _:
                out.bytes_value = node.value

    def _struct(self, node: StructOf, out: Any) -> None:
        out.message_name = node.message
        for entry in node.entries:
            made = out.entries.add()
            self.last += 1
            made.id, made.optional_entry = self.last, entry.optional
            if isinstance(entry.key, str):
                made.field_key = entry.key
            else:
                self.write(entry.key, made.map_key)
            self.write(entry.value, made.value)

    def _comprehension(self, node: Comprehension, out: Any) -> None:
        out.iter_var, out.iter_var2, out.accu_var = node.iter_var, node.iter_var2, node.accu_var
        for part in ("iter_range", "accu_init", "loop_condition", "loop_step", "result"):
            self.write(getattr(node, part), getattr(out, part))
