"""The FHIR server as a port, with every exchange counted and timed."""

import time
from typing import Protocol

from gateway.saga.ports import AnswerLost, NotSent, StreamedAnswer, Upstream, UpstreamAnswer, UpstreamRequest
from gateway.upstream.server_clock import ServerClock


class ExchangeMetrics(Protocol):
    """`code` is the status, or not_sent, lost, timeout."""

    def upstream(self, method: str, code: int | str, seconds: float) -> None: ...


class Measured:
    """Passes everything on to `inner`. Streams are counted by whoever opens them: their end is the client's.

    `server_clock` is shown each answer.
    """

    def __init__(self, inner: Upstream, metrics: ExchangeMetrics, server_clock: ServerClock | None = None) -> None:
        self._inner = inner
        self._metrics = metrics
        self._server_clock = server_clock or ServerClock()

    async def send(self, request: UpstreamRequest, *, seconds: float | None = None) -> UpstreamAnswer:
        """As the port says."""
        started = time.perf_counter()
        code: int | str = "lost"
        try:
            answer = await self._inner.send(request, seconds=seconds)
            code = answer.status
            self._server_clock.saw(answer)
        except NotSent:
            code = "not_sent"
            raise
        except AnswerLost as lost:
            code = "timeout" if lost.timed_out else "lost"
            raise
        finally:
            self._metrics.upstream(request.method, code, time.perf_counter() - started)
        return answer

    def stream(self, request: UpstreamRequest) -> StreamedAnswer:
        """As the port says."""
        return self._inner.stream(request)
