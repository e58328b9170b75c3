"""The conditions of a write in one canonical form, or a refusal.

Servers read unusual forms each in their own way: HAPI answers 500 to `If-Match: *` and to lists, takes an empty
value for none at all, and the first of two lines for the only one.
"""

import re
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from gateway.errors import Issue, IssueCode, Malformed

_VERSION = re.compile(r'(?:W/)?"([A-Za-z0-9.\-]{1,64})"')
_PARAMETER = re.compile(r"[a-z][a-z0-9\-]*")
_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~!$'()*,:@/|]|%[0-9A-Fa-f]{2})+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def if_match(values: Sequence[str]) -> str | None:
    """The version that an `If-Match` names, or None without one (http://hl7.org/fhir/R4/http.html#concurrency).

    Takes `W/"12"` and `"12"`. Raises Malformed for anything else, `*` and lists included: a write is guarded
    by one version or by none.
    """
    if not values:
        return None
    match = _VERSION.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        raise Malformed(
            Issue(
                code=IssueCode.INVALID,
                text='If-Match must name exactly one version, as W/"12"; * and lists are not taken.',
            )
        )
    return match[1]


def if_none_exist(values: Sequence[str], type_name: str) -> str | None:
    """The canonical search query of an `If-None-Exist`: no type, no `?`; None without one.

    Takes `identifier=…`, `?identifier=…` and `Type?identifier=…` of the same type, nothing absolute. Each
    parameter is a plain search parameter of the resource, at most once, without modifier or chain; result
    parameters and those that begin with `_` are refused, since they can match other than what they seem to.
    """
    if not values:
        return None
    if len(values) != 1:
        _refuse("there may be only one If-None-Exist header.")
    query = values[0]
    if "?" in query:
        prefix, query = query.split("?", 1)
        if prefix not in ("", type_name):
            _refuse("the query must be for the type of the URL, without a base.")
    pairs = [pair.partition("=") for pair in query.split("&")]
    for key, _, value in pairs:
        if _PARAMETER.fullmatch(key) is None:
            _refuse(
                "only plain search parameters are taken: no modifier, no chain, none that begins with an underscore."
            )
        if _VALUE.fullmatch(value) is None or not _readable(value):
            _refuse("each parameter needs a value of URL characters and UTF-8 escapes.")
    if len({key for key, _, _ in pairs}) != len(pairs):
        _refuse("each parameter may be there once.")
    return query


def _readable(value: str) -> bool:
    try:
        return _CONTROL.search(unquote_to_bytes(value).decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


def _refuse(why: str) -> NoReturn:
    raise Malformed(Issue(code=IssueCode.INVALID, text=f"If-None-Exist cannot be judged: {why}"))
