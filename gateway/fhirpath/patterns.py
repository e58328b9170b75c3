"""Regular expressions by RE2: linear in the text, whatever the pattern."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import re2

from gateway.fhirpath.arithmetic import MAX_TEXT
from gateway.fhirpath.env import Env
from gateway.fhirpath.items import EvaluationError

MAX_PATTERN: Final = 1_000
_STATES: Final = 128  # of a pattern, for one character, that cost one unit of work
_SEARCH_WORK: Final = 15
_COMPILE_WORK: Final = 80  # and as many as the pattern has states
_MATCH_WORK, _EXPAND_WORK, _GROUP_WORK = 15, 40, 3
_TEMPLATE_STEP: Final = 4  # characters of a replacement with groups in it that cost one unit of work


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


def flagged(text: str, flags: str = "") -> "re2._Regexp[str]":
    """A pattern with the flags of FHIRPath: `i` for any case, `m` for lines."""
    if not set(flags) <= {"i", "m", "s"}:
        raise EvaluationError("the flags of a pattern are i, m and s")
    own = "".join(flag for flag in flags if flag in "im")
    return pattern(f"(?{own}){text}" if own else text)


def searched(env: Env, text: str, expression: str, flags: str) -> "re2._Regexp[str]":
    """The pattern, after what a search in this text costs was counted.

    Where RE2 has no memory for a fast automaton, each character meets each state. To compile is counted once in an
    evaluation, whether or not the pattern is still known from another one.
    """
    compiled = flagged(expression, flags)
    states = int(compiled.programsize)
    if compiled.pattern not in env.patterns:
        env.patterns |= {compiled.pattern}
        env.spend(_COMPILE_WORK + states)
    env.spend(_SEARCH_WORK + _GROUP_WORK * int(compiled.groups) + len(text) * states // _STATES)
    return compiled


def replaced(text: str, compiled: "re2._Regexp[str]", template: str, spend: Callable[[int], None]) -> str:
    """Every match replaced; `$1` and `${name}` are groups."""
    made: list[str] = []
    length = end = 0
    is_plain = "$" not in template and "\\" not in template
    work = (
        _MATCH_WORK
        + _GROUP_WORK * int(compiled.groups)
        + (0 if is_plain else _EXPAND_WORK + len(template) // _TEMPLATE_STEP)
    )
    for match in compiled.finditer(text):
        spend(work)
        piece = text[end : match.start()] + (template if is_plain else _expanded(match, template))
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
