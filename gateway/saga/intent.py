"""The intent: all that is needed to settle one write, also in another process after a crash."""

from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import TypedDict, Unpack

from gateway.fhir.interaction import InteractionCode
from gateway.randomness import randomness

WRITE_ID_LENGTH = 16  # HAPI keeps the first 16 characters of X-Request-ID; a longer id would not be found again
NO_FACTS = "{}"  # of a write that no rule looks at again
_RANDOM_BYTES = 10  # 80 bits, which are 16 characters of base32: eight pairs of ten bits each
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(70, -1, -10)


class State(StrEnum):
    """Where a write stands. `saga/table.py` has the moves between them."""

    INTENDED = "intended"  # durable; the write may have left, its outcome is not known
    STORED = "stored"  # proven to be on the server, not judged yet
    COMPENSATING = "compensating"  # must not stay; the undo is not proven yet
    COMMITTED = "committed"  # stays, or the server answered without writing
    UNDONE = "undone"  # read back: gone from, or replaced in, the current state
    REJECTED = "rejected"  # the server stored nothing
    STUCK = "stuck"  # a person has to decide


OPEN = frozenset({State.INTENDED, State.STORED, State.COMPENSATING})
CLOSED = frozenset({State.COMMITTED, State.UNDONE, State.REJECTED})


@dataclass(frozen=True, kw_only=True)
class Intent:
    """One write and where it stands. Times are seconds since the epoch; versions are bare (`3`, not `W/"3"`).

    `write_id` (16 characters) is given to the server as `X-Request-ID`. `prior_version` and `prior_body` are the
    version that was judged and would be restored; `prior_tombstone` is the version of the deletion before a PUT
    that revives. A create has an `id` only if the gateway drew one for it. `facts` is JSON: what the rules of phase
    `after` need besides the stored resource.
    `owner` holds the entry under `epoch`: neither alone is enough to change it.
    `server_time` is `started_at` by the FHIR server's own clock, never ahead of it; None when it had not told the time.
    `read_back`: what is stored is read and judged before the write may stay; False where no rule looks at it.
    `idempotency_key` and `request_hash` are keyed hashes of the client's key and of what it asked for; `answer` is what
    it was told (`saga/recorded_answer.py`). A closed entry without the first left the key free.
    `send_deadline` is the last instant at which the write may leave. `created` is True when the server proved
    that the write made the resource, False when it replaced or matched one, None when unproven.
    """

    decision_id: str
    write_id: str
    interaction: InteractionCode
    type: str
    body: bytes
    client_id: str
    issuer: str
    started_at: float
    owner: str = ""
    epoch: int = 0
    state: State = State.INTENDED
    id: str | None = None
    if_none_exist: str | None = None
    prior_version: str | None = None
    prior_body: bytes | None = None
    prior_tombstone: str | None = None
    policy_revision: str = ""
    applied: tuple[str, ...] = ()
    facts: str = NO_FACTS
    server_time: float | None = None
    send_deadline: float | None = None
    stored_id: str | None = None
    stored_version: str | None = None
    upstream_status: int | None = None
    created: bool | None = None
    attempts: int = 0
    refusals: int = 0
    next_attempt_at: float | None = None
    failed: tuple[str, ...] = ()
    reason: str | None = None
    updated_at: float = 0.0
    read_back: bool = True
    idempotency_key: str | None = None
    request_hash: str | None = None
    answer: str | None = None


_UNSAID = {each.name: each.default for each in fields(Intent) if each.default is not MISSING}


class Beginning(TypedDict):
    """What is known of a write before it leaves."""

    decision_id: str
    write_id: str
    interaction: InteractionCode
    type: str
    id: str | None
    if_none_exist: str | None
    body: bytes
    prior_version: str | None
    prior_body: bytes | None
    prior_tombstone: str | None
    policy_revision: str
    applied: tuple[str, ...]
    facts: str
    client_id: str
    issuer: str
    started_at: float
    server_time: float | None
    read_back: bool
    idempotency_key: str | None
    request_hash: str | None


def beginning(**known: Unpack[Beginning]) -> Intent:
    """`Intent(...)` at half its cost: to set thirty fields of what is frozen takes long, and each write has one."""
    made = object.__new__(Intent)
    made.__dict__.update(_UNSAID, **known)
    return made


class Changes(TypedDict, total=False):
    """What a move may change."""

    owner: str
    epoch: int
    state: State
    prior_version: str | None
    prior_body: bytes | None
    send_deadline: float | None
    stored_id: str | None
    stored_version: str | None
    upstream_status: int | None
    created: bool | None
    attempts: int
    refusals: int
    next_attempt_at: float | None
    failed: tuple[str, ...]
    reason: str | None
    updated_at: float
    idempotency_key: str | None
    answer: str | None


def replace(intent: Intent, **changes: Unpack[Changes]) -> Intent:
    """`dataclasses.replace` at a tenth of its cost: a write is moved half a dozen times, and has thirty fields."""
    moved = object.__new__(Intent)
    moved.__dict__.update(intent.__dict__, **changes)
    return moved


def new_write_id() -> str:
    """A fresh write id: 16 characters that HAPI accepts in X-Request-ID (other characters drop the header)."""
    drawn = int.from_bytes(randomness.take(_RANDOM_BYTES))
    return "".join([_PAIRS[drawn >> shift & 1023] for shift in _SHIFTS])


def undo_id(write_id: str) -> str:
    """The request id of the undo: told apart from the write's own by its capital first letter."""
    return "U" + write_id[1:]
