"""Types for a tree that no type checker has seen: the second engine's own, smaller checker.

It knows FHIR's element model, the names of the language and the standard functions, and finds unknown elements,
names and functions, lists read as single values and numbers compared with texts. The CEL project's checker finds
more; messages are made by the same code for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from google.protobuf import descriptor_pb2  # type: ignore[import-untyped]

from gateway.policy.cel_problems import Draft, Known, phrase
from gateway.policy.cel_source import LET
from gateway.policy.cel_tree import (
    DYN,
    Call,
    Comprehension,
    Constant,
    Ident,
    ListOf,
    Node,
    Select,
    StructOf,
    Tree,
    Type,
    Unsigned,
)
from gateway.policy.cel_types import CLIENT, REQUEST, Property, message_name
from gateway.policy.cel_values import plain

_BOOL, _INT, _TEXT, _OPTIONAL = Type("bool"), Type("int"), Type("string"), Type("optional", items=DYN)
_ERROR: Final = Type("error")
_PROTO: Final = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {_PROTO.TYPE_BOOL: "bool", _PROTO.TYPE_INT64: "int", _PROTO.TYPE_DOUBLE: "double"}
_CONSTANTS: Final = {bool: "bool", int: "int", float: "double", str: "string", bytes: "bytes", Unsigned: "uint"}
_COMPARED: Final = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})
_RESULTS: Final[Mapping[str, Type]] = {
    **dict.fromkeys(("contains", "startsWith", "endsWith", "matches", "hasValue", "@in", "bool", *_COMPARED), _BOOL),
    **dict.fromkeys(("_&&_", "_||_", "!_"), _BOOL),
    **dict.fromkeys(("size", "int", "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek"), _INT),
    **dict.fromkeys(("getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds"), _INT),
    **dict.fromkeys(("of", "none", "ofNonZeroValue"), _OPTIONAL),
    "string": _TEXT,
    "double": Type("double"),
    "uint": Type("uint"),
    "bytes": Type("bytes"),
    "timestamp": Type("timestamp"),
    "duration": Type("duration"),
    "dyn": DYN,
    "type": Type("type"),
}
_SIMPLE: Final = frozenset({"bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration"})
_COMPARABLE: Final = _SIMPLE | {"list", "map", "message", "optional"}
# langdef.md, RESERVED
_RESERVED: Final = frozenset(
    {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"}
    | {"namespace", "return", "var", "void", "while"}
)
_TIMES: Final = frozenset({"timestamp", "duration"})  # a difference of timestamps is a duration
_MACRO_RESULTS: Final = {"@all": _BOOL, "@exists": _BOOL, "@exists_one": _BOOL}
_TYPE_NAMES: Final = frozenset({"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"})


def infer(tree: Tree, known: Known) -> tuple[Tree, list[Draft]]:
    """The same tree with types, and the problems found on the way."""
    inference = _Inference(tree, known)
    inference.visit(tree.root, inference.names())
    return Tree(tree.root, inference.types, tree.positions), inference.drafts


@dataclass(slots=True)
class _Inference:
    tree: Tree
    known: Known
    types: dict[int, Type] = field(default_factory=dict)
    drafts: list[Draft] = field(default_factory=list)

    def names(self) -> dict[str, Type]:
        resource = Type("message", message_name(self.known.type))
        every = {
            **dict.fromkeys(("resource", "prior", "stored"), resource),
            "patient": Type("message", message_name("Patient")),
            "claims": Type("map", items=DYN),
            "client": Type("message", CLIENT),
            "request": Type("message", REQUEST),
        }
        scope = self.known.scope
        found = {name: every[name] for name in scope.available if name in every}
        if "let" in scope.available:
            found[LET] = Type("map", items=DYN)
        if "params" in scope.available:
            found |= {f"params.{name}": _of_value(plain(value)) for name, value in scope.params.items()}
        return found

    def visit(self, node: Node, names: Mapping[str, Type]) -> Type:
        found = self._visit(node, names)
        if node.id:
            self.types[node.id] = found
        return found

    def _visit(self, node: Node, names: Mapping[str, Type]) -> Type:  # noqa: PLR0911 (one per kind)
        match node:
            case Constant():
                return Type(_CONSTANTS[type(node.value)]) if node.value is not None else Type("null")
            case Ident():
                return self._ident(node, names)
            case Select():
                found = self._select(self.visit(node.operand, names), node.field, node)
                return _BOOL if node.test_only and found != _ERROR else found
            case Call():
                return self._call(node, names)
            case ListOf():
                return Type("list", items=_common([self.visit(item, names) for item in node.elements]))
            case StructOf():
                for key in (entry.key for entry in node.entries if not isinstance(entry.key, str)):
                    self.visit(key, names)
                return Type("map", items=_common([self.visit(entry.value, names) for entry in node.entries]))
            case _:
                return self._macro(node, names)

    def _problem(self, node: Node, text: str) -> Type:
        self.drafts.append(phrase(text, self.tree.positions.get(node.id, 0), self.known))
        return _ERROR

    def _ident(self, node: Ident, names: Mapping[str, Type]) -> Type:
        if node.name in names:
            return names[node.name]
        if node.name in _TYPE_NAMES:
            return Type("type")
        if node.name in _RESERVED:
            return self._problem(node, f"reserved identifier: {node.name}")
        return self._problem(node, f"undeclared reference to '{node.name}' (in container '')")

    def _select(self, operand: Type, name: str, node: Node) -> Type:
        match operand.kind:
            case "message":
                found = self.known.types.find(operand.name, name)
                if found is None:
                    return self._problem(node, f"undefined field '{name}' not found in struct '{operand.name}'")
                return _of_property(found)
            case "map":
                return operand.items or DYN
            case "optional" if operand.items is not None:
                found_type = self._select(operand.items, name, node)
                return found_type if found_type == _ERROR else Type("optional", items=found_type)
            case "dyn" | "error":
                return operand
            case _:
                written = _written(operand)
                return self._problem(node, f"expression of type '{written}' cannot be the operand of a select")

    def _call(self, node: Call, names: Mapping[str, Type]) -> Type:
        if node.target == Ident("optional", node.target.id if node.target else 0):
            return self._optional(node, names)
        operands = [] if node.target is None else [self.visit(node.target, names)]
        operands += [self.visit(argument, names) for argument in node.args]
        if _ERROR in operands:
            return _ERROR
        if self._mismatch(node.function, operands):
            return self._overload(node, operands)
        return self._call_result(node, operands)

    def _mismatch(self, function: str, operands: list[Type]) -> bool:
        if function in _COMPARED:
            left, right = (operand.kind for operand in operands)
            return left != right and left in _COMPARABLE and right in _COMPARABLE
        if function in ("_&&_", "_||_", "!_"):
            return any(operand.kind not in ("bool", "dyn") for operand in operands)
        return function in ("_[_]", "_[?_]") and operands[0].kind not in ("list", "map", "dyn", "optional")

    def _call_result(self, node: Call, operands: list[Type]) -> Type:  # noqa: PLR0911 (one per kind)
        match node.function:
            case "_?._":
                found = self._select(operands[0], str(_value(node.args[1])), node)
                return found if found.kind in ("error", "optional") else Type("optional", items=found)
            case "_[_]" if operands[0].kind == "optional":
                return Type("optional", items=DYN)
            case "_[_]" | "orValue" | "value":
                return operands[0].items or DYN
            case "_[?_]":
                return Type("optional", items=operands[0].items or DYN)
            case "_?_:_":
                return operands[1] if operands[1] == operands[2] else DYN
            case "_+_" | "_-_" | "_*_" | "_/_" | "_%_" | "-_":
                return operands[0] if len(set(operands)) == 1 and operands[0].kind not in _TIMES else DYN
            case function:
                return _RESULTS.get(function) or self._problem_function(node)

    def _problem_function(self, node: Call) -> Type:
        at = self.tree.positions.get(node.id, 0)
        self.drafts.append(Draft(at, f"unknown function '{node.function}'", name=node.function))
        return _ERROR

    def _optional(self, node: Call, names: Mapping[str, Type]) -> Type:
        arguments = [self.visit(argument, names) for argument in node.args]
        if node.function not in ("of", "none", "ofNonZeroValue"):
            return self._problem_function(node)
        return Type("optional", items=arguments[0] if arguments else DYN)

    def _overload(self, node: Call, arguments: list[Type]) -> Type:
        text = f"found no matching overload for '{node.function}' applied to '({', '.join(map(_written, arguments))})'"
        return self._problem(node, text)

    def _macro(self, node: Comprehension, names: Mapping[str, Type]) -> Type:
        items = self.visit(node.iter_range, names)
        if items.kind not in ("list", "map", "dyn", "error"):
            text = f"expression of type '{_written(items)}' cannot be the range of a comprehension"
            return self._problem(node.iter_range, text)
        variable = {"list": items.items or DYN, "map": _TEXT}.get(items.kind, DYN)
        accu = _MACRO_RESULTS.get(node.accu_var, DYN)
        found = self.visit(node.loop_step, {**names, node.iter_var: variable, node.accu_var: accu})
        if _ERROR in (items, found):
            return _ERROR
        if node.accu_var == "@filter":
            return Type("list", items=variable)
        return _MACRO_RESULTS.get(node.accu_var, Type("list", items=DYN))


def _value(node: Node) -> object:
    return node.value if isinstance(node, Constant) else None


def _common(types: list[Type]) -> Type:
    return types[0] if types and all(found == types[0] for found in types) else DYN


def _of_property(found: Property) -> Type:
    if found.message is None:
        one = Type(_SCALARS.get(found.kind, "string"))
    else:
        one = _WELL_KNOWN.get(found.message) or Type("message", found.message.removeprefix("."))
    return Type("list", items=one) if found.many else one


def _of_value(value: object) -> Type:
    match value:
        case list() | tuple():
            return Type("list", items=_common([_of_value(item) for item in value]))
        case Mapping():
            return Type("map", items=_common([_of_value(item) for item in value.values()]))
        case _:
            return Type(_CONSTANTS.get(type(value), "dyn"))


def _written(found: Type) -> str:
    """A type as the CEL project's checker writes it."""
    if found.kind in ("list", "optional"):
        return f"{'list' if found.kind == 'list' else 'optional_type'}({_written(found.items or DYN)})"
    return {"message": found.name, "map": "map(string, dyn)", "timestamp": "google.protobuf.Timestamp"}.get(
        found.kind, found.kind
    )


_WELL_KNOWN: Final = {
    ".google.protobuf.Struct": Type("map", items=DYN),
    ".google.protobuf.Timestamp": Type("timestamp"),
}
