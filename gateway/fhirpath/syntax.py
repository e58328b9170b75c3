"""From text to a tree with positions, by fhirpathpy's ANTLR grammar.

The library's own listener throws positions away and recovers from syntax errors in silence, so the parse tree is
read here: every node knows its offset and length in the source (code points, 0-based), and the first error that the
lexer or parser meets is a problem.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from antlr4 import CommonTokenStream, InputStream
from antlr4.error.ErrorListener import ErrorListener
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

from gateway.fhirpath.temporal import Temporal
from gateway.fhirpath.values import Item, Quantity, unquote

MAX_SOURCE: Final = 20_000  # characters; the longest rule of a real guide is below 2,000
MAX_NESTING: Final = 60  # brackets; keeps the recursive parser far from Python's own limit
MAX_DEPTH: Final = 150  # levels of the tree; the same for the recursive walk

_WORDS: Final = frozenset({"div", "mod", "and", "or", "xor", "implies", "true", "false"})
_BAD_ESCAPE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\(?!u[0-9a-fA-F]{4}|[`'\"\\/fnrt]).", re.DOTALL)

# The labelled alternatives of the grammar (FHIRPathParser.py) are untyped: this is the door to them.
Context = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem in a source text. `offset` counts code points from the start of the text."""

    message: str
    offset: int = 0
    length: int = 1
    hint: str | None = None
    is_warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Expr:
    """Any node. `offset` and `length` say where it stands in the source."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal(Expr):
    """A constant: no value (`{}`) or one."""

    values: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable(Expr):
    """`%name`."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Special(Expr):
    """`$this`, `$index` or `$total`."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Expr):
    """An element name, alone or as the last step of a `Path`."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Expr):
    """A function, alone or as the last step of a `Path`."""

    name: str
    arguments: tuple["Expr", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Path(Expr):
    """`base.step`; the step is a Member, a Call or a Special."""

    base: Expr
    step: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexer(Expr):
    """`base[index]`."""

    base: Expr
    index: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Polarity(Expr):
    """`+operand` or `-operand`."""

    operator: str
    operand: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary(Expr):
    """`left operator right`."""

    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeTest(Expr):
    """`operand is Type` or `operand as Type`."""

    operator: str
    operand: Expr
    type: str


def parse(source: str) -> Expr | Problem:
    """The tree of one expression, or the first problem of its syntax."""
    too_big = _too_big(source)
    if too_big is not None:
        return too_big
    listener = _FirstError(source)
    lexer = FHIRPathLexer(InputStream(source))
    lexer.removeErrorListeners()
    lexer.addErrorListener(listener)
    parser = FHIRPathParser(CommonTokenStream(lexer))
    parser.removeErrorListeners()
    parser.addErrorListener(listener)
    try:
        entire = parser.entireExpression()  # type: ignore[no-untyped-call]
        if listener.problem is not None:
            return listener.problem
        tree = _build(entire.expression())
    except _Invalid as invalid:
        return invalid.problem
    except RecursionError:
        return Problem(message="the expression is nested too deeply", length=len(source))
    return _deep(tree) or tree


def operands(expr: Expr) -> tuple[Expr, ...]:
    """The direct parts of a node, in the order of the text."""
    if isinstance(expr, Path):
        return expr.base, expr.step
    if isinstance(expr, Indexer):
        return expr.base, expr.index
    if isinstance(expr, Binary):
        return expr.left, expr.right
    if isinstance(expr, Polarity | TypeTest):
        return (expr.operand,)
    return expr.arguments if isinstance(expr, Call) else ()


def _deep(tree: Expr) -> Problem | None:
    level: list[Expr] = [tree]
    for _ in range(MAX_DEPTH):
        level = [part for expr in level for part in operands(expr)]
        if not level:
            return None
    message = f"more than {MAX_DEPTH} steps depend on each other"
    return Problem(message=message, offset=level[0].offset, length=level[0].length)


def _too_big(source: str) -> Problem | None:
    if len(source) > MAX_SOURCE:
        return Problem(message=f"the expression is longer than {MAX_SOURCE} characters")
    if not source.strip():
        return Problem(message="the expression is empty")
    depth = 0
    for offset, char in enumerate(source):
        depth += (char in "([{") - (char in ")]}")
        if depth > MAX_NESTING:
            return Problem(message=f"more than {MAX_NESTING} brackets are open at once", offset=offset)
    return None


class _Invalid(Exception):
    """A tree that the grammar takes and the language does not (`@2020-13`)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _FirstError(ErrorListener):  # type: ignore[misc]  # the ANTLR runtime has no types
    """Keeps the first error; what follows it is mostly its consequence."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source
        self._lines = source.split("\n")
        self.problem: Problem | None = None

    def syntaxError(  # noqa: N802 (the name is the ANTLR runtime's)
        self, _recognizer: object, symbol: Any, line: int, column: int, message: str, _error: object
    ) -> None:
        if self.problem is not None:
            return
        offset = sum(len(text) + 1 for text in self._lines[: line - 1]) + column
        text = getattr(symbol, "text", None)
        if text == "<EOF>":
            self.problem = Problem(message="the expression ends too early", offset=offset)
        elif text is not None:
            is_element = text in _WORDS and self._source[:offset].rstrip().endswith(".")
            hint = f"an element of that name is written with backquotes: `{text}`" if is_element else None
            message = f"`{text[:40]}` is not expected here"
            self.problem = Problem(message=message, offset=offset, length=len(text), hint=hint)
        elif message.partition("'")[2].startswith("'"):  # the lexer quotes what it could not read
            self.problem = Problem(message="this string is not closed", offset=offset)
        else:
            self.problem = Problem(message="this character begins nothing that FHIRPath knows", offset=offset)


def _build(ctx: Context) -> Expr:
    builder = _BUILDERS.get(type(ctx).__name__)
    if builder is None:
        raise _Invalid(Problem(message="this construct is not understood", **_at(ctx)))
    return builder(ctx)


def _at(ctx: Context) -> Any:  # keywords of a node; a dict of ints would not fit their types
    return {"offset": ctx.start.start, "length": max(1, ctx.stop.stop - ctx.start.start + 1)}


def _binary(ctx: Context) -> Expr:
    left, right = ctx.expression()
    return Binary(operator=ctx.getChild(1).getText(), left=_build(left), right=_build(right), **_at(ctx))


def _type_test(ctx: Context) -> Expr:
    # The library's grammar lets `is` and `as` bind weaker than `|` and `<`; the language lets them bind stronger
    # (https://hl7.org/fhirpath/N1/#operator-precedence). Brackets make both read the same.
    if type(ctx.expression()).__name__ in ("UnionExpressionContext", "InequalityExpressionContext"):
        message = f"put brackets around what `{ctx.getChild(1).getText()}` applies to"
        raise _Invalid(Problem(message=message, **_at(ctx.getChild(1).getParent())))
    name = ctx.typeSpecifier().getText().replace("`", "")
    return TypeTest(operator=ctx.getChild(1).getText(), operand=_build(ctx.expression()), type=name, **_at(ctx))


def _path(ctx: Context) -> Expr:
    return Path(base=_build(ctx.expression()), step=_build(ctx.invocation()), **_at(ctx))


def _indexer(ctx: Context) -> Expr:
    base, index = ctx.expression()
    return Indexer(base=_build(base), index=_build(index), **_at(ctx))


def _polarity(ctx: Context) -> Expr:
    return Polarity(operator=ctx.getChild(0).getText(), operand=_build(ctx.expression()), **_at(ctx))


def _identifier(ctx: Context) -> str:
    text: str = ctx.getText()
    return unquote(text) if text.startswith(("`", '"')) else text


def _member(ctx: Context) -> Expr:
    return Member(name=_identifier(ctx.identifier()), **_at(ctx))


def _call(ctx: Context) -> Expr:
    function = ctx.functn()
    parameters = function.paramList()
    arguments = tuple(_build(one) for one in parameters.expression()) if parameters is not None else ()
    return Call(name=_identifier(function.identifier()), arguments=arguments, **_at(ctx))


def _special(ctx: Context) -> Expr:
    return Special(name=ctx.getText(), **_at(ctx))


def _variable(ctx: Context) -> Expr:
    name = ctx.externalConstant().getText()[1:]
    return Variable(name=unquote(name) if name.startswith(("`", "'", '"')) else name, **_at(ctx))


def _string(ctx: Context) -> Expr:
    bad = _BAD_ESCAPE.search(ctx.getText())
    if bad is not None:
        # https://hl7.org/fhirpath/N1/#string lists the escapes; `'\\d'` read as `d` would match in silence.
        offset = ctx.start.start + bad.end() - 2
        message = f"`{bad.group()[-2:]}` is no escape of FHIRPath"
        hint = f"for a backslash in a pattern write `\\{bad.group()[-2:]}`"
        raise _Invalid(Problem(message=message, offset=offset, length=2, hint=hint))
    return Literal(values=(unquote(ctx.getText()),), **_at(ctx))


def _number(ctx: Context) -> Expr:
    text = ctx.getText()
    return Literal(values=(Decimal(text) if "." in text else int(text),), **_at(ctx))


def _boolean(ctx: Context) -> Expr:
    return Literal(values=(ctx.getText() == "true",), **_at(ctx))


def _temporal(ctx: Context) -> Expr:
    value = Temporal.parse(ctx.getText()[1:])
    if value is None:
        raise _Invalid(Problem(message="this is no valid date or time", **_at(ctx)))
    return Literal(values=(value,), **_at(ctx))


def _quantity(ctx: Context) -> Expr:
    quantity = ctx.quantity()
    unit = quantity.unit().getText()
    value = Decimal(quantity.getChild(0).getText())
    return Literal(values=(Quantity(value, unquote(unit) if unit.startswith("'") else unit),), **_at(ctx))


_BUILDERS: Final[dict[str, Callable[[Context], Expr]]] = {
    **dict.fromkeys(
        [
            f"{kind}ExpressionContext"
            for kind in (
                *("Additive", "Multiplicative", "Union", "Or", "And", "Membership", "Inequality", "Equality"),
                "Implies",
            )
        ],
        _binary,
    ),
    "TypeExpressionContext": _type_test,
    "InvocationExpressionContext": _path,
    "IndexerExpressionContext": _indexer,
    "PolarityExpressionContext": _polarity,
    "TermExpressionContext": lambda ctx: _build(ctx.term()),
    "InvocationTermContext": lambda ctx: _build(ctx.invocation()),
    "LiteralTermContext": lambda ctx: _build(ctx.literal()),
    "ParenthesizedTermContext": lambda ctx: _build(ctx.expression()),
    "ExternalConstantTermContext": _variable,
    "MemberInvocationContext": _member,
    "FunctionInvocationContext": _call,
    "ThisInvocationContext": _special,
    "IndexInvocationContext": _special,
    "TotalInvocationContext": _special,
    "NullLiteralContext": lambda ctx: Literal(values=(), **_at(ctx)),
    "StringLiteralContext": _string,
    "NumberLiteralContext": _number,
    "BooleanLiteralContext": _boolean,
    "DateTimeLiteralContext": _temporal,
    "TimeLiteralContext": _temporal,
    "QuantityLiteralContext": _quantity,
}
