"""From text to tree: a Pratt parser for the FHIRPath grammar.

https://build.fhir.org/ig/HL7/FHIRPath/grammar.html; the binding powers are those of
https://hl7.org/fhirpath/N1/#operator-precedence.
"""

from decimal import Decimal
from typing import Final

from gateway.fhirpath.lexer import OFFSET, Syntax, Token, tokens, unquote
from gateway.fhirpath.quantity import Quantity
from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.tree import (
    Binary,
    Constant,
    Empty,
    Function,
    Index,
    Indexer,
    Literal,
    Long,
    Member,
    Node,
    Path,
    SortKey,
    This,
    Total,
    TypeOp,
    Unary,
    Variable,
    operands,
)

__all__ = ["MAX_DEPTH", "MAX_NESTING", "Syntax", "parse"]

MAX_NESTING: Final = 60  # brackets and signs; keeps the recursive parser far from Python's own limit
MAX_DEPTH: Final = 150  # levels of the tree; the same for whatever walks it

_POWERS: Final = {
    "implies": 10,
    **dict.fromkeys(("or", "xor"), 20),
    "and": 30,
    **dict.fromkeys(("in", "contains"), 40),
    **dict.fromkeys(("=", "~", "!=", "!~"), 50),
    **dict.fromkeys(("<", "<=", ">", ">="), 60),
    "|": 70,
    **dict.fromkeys(("is", "as"), 80),
    **dict.fromkeys(("+", "-", "&"), 90),
    **dict.fromkeys(("*", "/", "div", "mod"), 100),
    **dict.fromkeys((".", "["), 120),
}
_SIGN: Final = 110
_TYPE_OPERATORS: Final = frozenset({"is", "as"})
_WORDS: Final = frozenset({"div", "mod", "and", "or", "xor", "implies", "true", "false"})  # never names of elements
_CALENDAR: Final = frozenset(
    f"{word}{end}"
    for word in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for end in ("", "s")
)
_SPECIALS: Final[dict[str, type[Node]]] = {"$this": This, "$index": Index, "$total": Total}
_LARGEST_LONG: Final = 2**63 - 1


def parse(source: str, *, strict: bool = False) -> Node:
    """The tree of one expression. `strict`: as `unquote`. Raises Syntax."""
    parser = _Parser(tokens(source), strict=strict)
    if parser.now.kind == "end":
        raise Syntax("the expression is empty")
    tree = parser.expression(0)
    if parser.now.kind != "end":
        raise parser.unexpected()
    _refuse_deep(tree)
    return tree


def _refuse_deep(tree: Node) -> None:
    level = [tree]
    for _ in range(MAX_DEPTH):
        level = [part for node in level for part in operands(node)]
        if not level:
            return
    raise Syntax(f"more than {MAX_DEPTH} steps depend on each other", level[0].offset, level[0].length)


def _no_moment(token: Token) -> Syntax:
    length = len(token.text)
    offset = OFFSET.search(token.text) if token.kind == "time" else None
    if offset is None or Temporal.parse(token.text[1 : offset.start()]) is None:
        return Syntax("this is no valid date or time", token.offset, length)
    # The grammar has no such literal; the official suites count it as a failed evaluation all the same.
    message = "a time of day has no offset from UTC"
    return Syntax(message, token.offset + offset.start(), length - offset.start(), "leave it out", "execution")


