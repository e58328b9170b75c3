"""Functions on strings. Patterns are RE2's: linear in the text, whatever the pattern."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import re2
from fhirpathpy.engine.invocations import strings

from gateway.fhirpath import comparing
from gateway.fhirpath.evaluation import Evaluation, Function, Scope
from gateway.fhirpath.syntax import Expr
from gateway.fhirpath.values import Collection, EvaluationError, plain

MAX_PATTERN: Final = 1_000
MAX_TEXT: Final = 5_000_000  # characters that a string function may make


@lru_cache(maxsize=256)
def pattern(text: str) -> "re2._Regexp[str]":
    """A compiled pattern. Raises EvaluationError for one that RE2 does not take."""
    if len(text) > MAX_PATTERN:
        raise EvaluationError(f"a pattern is longer than {MAX_PATTERN} characters")
    options = re2.Options()
    options.dot_nl = True  # FHIRPath: "." matches line breaks too
    options.log_errors = False  # the pattern may be built from the payload, and logs are no place for it
    options.max_mem = 1 << 20
    try:
        return re2.compile(text, options)
    except re2.error as error:
        raise EvaluationError("a pattern is no valid RE2 expression") from error


def text_function(function: Callable[..., object]) -> Function:
    """A function of one string and of single arguments; empty when any of them is empty."""

    def call(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
        text = _string(focus)
        values = [comparing.only(run.of(argument, scope.this, scope), "an argument") for argument in arguments]
        if text is None or any(value is None for value in values):
            return []
        run.spend(len(text) // 256)
        answer = function(text, *(plain(value) for value in values if value is not None))
        return _collection(answer)

    return call


def _string(focus: Collection) -> str | None:
    item = comparing.only(focus, "a string function")
    text = None if item is None else plain(item)
    if text is not None and not isinstance(text, str):
        raise EvaluationError("a string function needs a string")
    return text


def _collection(answer: object) -> Collection:
    if answer is None:
        return []
    if isinstance(answer, list):
        return [item for item in answer if isinstance(item, str)]
    return [answer] if isinstance(answer, bool | int | str) else []


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise EvaluationError("an argument has to be a string")
    return value


def _library(name: str) -> Callable[..., object]:
    """A function of the library that is right once its input is one string and its argument another."""
    function = getattr(strings, name)

    def call(text: str, *arguments: object) -> object:
        answer: object = function(None, [text], *(_text(argument) for argument in arguments))
        return answer

    return call


def _substring(text: str, start: object, length: object = None) -> str | None:
    if not isinstance(start, int) or not isinstance(length, int | None):
        raise EvaluationError("substring() needs whole numbers")
    if not 0 <= start < len(text):
        return None
    return text[start:] if length is None else text[start : start + max(0, length)]


def _starts_with(text: str, prefix: object) -> bool:
    return text.startswith(_text(prefix))


def _ends_with(text: str, suffix: object) -> bool:
    return text.endswith(_text(suffix))


def _replace(text: str, old: object, new: object) -> str:
    old, new = _text(old), _text(new)
    if (text.count(old) + 1) * len(new) + len(text) > MAX_TEXT:
        raise EvaluationError("a string grew too long")
    return text.replace(old, new)


def _split(text: str, separator: object) -> list[str]:
    separator = _text(separator)
    return text.split(separator) if separator else list(text)


def _matches(text: str, expression: object) -> bool:
    return pattern(_text(expression)).search(text) is not None


def _matches_full(text: str, expression: object) -> bool:
    return pattern(_text(expression)).fullmatch(text) is not None


def _replace_matches(text: str, expression: object, new: object) -> str:
    expression, new = _text(expression), _text(new)
    if not expression:
        return text
    compiled = pattern(expression)
    made: list[str] = []
    length = end = 0
    for match in compiled.finditer(text):
        piece = text[end : match.start()] + _expanded(match, new)
        length += len(piece)
        if length > MAX_TEXT:
            raise EvaluationError("a string grew too long")
        made.append(piece)
        end = match.end()
    return "".join([*made, text[end:]])


def _expanded(match: "re2._Match[str]", template: str) -> str:
    def one(reference: "re2._Match[str]") -> str:
        name = reference.group(1) or reference.group(2)
        if name is None:
            return str(reference.group(0))[1:]
        try:
            return match.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError) as error:
            raise EvaluationError("a replacement names a group that the pattern does not have") from error

    return str(_REFERENCE.sub(one, template))


_REFERENCE = re2.compile(r"\$(\d+)|\$\{(\w+)\}|\\.")


def join(run: Evaluation, focus: Collection, arguments: tuple[Expr, ...], scope: Scope) -> Collection:
    """All strings in one, with a separator between them."""
    separator = _string(run.of(arguments[0], scope.this, scope)) if arguments else ""
    texts = [_text(plain(item)) for item in focus]
    if sum(map(len, texts)) + len(separator or "") * len(texts) > MAX_TEXT:
        raise EvaluationError("a string grew too long")
    return [(separator or "").join(texts)] if texts else []


def _coded(decode: bool) -> Callable[[str, object], str | None]:
    function: Callable[..., object] = strings.decode if decode else strings.encode

    def call(text: str, form: object) -> str | None:
        answer = function(None, [text], _text(form))
        return answer if isinstance(answer, str) else None

    return call


TEXT_FUNCTIONS: Final[dict[str, tuple[int, int, Function]]] = {
    "indexOf": (1, 1, text_function(_library("index_of"))),
    "substring": (1, 2, text_function(_substring)),
    "startsWith": (1, 1, text_function(_starts_with)),
    "endsWith": (1, 1, text_function(_ends_with)),
    "contains": (1, 1, text_function(_library("contains_fn"))),
    "upper": (0, 0, text_function(_library("upper"))),
    "lower": (0, 0, text_function(_library("lower"))),
    "length": (0, 0, text_function(_library("length"))),
    "trim": (0, 0, text_function(_library("trim"))),
    "toChars": (0, 0, text_function(_library("toChars"))),
    "replace": (2, 2, text_function(_replace)),
    "split": (1, 1, text_function(_split)),
    "matches": (1, 1, text_function(_matches)),
    "matchesFull": (1, 1, text_function(_matches_full)),
    "replaceMatches": (2, 2, text_function(_replace_matches)),
    "encode": (1, 1, text_function(_coded(decode=False))),
    "decode": (1, 1, text_function(_coded(decode=True))),
    "join": (0, 1, join),
}
