"""The `Idempotency-Key` of a write (IETF httpapi, "The Idempotency-Key HTTP Header Field"), read in exactly one way."""

import re
from collections.abc import Sequence

from gateway.errors import Issue, IssueCode, Malformed

LONGEST = 255  # characters of the key itself
# A structured-field string (RFC 9651 section 3.3.3), or what many clients send instead: a bare word of RFC 9110's token
# characters, which can be taken for no other structured field as long as it begins with a letter, digit, _ or -.
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_WORD = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*")
_ESCAPED = re.compile(r"\\(.)")


def idempotency_key(values: Sequence[str]) -> str | None:
    """The key that the header's lines name, or None without one. `"abc"` and `abc` are the same key.

    Raises Malformed for more than one line, parameters, an empty key, or one that is too long.
    """
    if not values:
        return None
    text = values[0].strip(" ")
    if len(values) == 1 and (quoted := _STRING.fullmatch(text)) is not None:
        key = _ESCAPED.sub(r"\1", quoted[1])
    else:
        key = text if len(values) == 1 and _WORD.fullmatch(text) is not None else ""
    if not 0 < len(key) <= LONGEST:
        raise Malformed(
            Issue(
                code=IssueCode.INVALID,
                text=f'Idempotency-Key must be one quoted string of 1 to {LONGEST} characters, as "8e03978e-40d5".',
            )
        )
    return key