class _Parser:
    __slots__ = ("_at", "_depth", "_nesting", "_strict", "_tokens", "now")

    def __init__(self, found: list[Token], *, strict: bool) -> None:
        self._tokens = found
        self._strict = strict
        self._at = 0
        self._depth = 0
        self._nesting = 0
        self.now = found[0]

    def unexpected(self) -> Syntax:
        token = self.now
        if token.kind == "end":
            return Syntax("the expression ends too early", token.offset)
        hint = f"an element of that name is written with backquotes: `{token.text}`" if token.text in _WORDS else None
        if token.text == "{":
            hint = "values are not made here (`Coding { … }`): compare the elements one by one"
        return Syntax(f"`{token.text[:40]}` is not expected here", token.offset, len(token.text), hint)

    def _advance(self) -> Token:
        taken = self.now
        self._at += 1
        self.now = self._tokens[self._at]
        return taken

    def _take(self, symbol: str) -> None:
        if self.now.text != symbol or self.now.kind != "symbol":
            raise self.unexpected()
        self._advance()

    def _length(self, start: int) -> int:
        return self._tokens[self._at - 1].end - start

    def _enter(self) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise Syntax(f"more than {MAX_NESTING} brackets are open at once", self._tokens[self._at - 1].offset)

    def expression(self, least: int) -> Node:
        """What binds at least as strongly as `least`."""
        start = self.now.offset
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Syntax(f"more than {MAX_DEPTH} steps depend on each other", start)
        left = self._prefix()
        while self.now.kind in ("symbol", "name"):
            operator = self.now.text
            power = _POWERS.get(operator, -1)
            if power <= least:
                break
            self._advance()
            left = self._infix(left, operator, power, start)
        self._depth -= 1
        return left

    def _infix(self, left: Node, operator: str, power: int, start: int) -> Node:
        if operator == ".":
            step = self._step()
            return Path(start, self._length(start), left, step)
        if operator == "[":
            self._enter()
            index = self.expression(0)
            self._nesting -= 1
            self._take("]")
            return Indexer(start, self._length(start), left, index)
        if operator in _TYPE_OPERATORS:
            name = self._qualified()
            return TypeOp(start, self._length(start), operator, left, name)
        right = self.expression(power)
        return Binary(start, self._length(start), operator, left, right)

    def _prefix(self) -> Node:
        token = self.now
        if token.kind != "symbol":
            return self._term()
        start = token.offset
        if token.text in ("+", "-"):
            self._advance()
            self._enter()
            operand = self.expression(_SIGN)
            self._nesting -= 1
            return Unary(start, self._length(start), token.text, operand)
        if token.text == "(":
            self._advance()
            self._enter()
            inner = self.expression(0)
            self._nesting -= 1
            self._take(")")
            return inner
        if token.text == "{":
            self._advance()
            self._take("}")
            return Empty(start, self._length(start))
        if token.text == "%":
            self._advance()
            name = self._constant_name()
            return Variable(start, self._length(start), name)
        raise self.unexpected()

    def _term(self) -> Node:
        token = self.now
        start = token.offset
        if token.kind == "name" and token.text in ("true", "false"):
            self._advance()
            return Literal(start, len(token.text), token.text == "true")
        if token.kind in ("name", "quoted", "special"):
            return self._invocation()
        value = self._constant()
        return Literal(start, self._length(start), value)

    def _constant(self) -> Constant:
        token = self.now
        if token.kind == "string":
            self._advance()
            return unquote(token, strict=self._strict)
        if token.kind == "number":
            self._advance()
            return self._number(token)
        if token.kind == "long":
            self._advance()
            value = int(token.text[:-1])
            if value > _LARGEST_LONG:
                raise Syntax("this number has more than 64 bits", token.offset, len(token.text))
            return Long(value)
        if token.kind in ("date", "time"):
            self._advance()
            moment = Temporal.parse(token.text[1:])
            if moment is None:
                raise _no_moment(token)
            return moment
        raise self.unexpected()

    def _number(self, token: Token) -> Constant:
        unit = self.now
        if unit.kind == "string":
            self._advance()
            return Quantity(Decimal(token.text), unquote(unit, strict=self._strict))
        if unit.kind == "name" and unit.text in _CALENDAR:
            self._advance()
            return Quantity(Decimal(token.text), unit.text)
        return Decimal(token.text) if "." in token.text else int(token.text)

    def _identifier(self) -> str:
        token = self.now
        if token.kind == "quoted":
            self._advance()
            return unquote(token, strict=self._strict)
        if token.kind == "name" and token.text not in _WORDS:
            self._advance()
            return token.text
        raise self.unexpected()

    def _constant_name(self) -> str:
        if self.now.kind == "string":
            return unquote(self._advance(), strict=self._strict)
        return self._identifier()

    def _qualified(self) -> str:
        name = self._identifier()
        while self.now.text == "." and self.now.kind == "symbol":
            self._advance()
            name = f"{name}.{self._identifier()}"
        return name

    def _step(self) -> Node:
        """What follows a dot. There even a keyword can only be an element: `text.div`, as the R5 suite writes it."""
        token = self.now
        if token.kind == "name" and token.text in _WORDS:
            self._advance()
            return Member(token.offset, len(token.text), token.text)
        return self._invocation()

    def _invocation(self) -> Node:
        """An element, a function, or one of the `$` names."""
        token = self.now
        if token.kind == "special":
            self._advance()
            return _SPECIALS[token.text](token.offset, len(token.text))
        name = self._identifier()
        if self.now.text != "(" or self.now.kind != "symbol":
            return Member(token.offset, len(token.text), name)
        self._advance()
        self._enter()
        arguments = self._arguments(name)
        self._nesting -= 1
        self._take(")")
        return Function(token.offset, self._length(token.offset), name, arguments)

    def _arguments(self, name: str) -> tuple[Node, ...]:
        if self.now.text == ")" and self.now.kind == "symbol":
            return ()
        found = [self._argument(name)]
        while self.now.text == "," and self.now.kind == "symbol":
            self._advance()
            found.append(self._argument(name))
        return tuple(found)

    def _argument(self, name: str) -> Node:
        start = self.now.offset
        argument = self.expression(0)
        if name == "sort" and self.now.kind == "name" and self.now.text in ("asc", "desc"):
            word = self._advance()
            return SortKey(start, self._length(start), argument, word.text == "desc")
        return argument
