"""Regular expressions by RE2: linear in the text, whatever the pattern."""

from functools import lru_cache
from typing import Final

import re2

from gateway.fhirpath.arithmetic import MAX_TEXT
from gateway.fhirpath.items import EvaluationError

MAX_PATTERN: Final = 1_000
_STATES: Final = 1_024  # of a pattern, for one character, that cost one unit of work: some 10 us


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


def cost(expression: str, text: str) -> int:
    """Units of work of a search: where RE2 has no memory for a fast automaton, each character meets each state."""
    return len(text) * int(pattern(expression).programsize) // _STATES


def flagged(text: str, flags: str = "") -> "re2._Regexp[str]":
    """A pattern with the flags of FHIRPath: `i` for any case, `m` for lines."""
    if not set(flags) <= {"i", "m", "s"}:
        raise EvaluationError("the flags of a pattern are i, m and s")
    own = "".join(flag for flag in flags if flag in "im")
    return pattern(f"(?{own}){text}" if own else text)


def replaced(text: str, compiled: "re2._Regexp[str]", template: str) -> str:
    """Every match replaced; `$1` and `${name}` are groups."""
    made: list[str] = []
    length = end = 0
    for match in compiled.finditer(text):
        piece = text[end : match.start()] + _expanded(match, template)
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
