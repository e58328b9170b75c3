"""JSON from outside, read in exactly one way or not at all (RFC 7493): tokens and key sets."""

import math

import jiter

from gateway.fhir.json import Json, JsonObject


class NotStrict(ValueError):
    """The bytes are not one strict JSON object. The text holds nothing of the content."""


def parse_object(content: bytes, *, depth: int) -> JsonObject:
    """One JSON object, nested at most `depth` levels.

    Refused besides what RFC 8259 forbids: equal keys at any level (after unescaping), NaN and Infinity, numbers that
    overflow to infinity, lone surrogates, a byte order mark, malformed UTF-8. Raises NotStrict.
    """
    try:
        value: Json = jiter.from_json(content, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys")
    except ValueError:
        raise NotStrict("is not strict JSON") from None
    if not isinstance(value, dict):
        raise NotStrict("is not a JSON object")
    _check(value, depth)
    return value


def _check(value: Json, depth: int) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):  # jiter reads 1e400 as infinity
            raise NotStrict("holds a number out of range")
    elif isinstance(value, dict):
        _check_each(list(value.values()), depth)
    elif isinstance(value, list):
        _check_each(value, depth)


def _check_each(values: list[Json], depth: int) -> None:
    if depth <= 0:
        raise NotStrict("is nested too deeply")
    for value in values:
        if isinstance(value, (dict, list, float)):
            _check(value, depth - 1)
