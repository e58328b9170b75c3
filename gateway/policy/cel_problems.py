"""Turns the type checker's messages into problems that a policy author understands, at an offset in the text."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.policy.cel_source import LET
from gateway.policy.cel_tree import Type
from gateway.policy.cel_types import CLIENT, REQUEST, Types, element_path
from gateway.policy.expression import NAMES, ExpressionProblem, Scope


@dataclass(frozen=True, slots=True)
class Draft:
    """A problem found for one resource type. `{owner}` in the message stands for `owner`, the type it speaks of."""

    at: int
    message: str
    owner: str = ""
    hint: str | None = None
    is_warning: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What the messages are explained with."""

    source: str
    scope: Scope
    types: Types
    type: str


TOO_DEEP: Final = "the expression is nested too deeply"
_MESSAGE: Final = re.compile(r"^(?:INVALID_ARGUMENT: )?ERROR: <input>:(\d+):(-?\d+): (.*)$", re.MULTILINE)
_TOKEN: Final = re.compile(r"""[A-Za-z_]\w*|"[^"\n]*"|'[^'\n]*'|[=!<>]=|&&|\|\|""")
_SPOKEN: Final = {
    "bool": "a boolean",
    "int": "an integer",
    "uint": "an unsigned integer",
    "double": "a decimal",
    "string": "a text",
    "bytes": "bytes",
    "google.protobuf.Timestamp": "a timestamp",
    "google.protobuf.Duration": "a duration",
    "timestamp": "a timestamp",
    "duration": "a duration",
    "null": "null",
    "null_type": "null",
    "dyn": "anything",
    "map": "a map",
    "type": "a type",
}


