"""Finds a member in JSON text without reading the rest of it: for changes that leave every other byte as it was."""

import json
import re

# A string, or a character that opens, closes or parts. Bytes of UTF-8 beyond ASCII are never one of these.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]', re.DOTALL)


def member(body: bytes, opening: int, name: str) -> re.Match[bytes] | None:
    """The first token of a member's value, in the object whose `{` stands at `opening`; None without that member.

    `body` was read strictly (no duplicate keys). A value that is no string, object or array counts as none.
    """
    depth, key, colon = 0, b"", False
    for token in _TOKEN.finditer(body, opening):
        text = token[0]
        if depth == 1 and colon and json.loads(key) == name:
            return token if text[:1] in (b'"', b"{", b"[") else None
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return None
        elif depth == 1 and text == b",":
            key, colon = b"", False
        elif depth == 1 and text == b":":
            colon = True
        elif depth == 1 and not colon:
            key = text
    return None


def inserted(body: bytes, opening: int, text: bytes, closing: bytes) -> bytes:
    """The same with `text` as the first member or item of what opens at `opening` and would be closed by `closing`."""
    rest = body[opening + 1 :]
    comma = b"" if rest.lstrip().startswith(closing) else b","
    return body[: opening + 1] + text + comma + rest
