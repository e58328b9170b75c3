"""Strict JSON: what has not exactly one reading is refused (RFC 8259, RFC 7493, http://hl7.org/fhir/R4/json.html).

jiter does the parsing, refusing duplicate keys (after unescaping), byte order marks, other encodings than UTF-8,
lone surrogates, NaN, Infinity, comments and trailing text. What it leaves open is looked at here: depth, the
length and magnitude of numbers (HAPI writes `1e1000000000` out in full), and U+0000, which databases refuse.
"""

import math
import re
from dataclasses import dataclass

import jiter

from gateway.errors import Issue, IssueCode, Malformed, TooLarge
from gateway.fhir.json import Json, JsonObject

# jiter itself stops at 200.
_DEEPEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """Limits of one body: `bytes` of the whole, `depth` of nesting (at most 200), characters of one number."""

    bytes: int = 5_000_000
    depth: int = 64
    number_length: int = 64


def parse(body: bytes, limits: BodyLimits) -> JsonObject:
    """The JSON object of a body. Raises TooLarge, or Malformed with what is wrong and where."""
    if len(body) > limits.bytes:
        raise TooLarge(Issue(code=IssueCode.TOO_LONG, text=f"The body is larger than {limits.bytes} bytes."))
    if not body:
        raise Malformed(Issue(code=IssueCode.STRUCTURE, text="The body is empty."))
    try:
        value: Json = jiter.from_json(body, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys")
    except ValueError as error:
        raise _malformed(*_reason(str(error))) from None
    if not isinstance(value, dict):
        raise _malformed("the root must be an object", "")
    if body.count(b"{") + body.count(b"[") > min(limits.depth, _DEEPEST) and _depth(value) > limits.depth:
        raise _malformed(f"nested more than {limits.depth} levels deep", "")
    if _suspicious(body, limits.number_length):
        _look_at_tokens(body, limits.number_length)
    return value


def _depth(root: JsonObject) -> int:
    """Levels of nesting, one level at a time: no recursion, and little work per value."""
    depth = 0
    objects: list[JsonObject] = [root]
    arrays: list[list[Json]] = []
    while objects or arrays:
        depth += 1
        values = [value for item in objects for value in item.values()]
        for array in arrays:
            values += array
        # `type() is` and not isinstance: the parser makes exact types, and this is on the path of every write.
        objects = [value for value in values if type(value) is dict]
        arrays = [value for value in values if type(value) is list]
    return depth


# Digits become 0 and exponent marks e; signs are deleted, so that `1e-400` reads `0e000`.
_SHAPE = bytes(0x30 if chr(c) in "0123456789." else 0x65 if chr(c) in "eE" else 0x20 for c in range(256))


def _suspicious(body: bytes, number_length: int) -> bool:
    """Whether some number may be too long or too big, or some string may hold U+0000; may be wrong, but only
    in saying yes (such digits or escapes can be inside of strings, too)."""
    shape = body.translate(_SHAPE, b"+-")
    # A number that is too long has a mantissa of about that length, or an exponent of three digits.
    return b"0e000" in shape or b"0" * max(1, number_length - 5) in shape or b"\\u0000" in body


# Possessive, so that nothing is tried twice; only used on text that was parsed before.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?[0-9][0-9.eE+\-]*+', re.DOTALL)
_NUL = re.compile(rb"(?:^|[^\\])(?:\\\\)*\\u0000")


def _look_at_tokens(body: bytes, number_length: int) -> None:
    for match in _TOKEN.finditer(body):
        token = match[0]
        if token.startswith(b'"'):
            if b"\\u0000" in token and _NUL.search(token):
                raise _malformed("a string holds U+0000", _position(body, match.start()))
        elif len(token) > number_length:
            raise _malformed(f"a number has more than {number_length} characters", _position(body, match.start()))
        elif not _fits_a_double(token):
            raise _malformed("a number is too large or too small for a double", _position(body, match.start()))


def _fits_a_double(token: bytes) -> bool:
    mantissa, _, exponent = token.lower().partition(b"e")
    if exponent and abs(int(exponent)) > 308:  # noqa: PLR2004 (the largest decimal exponent of a double)
        return False
    number = float(token)
    vanished = number == 0.0 and mantissa.strip(b"-0.") != b""
    return math.isfinite(number) and not vanished


def _position(body: bytes, offset: int) -> str:
    line = body.count(b"\n", 0, offset) + 1
    column = offset - body.rfind(b"\n", 0, offset)
    return f" at line {line} column {column}"


_REASONS = {
    "Detected duplicate key": "an object has the same key twice",
    "recursion limit exceeded": f"nested more than {_DEEPEST} levels deep",
    "invalid unicode code point": "the text is not UTF-8",
    "number out of range": "a number is too long",
    "lone leading surrogate": "a string holds an unpaired surrogate",
    "unexpected end of hex escape": "a string holds an unpaired surrogate or an unfinished escape",
    "invalid escape": "a string holds an unknown escape",
    "control character": "a string holds an unescaped control character",
    "key must be a string": "a key is not a string in double quotes",
    "trailing comma": "there is a comma too many",
    "trailing characters": "there is text after the end of the object",
    "invalid number": "a number is not written as JSON has it",
    "EOF while parsing": "the text ends too early",
}
_WHERE = re.compile(r" at line [0-9]+ column [0-9]+$")


def _reason(message: str) -> tuple[str, str]:
    """What and where, in words of our own: jiter's name the duplicate key, which is payload."""
    where = _WHERE.search(message)
    what = next((text for start, text in _REASONS.items() if message.startswith(start)), "unexpected text")
    return what, where[0] if where else ""


def _malformed(what: str, where: str) -> Malformed:
    return Malformed(Issue(code=IssueCode.STRUCTURE, text=f"The body is not strict JSON: {what}{where}."))
