"""Rewrites the upstream's base URL to the public one inside a JSON body, while the body streams by.

An occurrence counts only as a whole: not inside a longer word on its left, and followed by `/`, `?` or the end of
the string on its right, so that `http://fhir/base` never matches `http://fhir/base2`. JSON may write each `/` as
`\\/` (RFC 8259 section 7); what follows keeps the spelling of the body.
"""

import re
from functools import cache


class LinkRewriter:
    """One body. Memory is bounded by the length of the base, whatever the sizes of the chunks."""

    __slots__ = ("_before", "_carry", "_keep", "_pattern", "_public")

    def __init__(self, upstream_base: bytes, public_base: bytes) -> None:
        self._pattern = compile_base(upstream_base)
        self._public = public_base
        # The longest spelling escapes every slash; two more bytes decide what follows it.
        self._keep = len(upstream_base) + upstream_base.count(b"/") + 1
        self._carry = b""
        self._before = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take a chunk; return what can be given on."""
        self._carry += chunk
        return self._give(len(self._before) + len(self._carry) - self._keep)

    def finish(self) -> bytes:
        """What is left at the end of the body."""
        return self._give(len(self._before) + len(self._carry))

    def _give(self, decided: int) -> bytes:
        """Give on all bytes before `decided`; an occurrence that starts there goes whole."""
        data = self._before + self._carry
        done = start = len(self._before)
        out: list[bytes] = []
        for match in self._pattern.finditer(data, start):
            if match.start() >= decided:
                break
            out += (data[done : match.start()], self._public)
            done = match.end()
        cut = max(done, decided)
        out.append(data[done:cut])
        # One byte given on is kept, to see what stands left of the next occurrence.
        self._before = data[cut - 1 : cut] if cut else b""
        self._carry = data[cut:]
        return b"".join(out)


@cache
def compile_base(upstream_base: bytes) -> re.Pattern[bytes]:
    """The pattern of one whole occurrence of a base URL in JSON text."""
    slash = rb"\\?/"
    spelled = slash.join(re.escape(part) for part in upstream_base.split(b"/"))
    return re.compile(rb"(?<![A-Za-z0-9+.\-])" + spelled + rb'(?=\\?/|\?|\\?")')


def rewrite(body: bytes, upstream_base: bytes, public_base: bytes) -> bytes:
    """The same, for a body that is already whole."""
    # Nearly every body of a write names no server: two searches of the processor's own speed tell.
    if upstream_base not in body and b"\\/" not in body:
        return body
    return compile_base(upstream_base).sub(lambda _: public_base, body)
