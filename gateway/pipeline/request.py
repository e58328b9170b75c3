"""One request as the straight line sees it, the answers it can end in, and the trace it leaves behind."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gateway.errors import Issue
from gateway.fhir.interaction import InteractionCode
from gateway.identity.principal import Principal
from gateway.policy.decision import Decision
from gateway.saga.ports import Headers, StreamedAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose framing was found sound.

    `path` is raw and below the base, without a leading slash. `headers` has lower-case names, values in the
    order of the wire. `end_to_end` is what the allow-list lets go upstream for interactions that change
    nothing. `body` reads the whole body once, bounded in size and time; it raises TooLarge, RequestTimedOut.
    """

    method: str
    path: bytes
    query: bytes
    headers: Mapping[str, tuple[str, ...]]
    end_to_end: Headers
    body: Callable[[], Awaitable[bytes]]

    def values(self, name: str) -> tuple[str, ...]:
        """Every value of a header, as sent."""
        return self.headers.get(name, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """The upstream's own answer, whole. `warnings` are issues of rules in mode `warn`."""

    status: int
    headers: Headers
    body: bytes
    warnings: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """The upstream's own answer, its body still to come; whoever sends it closes it."""

    answer: StreamedAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What the policies refused, or undid. `pending` says that an undo is still under way (status 500 or above)."""

    issues: tuple[Issue, ...]
    pending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A document of the gateway's own: 200 and JSON. `fhir` tells application/fhir+json from application/json."""

    body: bytes
    fhir: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The outcome of an earlier write under the same Idempotency-Key; `decision_id` is that write's."""

    answer: Forwarded | Refusal
    decision_id: str


Answer = Forwarded | Streamed | Refusal | Own | Replayed


@dataclass(slots=True, kw_only=True)
class Trace:
    """What one request leaves behind for metrics and the decision log: filled along the line, read once at its end.

    Durations are seconds. `patients_read` were asked of the server, `patients_cached` were not. `keyed` says what an
    Idempotency-Key met: new, replayed, in_progress or mismatch. Nothing in here goes out but through the allow-list of
    `pipeline/record.py`.
    """

    decision_id: str
    started: float = field(default_factory=time.perf_counter)
    method: str = ""
    interaction: InteractionCode | None = None
    type: str | None = None
    id: str | None = None
    principal: Principal | None = None
    revision: str = ""
    body: bytes = b""
    decision: Decision | None = None
    after: Decision | None = None
    patients: tuple[str, ...] = ()
    patients_read: int = 0
    patients_cached: int = 0
    idempotency_key: str | None = None
    keyed: str | None = None
    replay_of: str | None = None
    write_id: str | None = None
    upstream_status: int | None = None
    undo: str | None = None
    settled: str | None = None
    stored_version: str | None = None
    reason: str | None = None
    auth_seconds: float = 0.0
    gather_seconds: float = 0.0
    decide_seconds: float = 0.0
    upstream_seconds: float = 0.0
    after_seconds: float = 0.0
