"""Functions on strings."""

import base64
import binascii
import html
import json
import re
from collections.abc import Callable
from typing import Final

from gateway.fhirpath.arithmetic import MAX_TEXT
from gateway.fhirpath.comparison import short_text
from gateway.fhirpath.env import TEXT_STEP, Env
from gateway.fhirpath.items import FALSE, NONE, TRUE, BudgetExceeded, Collection, EvaluationError, only
from gateway.fhirpath.patterns import replaced, searched
from gateway.fhirpath.signature import Implementation, Signature, text

_CALL_WORK: Final = 2
_ESCAPE_WORK: Final = 8  # of each escape that is read
_JSON_ESCAPE: Final = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.", re.DOTALL)


def _texts(function: Callable[..., object], *, metered: bool = False) -> Implementation:
    """A function of one string and of single arguments; empty when any of them is empty.

    `metered`: the function takes the Env first, and counts what it does beside reading and making strings.
    """

    def call(env: Env, focus: Collection, *arguments: Collection) -> Collection:
        value = only(focus, "a string function")
        if value is None:
            _known(arguments)
            return NONE
        if not isinstance(value, str):
            value = _text_of(focus)
        values = _known(arguments)
        if None in values:
            return NONE
        env.left -= _CALL_WORK + len(value) // TEXT_STEP
        if env.left < 0:
            raise BudgetExceeded
        answer = function(env, value, *values) if metered else function(value, *values)
        if answer is True or answer is False:
            return TRUE if answer else FALSE
        found = _collection(answer)
        if found and type(found[0]) is str:
            env.spend(len(found[0]) // TEXT_STEP)
        return found

    return call


def _looked_for(function: Callable[[str, str], bool | int]) -> Implementation:
    """A function of one string and one that is looked for in it: two short ones are told apart first."""
    full = _texts(lambda value, part: function(value, text(part)))

    def call(env: Env, focus: Collection, argument: Collection) -> Collection:
        value = short_text(focus)
        part = None if value is None else short_text(argument)
        if value is None or part is None:
            return full(env, focus, argument)
        env.spend(_CALL_WORK)
        answer = function(value, part)
        return TRUE if answer is True else FALSE if answer is False else [answer]

    return call


def _known(arguments: tuple[Collection, ...]) -> list[object]:
    return [only(argument, "an argument") for argument in arguments]


def _text_of(focus: Collection) -> str:
    raw = getattr(focus[0], "value", None)
    if not isinstance(raw, str):  # a date of FHIR is a string in JSON, and may be asked as one
        raise EvaluationError("a string function needs a string")
    return raw


def _collection(answer: object) -> Collection:
    if isinstance(answer, list):
        return answer
    return [answer] if isinstance(answer, int | str) else NONE


def _substring(value: str, start: object, length: object = None) -> str | None:
    if not isinstance(start, int) or not isinstance(length, int | None):
        raise EvaluationError("substring() needs whole numbers")
    if not 0 <= start < len(value):
        return None
    return value[start:] if length is None else value[start : start + max(0, length)]


def _substring_call(env: Env, focus: Collection, start: Collection, length: Collection | None = None) -> Collection:
    """An empty length is none at all (https://hl7.org/fhirpath/N1/#substring)."""
    return _SUBSTRING(env, focus, start, *([length] if length else []))


_SUBSTRING: Final = _texts(_substring)


def _replace(value: str, old: object, new: object) -> str:
    old, new = text(old), text(new)
    if (value.count(old) + 1) * len(new) + len(value) > MAX_TEXT:
        raise EvaluationError("a string grew too long")
    return value.replace(old, new)


def _replace_matches(env: Env, value: str, expression: object, new: object, flags: object = "") -> str:
    expression, new = text(expression), text(new)
    return replaced(value, searched(env, value, expression, text(flags)), new, env.spend) if expression else value


def _matches(env: Env, value: str, expression: object, flags: object = "") -> bool:
    return searched(env, value, text(expression), text(flags)).search(value) is not None


def _matches_full(env: Env, value: str, expression: object, flags: object = "") -> bool:
    return searched(env, value, text(expression), text(flags)).fullmatch(value) is not None


def _characters(env: Env, value: str) -> list[str]:
    env.spend(len(value))
    return list(value)


def _split(env: Env, value: str, separator: object) -> list[str]:
    separator = text(separator)
    if not separator:
        return _characters(env, value)
    env.spend(value.count(separator))
    return value.split(separator)


def _join(env: Env, focus: Collection, separator: Collection | None = None) -> Collection:
    between = "" if separator is None else only(separator, "an argument")
    env.spend(len(focus))
    texts = [text(only([item], "join()")) for item in focus]
    if not texts or not isinstance(between, str):
        return NONE
    length = sum(map(len, texts)) + len(between) * len(texts)
    if length > MAX_TEXT:
        raise EvaluationError("a string grew too long")
    env.spend(length // TEXT_STEP)
    return [between.join(texts)]


def _encode(value: str, form: object) -> str | None:
    encoder = _ENCODERS.get(text(form))
    return None if encoder is None else encoder(value.encode()).decode("ascii")


def _decode(value: str, form: object) -> str | None:
    decoder = _DECODERS.get(text(form))
    try:
        return None if decoder is None else decoder(value).decode()
    except (binascii.Error, ValueError) as error:
        raise EvaluationError("a string is not of the encoding that it is read in") from error


def _base64(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


def _urlbase64(value: str) -> bytes:
    return base64.b64decode(value, altchars=b"-_", validate=True)


_ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "hex": binascii.hexlify,
    "base64": base64.b64encode,
    "urlbase64": base64.urlsafe_b64encode,
}
_DECODERS: Final[dict[str, Callable[[str], bytes]]] = {
    "hex": binascii.unhexlify,
    "base64": _base64,
    "urlbase64": _urlbase64,
}


def _escape(value: str, target: object) -> str | None:
    if target == "html":
        return html.escape(value, quote=True).replace("&#x27;", "&#39;")
    return json.dumps(value, ensure_ascii=False)[1:-1] if target == "json" else None


def _unescape(env: Env, value: str, target: object) -> str | None:
    env.spend(_ESCAPE_WORK * (value.count("&") + value.count("\\")))
    if target == "html":
        return html.unescape(value)
    if target != "json":
        return None
    try:
        return _JSON_ESCAPE.sub(lambda match: str(json.loads(f'"{match.group()}"')), value)
    except ValueError as error:
        raise EvaluationError("a string holds what is no JSON escape") from error


TEXTS: Final[dict[str, Signature]] = {
    "indexOf": Signature(1, 1, _looked_for(str.find)),
    "lastIndexOf": Signature(1, 1, _looked_for(str.rfind)),
    "substring": Signature(1, 2, _substring_call),
    "startsWith": Signature(1, 1, _looked_for(str.startswith)),
    "endsWith": Signature(1, 1, _looked_for(str.endswith)),
    "contains": Signature(1, 1, _looked_for(str.__contains__)),
    "upper": Signature(0, 0, _texts(str.upper)),
    "lower": Signature(0, 0, _texts(str.lower)),
    "length": Signature(0, 0, _texts(len)),
    "trim": Signature(0, 0, _texts(str.strip)),
    "toChars": Signature(0, 0, _texts(_characters, metered=True)),
    "replace": Signature(2, 2, _texts(_replace)),
    "split": Signature(1, 1, _texts(_split, metered=True)),
    "join": Signature(0, 1, _join),
    "matches": Signature(1, 2, _texts(_matches, metered=True)),
    "matchesFull": Signature(1, 2, _texts(_matches_full, metered=True)),
    "replaceMatches": Signature(2, 3, _texts(_replace_matches, metered=True)),
    "encode": Signature(1, 1, _texts(_encode)),
    "decode": Signature(1, 1, _texts(_decode)),
    "escape": Signature(1, 1, _texts(_escape)),
    "unescape": Signature(1, 1, _texts(_unescape, metered=True)),
}
