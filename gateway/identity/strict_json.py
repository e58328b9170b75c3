"""JSON from outside, read in exactly one way or not at all: tokens and key sets, by the same reader as payloads."""

from gateway.errors import Malformed, TooLarge
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse

_LIMITS = BodyLimits(bytes=65_536, depth=8)


class NotStrict(ValueError):
    """The bytes are not one strict JSON object. The text holds nothing of the content."""


def parse_object(content: bytes) -> JsonObject:
    """One JSON object of at most 64 KiB, nested at most 8 levels deep.

    Refused besides what RFC 8259 forbids: equal keys at any level (after unescaping), NaN and Infinity, numbers that
    no double holds, lone surrogates, a byte order mark, malformed UTF-8. Raises NotStrict.
    """
    try:
        return parse(content, _LIMITS)
    except (Malformed, TooLarge):
        raise NotStrict("is not one strict JSON object") from None
