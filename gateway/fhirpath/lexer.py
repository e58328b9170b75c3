"""From text to tokens, each with its place.

One regular expression holds the lexical grammar (https://build.fhir.org/ig/HL7/FHIRPath/grammar.html). Its
alternatives share no prefix that could be tried twice, so that the time is linear in the text.
"""

import re
from typing import Final, NamedTuple

MAX_SOURCE: Final = 20_000  # characters; the longest rule of a real guide is below 2,000

_make: Final = tuple.__new__  # of named tuples: their own `__new__` takes twice as long
_ESCAPES: Final = {"r": "\r", "n": "\n", "t": "\t", "f": "\f"}
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_BAD_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{4}|[`'\"\\/fnrt])|(?P<bad>\\.)", re.DOTALL)
_TIME: Final = r"[0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?"
_OFFSET: Final = r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
OFFSET: Final = re.compile(f"{_OFFSET}$", re.ASCII)
_TOKEN: Final = re.compile(
    rf"""
    (?P<space>  (?: \s | //[^\n\r]* | /\*(?:[^*]|\*(?!/))*\*/ )+ )
  | (?P<name>   [A-Za-z_][A-Za-z0-9_]* )
  | (?P<symbol> !=|!~|<=|>=|[-+*/&|<>=~.,:()\[\]{{}}%] )
  | (?P<string> '(?:[^'\\]|\\.)*' )
  | (?P<long>   [0-9]+L\b )
  | (?P<number> [0-9]+(?:\.[0-9]+)? )
  | (?P<quoted> `(?:[^`\\]|\\.)*` | "(?:[^"\\]|\\.)*" )
  | (?P<time>   @T{_TIME}{_OFFSET}? )
  | (?P<date>   @[0-9]+(?:-[0-9]+)*(?:T(?:{_TIME}{_OFFSET}?)?)? )
  | (?P<special>\$(?:this|index|total)\b )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)


class Syntax(Exception):
    """The text is no expression. `offset` and `length` say where (code points); for `kind` see Problem."""

    def __init__(
        self, message: str, offset: int = 0, length: int = 1, hint: str | None = None, kind: str = "syntax"
    ) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.length = length
        self.hint = hint
        self.kind = kind


class Token(NamedTuple):
    """`kind` is a group of the lexical grammar, or `end`."""

    kind: str
    text: str
    offset: int

    @property
    def end(self) -> int:
        return self.offset + len(self.text)


def tokens(source: str) -> list[Token]:
    """Every token but white space and comments, and one of kind `end`. Raises Syntax."""
    if len(source) > MAX_SOURCE:
        raise Syntax(f"the expression is longer than {MAX_SOURCE} characters")
    found: list[Token] = []
    offset = 0
    for match in _TOKEN.finditer(source):
        if match.start() != offset:
            break
        kind = match.lastgroup
        if kind != "space":
            text = match.group()
            if text == "/" and source.startswith("/*", offset):
                raise Syntax("this comment is not closed", offset, 2)
            found.append(_make(Token, (kind, text, offset)))
        offset = match.end()
    if offset != len(source):
        raise _unreadable(source, offset)
    found.append(Token("end", "", len(source)))
    return found


def _unreadable(source: str, offset: int) -> Syntax:
    if source[offset] == "'":
        return Syntax("this string is not closed", offset)
    if source[offset] in '`"':
        return Syntax("this name is not closed", offset)
    return Syntax("this character begins nothing that FHIRPath knows", offset)


def unquote(token: Token, *, strict: bool) -> str:
    """The content of a quoted string or name, in one pass, so that `\\\\n` stays a backslash and an n.

    The language drops a backslash that begins no escape. `strict`: it is an error (raises Syntax), because a pattern
    `'\\d'` that is read as `d` would match in silence.
    """
    inner = token.text[1:-1]
    if "\\" not in inner:
        return inner
    for match in _BAD_ESCAPE.finditer(inner) if strict else ():
        bad = match["bad"]
        if bad is not None:
            offset = token.offset + 1 + match.start()
            raise Syntax(
                f"`{bad}` is no escape of FHIRPath", offset, 2, f"for a backslash in a pattern write `\\{bad}`"
            )
    return _paired(_ESCAPE.sub(_unescaped, inner))


def _paired(text: str) -> str:
    """Two escapes may write one character (`\\ud83d\\ude00`); half of one stays what it is."""
    if not any("\ud800" <= each <= "\udfff" for each in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1)
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPES.get(code, code)
