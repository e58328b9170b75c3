"""The gateway's CapabilityStatement: upstream's, corrected, kept for a short while (it is large and asked often)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.errors import Issue, IssueCode, Malformed, UpstreamFault
from gateway.fhir.resource import BodyLimits, parse
from gateway.pipeline.capabilities import corrected
from gateway.pipeline.read import lost
from gateway.saga.ports import AnswerLost, NotSent, Upstream, UpstreamRequest

_REQUEST = UpstreamRequest(method="GET", path="metadata", headers=((b"accept", b"application/fhir+json"),))
# A whole server's statement is far larger and deeper than a record; it comes from our own upstream.
_LIMITS = BodyLimits(bytes=50_000_000)


@dataclass(slots=True, kw_only=True)
class Statement:
    """`writes` tells which writes some policy permits, now; `seconds` is how long an answer is kept."""

    upstream: Upstream
    public_url: str
    writes: Callable[[], Mapping[str, Sequence[str]]]
    revision: Callable[[], str]
    reads: bool
    clock: Callable[[], float]
    seconds: float = 60.0
    _kept: tuple[float, str, bytes] | None = field(default=None, init=False)

    async def read(self) -> bytes:
        """The statement as JSON. Raises Unavailable, UpstreamFault, UpstreamTimedOut."""
        now, revision = self.clock(), self.revision()
        if self._kept is not None and self._kept[1] == revision and now - self._kept[0] < self.seconds:
            return self._kept[2]
        try:
            answer = await self.upstream.send(_REQUEST)
        except (NotSent, AnswerLost) as fault:
            raise lost(fault) from None
        if answer.status != 200:  # noqa: PLR2004
            raise _unusable()
        try:
            statement = parse(answer.body, _LIMITS)
        except Malformed:
            raise _unusable() from None
        told = corrected(statement, public_url=self.public_url, writes=self.writes(), reads=self.reads)
        body = json.dumps(told).encode()
        self._kept = (now, revision, body)
        return body


def _unusable() -> UpstreamFault:
    return UpstreamFault(Issue(code=IssueCode.PROCESSING, text="The FHIR server's own statement cannot be used."))