def closest(name: str, known: Iterable[str]) -> str | None:
    """`did you mean 'x'?` for the known name that is nearest, if any is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else None


def spoken(found: Type) -> str:
    """A checked type in words: `a list of Coding`."""
    if found.kind in ("list", "optional") and found.items is not None:
        noun = "a list of" if found.kind == "list" else "an optional"
        return f"{noun} {_bare(spoken(found.items))}"
    if found.kind == "message":
        return _article(element_path(found.name))
    return _SPOKEN.get(found.kind, "something else")


def explain(text: str, known: Known) -> list[Draft]:
    """Every message of the checker as a draft; those that only follow from another are left out."""
    drafts = []
    for line, column, message in _MESSAGE.findall(text):
        at = _offset(known.source, int(line), int(column))
        clean = message.removesuffix(" [INVALID_ARGUMENT]")
        if "*error*" not in clean:
            drafts.append(phrase(clean, at, known))
        if "Syntax error" in clean:
            break  # what follows is an echo of the first
    return drafts or [Draft(0, TOO_DEEP if "recursion" in text else "cannot be compiled")]


def merge(drafts: Mapping[str, Sequence[Draft]], source: str) -> tuple[ExpressionProblem, ...]:
    """One problem for what is wrong for several types, naming the types where it is not wrong for all."""
    types: dict[tuple[int, str, bool], dict[str, Draft]] = {}
    for name, found in drafts.items():
        for draft in found:
            types.setdefault((draft.at, draft.message, draft.is_warning), {})[name] = draft
    problems = []
    for (at, message, is_warning), by_type in types.items():
        owners = dict.fromkeys(draft.owner for draft in by_type.values())
        text = message.replace("{owner}", " and ".join(owners))
        if len(by_type) < len(drafts) and "{owner}" not in message:
            text += f" (for {', '.join(by_type)})"
        offset, length = _span(source, at, next(iter(by_type.values())).name)
        hints = dict.fromkeys(draft.hint for draft in by_type.values() if draft.hint)
        problems.append(
            ExpressionProblem(
                message=text, offset=offset, length=length, hint="; ".join(hints) or None, is_warning=is_warning
            )
        )
    return tuple(sorted(problems, key=lambda p: (p.is_warning, p.offset)))


def _offset(source: str, line: int, column: int) -> int:
    """Both count from 1; lines end with a line feed, columns are code points."""
    start = 0
    for _ in range(line - 1):
        start = source.find("\n", start) + 1
    return max(0, min(start + column - 1, len(source)))


def _span(source: str, at: int, name: str) -> tuple[int, int]:
    """Selects and calls are reported at their `.` or `(`: move to the word that is meant."""
    if name:
        name = re.escape(name)
        here = re.compile(rf"[.?\s]*\b({name})\b").match(source, at)
        before = re.search(rf"\b({name})\s*$", source[:at]) if source[at : at + 1] in ("(", ".") else None
        inside = re.compile(rf"[.?]\s*({name})\b").search(source, at)
        at = next((found.start(1) for found in (here, before, inside) if found), at)
    while at < len(source) and source[at] in ".? \t\r\n":
        at += 1
    token = _TOKEN.match(source, at)
    return min(at, len(source)), len(token[0]) if token else 1


def phrase(message: str, at: int, known: Known) -> Draft:
    """One message of the type checker in the words of the policy language."""
    for pattern, make in _RULES:
        if found := pattern.search(message):
            return make(found, at, known)
    return Draft(at, message)


def _unknown_element(found: re.Match[str], at: int, known: Known) -> Draft:
    name, message = found[1], found[2]
    fields = known.types.names(message)
    if message in (CLIENT, REQUEST):
        owner = "client" if message == CLIENT else "request"
        return Draft(at, f"unknown name '{name}' of {owner}", hint=closest(name, fields) or _list(fields), name=name)
    choices = [f for f in fields if f.startswith(name) and f[len(name) : len(name) + 1].isupper()]
    hint = f"write the type into the name: {_list(choices)}" if choices else closest(name, fields)
    return Draft(at, f"unknown element '{name}' of {{owner}}", element_path(message), hint, name=name)


def _undeclared(found: re.Match[str], at: int, known: Known) -> Draft:
    name, _, rest = found[1].partition(".")
    name = "let" if name == LET else name
    scope = known.scope
    if known.source[at : at + 1] == "(":
        return Draft(at, f"unknown function '{name}'", name=name)
    if name == "params" and name in scope.available:
        if not rest:
            return Draft(at, "`params` is not a value of its own", hint="write params.name", name=name)
        return Draft(at, f"unknown parameter '{rest}'", hint=closest(rest, scope.params), name=rest)
    if name in NAMES:
        hint = "only rules with `phase: after` see it" if name == "stored" else None
        return Draft(at, f"'{name}' cannot be used here", hint=hint, name=name)
    if known.types.find(f"fhir.{known.type}", name):
        return Draft(at, f"unknown name '{name}'", hint=f"write resource.{name}", name=name)
    return Draft(at, f"unknown name '{name}'", hint=closest(name, scope.available), name=name)


def _overload(found: re.Match[str], at: int, _: Known) -> Draft:
    function, arguments = found[1], [_argument(part) for part in _split(found[2])]
    operator = function.strip("_").replace("_", " ").strip()
    hint = None
    pair = {_bare(argument) for argument in arguments}
    if pair == {"decimal", "integer"}:
        hint = "write 0.0: a decimal is compared with a number that has a point"
    elif pair == {"text", "timestamp"}:
        hint = "write timestamp(…) around the text"
    elif function in ("_==_", "_!=_") and any(argument.startswith("a list") for argument in arguments):
        hint = "it repeats: write .exists(x, x == …)"
    if function == "_[_]":
        operator, hint = "[ ]", hint or "elements are read with a dot"
    if function == "@in":
        operator = "in"
    if function.isidentifier() and not function.startswith("_"):
        operator = f"{function}()"
    return Draft(at, f"'{operator}' does not work on {' and '.join(arguments)}", hint=hint)


def _operand(found: re.Match[str], at: int, _: Known) -> Draft:
    what = _argument(found[1])
    if what.startswith("a list"):
        return Draft(at, f"an element is read from {what}", hint="it repeats: write .exists(x, x.…) or [0]")
    return Draft(at, f"{what} has no elements")


def _range(found: re.Match[str], at: int, _: Known) -> Draft:
    return Draft(at, f"a macro such as exists() needs a list; this is {_argument(found[1])}")


def _reserved(found: re.Match[str], at: int, _: Known) -> Draft:
    return Draft(at, f"'{found[1]}' is a reserved word of CEL")


def _syntax(found: re.Match[str], at: int, _: Known) -> Draft:
    detail = found[1]
    quoted = re.search(r"(?:input|at:|at) '(.*?)'(?: expecting|$)", detail)
    word = quoted[1].strip() if quoted else ""
    hint = "CEL writes ==, !=, &&, || and !" if word in ("=", "and", "or", "not", "&", "|", "<>") else None
    if word == "<EOF>":
        return Draft(at, "syntax error: the expression ends too early")
    if word:
        return Draft(at, f"syntax error at '{word}'", hint=hint)
    return Draft(at, f"syntax error: {detail}")


_Rule = Callable[[re.Match[str], int, Known], Draft]
_RULES: Final[tuple[tuple[re.Pattern[str], _Rule], ...]] = (
    (re.compile(r"^undefined field '(.*)' not found in struct '(.*)'"), _unknown_element),
    (re.compile(r"^undeclared reference to '(.*)' \(in container"), _undeclared),
    (re.compile(r"^found no matching overload for '(.*)' applied to '\((.*)\)'"), _overload),
    (re.compile(r"^expression of type '(.*)' cannot be the operand of a select"), _operand),
    (re.compile(r"^expression of type '(.*)' cannot be the range of a comprehension"), _range),
    (re.compile(r"^reserved identifier: (.*)"), _reserved),
    (re.compile(r"^Syntax error: (.*)"), _syntax),
)


def _split(arguments: str) -> list[str]:
    """`list(a, b), c` at its outer commas."""
    parts, depth = [""], 0
    for character in arguments:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _argument(text: str) -> str:
    """A type as the checker writes it, in words."""
    if text.startswith("list("):
        return f"a list of {_bare(_argument(text[5:-1]))}"
    if text.startswith(("optional_type(", "optional(")):
        return f"an optional {_bare(_argument(text.partition('(')[2][:-1]))}"
    if text.startswith("map("):
        return "a map"
    if text.startswith(("fhir.", "gateway.")):
        return _article(element_path(text))
    return _SPOKEN.get(text.removeprefix("wrapper(").removesuffix(")"), text)


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOU' else 'a'} {noun}"


def _bare(phrase: str) -> str:
    return phrase.removeprefix("an ").removeprefix("a ")


def _list(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:6]) + (", …" if len(found) > 6 else "")  # noqa: PLR2004 (fits a line)
