"""The life of a write as one table: state and event give the next state and its effects.

Pure. `saga/settle.py` makes no move that is not written here; recovery and retries use the same rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gateway.saga.intent import Intent, State

_TITLE = """# The life of a write

Every move of a journalled write, made from `gateway/saga/table.py`; there are no others, live, after an outage and
after a crash alike. What is durable "before the next outward effect" is on disk before anything else goes out. A closed
write (committed, undone, rejected) is at its end, but for one case: a process that stood still when it was about to
send, and was taken for gone, wakes up and knows by the server's answer better than those who closed the write.
"""


class Event(StrEnum):
    """What was learned about a write."""

    ANSWERED_STORED = "answered stored"  # the answer, or a look, proves that the server holds it
    STORED_FOR_GOOD = "stored, nothing to judge"  # no rule looks at what the server holds
    ANSWERED_NOTHING = "answered, nothing written"  # If-None-Exist matched
    REFUSED = "refused"  # a status that stores nothing
    NOT_SENT = "not sent"  # no byte left
    ANSWER_LOST = "answer lost"
    NOT_FOUND_YET = "not found yet"
    NOT_FOUND = "not found"  # looked for after the last instant at which the server could still apply it
    UNDECIDABLE = "undecidable"  # the server cannot tell whether it holds the write
    UNREADABLE = "unreadable"  # outage before the judgement
    HOLDS = "holds"
    FAILS = "fails"
    UNDO_PROVEN = "undo proven"
    UNDO_DEFERRED = "undo deferred"
    UNDO_BLOCKED = "undo blocked"
    DEFECT = "defect"  # settling itself failed again and again
    STORED_AFTER_ALL = "stored after all"  # the server's own answer, to a sender that had been taken for gone
    SENT_AFTER_ALL = "sent after all"  # such a sender knows that it left, and no more
    RETRY_LOOK = "retry the look"  # a person
    RETRY_JUDGE = "retry the judgement"  # a person
    RETRY_UNDO = "retry the undo"  # a person
    RESOLVED_COMMITTED = "resolved as committed"  # a person
    RESOLVED_UNDONE = "resolved as undone"  # a person


class Durable(StrEnum):
    """What the journal does with the move, in one transaction."""

    BEFORE = "before the next outward effect"  # awaited: nothing goes out until it is on disk
    BEHIND = "while the read-back runs"  # queued in order, awaited with the next move


class Outward(StrEnum):
    """What may happen next, outside the journal."""

    LOOK = "look for the write"
    WAIT = "wait, then try again"
    READ_BACK = "read back and judge"
    UNDO = "undo, guarded, and read back"
    ANSWER = "pass the server's answer on"
    REFUSE = "answer with an error"
    ALARM = "alarm; a person decides"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One row of the table."""

    state: State
    event: Event
    next: State
    durable: Durable
    outward: Outward


class IllegalTransition(Exception):
    """The table has no such move: a defect of the caller, never of the data."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"{state.value}: {event.value}")
        self.state, self.event = state, event


def _rows() -> Iterable[Transition]:
    intended, stored, compensating = State.INTENDED, State.STORED, State.COMPENSATING
    committed, undone, rejected, stuck = State.COMMITTED, State.UNDONE, State.REJECTED, State.STUCK
    before, behind = Durable.BEFORE, Durable.BEHIND
    for state, event, after, durable, outward in (
        (intended, Event.ANSWERED_STORED, stored, behind, Outward.READ_BACK),
        (intended, Event.STORED_FOR_GOOD, committed, before, Outward.ANSWER),
        (intended, Event.ANSWERED_NOTHING, committed, before, Outward.ANSWER),
        (intended, Event.REFUSED, rejected, before, Outward.ANSWER),
        (intended, Event.NOT_SENT, rejected, before, Outward.REFUSE),
        (intended, Event.ANSWER_LOST, intended, before, Outward.LOOK),
        (intended, Event.NOT_FOUND_YET, intended, before, Outward.WAIT),
        (intended, Event.NOT_FOUND, rejected, before, Outward.REFUSE),
        (intended, Event.UNDECIDABLE, stuck, before, Outward.ALARM),
        (intended, Event.DEFECT, stuck, before, Outward.ALARM),
        (stored, Event.UNREADABLE, stored, before, Outward.WAIT),
        (stored, Event.HOLDS, committed, before, Outward.ANSWER),
        (stored, Event.FAILS, compensating, before, Outward.UNDO),
        (stored, Event.DEFECT, stuck, before, Outward.ALARM),
        (compensating, Event.UNDO_PROVEN, undone, before, Outward.REFUSE),
        (compensating, Event.UNDO_DEFERRED, compensating, before, Outward.WAIT),
        (compensating, Event.UNDO_BLOCKED, stuck, before, Outward.ALARM),
        (compensating, Event.DEFECT, stuck, before, Outward.ALARM),
        (rejected, Event.STORED_AFTER_ALL, stored, before, Outward.READ_BACK),
        (rejected, Event.SENT_AFTER_ALL, intended, before, Outward.LOOK),
        (stuck, Event.STORED_AFTER_ALL, stored, before, Outward.READ_BACK),
        (undone, Event.STORED_AFTER_ALL, stored, before, Outward.READ_BACK),
        (undone, Event.SENT_AFTER_ALL, intended, before, Outward.LOOK),
        (stuck, Event.RETRY_LOOK, intended, before, Outward.LOOK),
        (stuck, Event.RETRY_JUDGE, stored, before, Outward.READ_BACK),
        (stuck, Event.RETRY_UNDO, compensating, before, Outward.UNDO),
        (stuck, Event.RESOLVED_COMMITTED, committed, before, Outward.REFUSE),
        (stuck, Event.RESOLVED_UNDONE, undone, before, Outward.REFUSE),
    ):
        yield Transition(state=state, event=event, next=after, durable=durable, outward=outward)


TABLE: dict[tuple[State, Event], Transition] = {(row.state, row.event): row for row in _rows()}


def step(state: State, event: Event) -> Transition:
    """The move that `event` makes from `state`. Raises IllegalTransition for every pair that is not in the table."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None


_AFTER_ALL = {Event.ANSWERED_STORED: Event.STORED_AFTER_ALL, Event.ANSWER_LOST: Event.SENT_AFTER_ALL}


def late(found: Intent | None, event: Event) -> Transition | None:
    """The move that its sender's own knowledge makes, from where others left the entry (None: it was pruned).

    A sender that was taken for gone knows best whether the write left and what the server answered. None: others know
    as much, because they found what the server stored, or a person decided that it may stay.
    """
    state = State.REJECTED if found is None else found.state
    if found is not None and found.stored_version is not None:
        return None
    return TABLE.get((state, event if state is State.INTENDED else _AFTER_ALL.get(event, event)))


def retry_of(intent: Intent) -> Event:
    """Where a retry of a stuck entry goes on: never behind what is already known about it."""
    if intent.stored_version is None:
        return Event.RETRY_LOOK
    return Event.RETRY_UNDO if intent.failed else Event.RETRY_JUDGE


def document() -> str:
    """The page that shows the table to an operator (deploy/LIFE-OF-A-WRITE.md)."""
    return f"{_TITLE}\n{picture()}"


def picture() -> str:
    """The table as a Mermaid state diagram and a Markdown table, for the documentation."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> intended: intent durable"]
    lines += [f"    {row.state.value} --> {row.next.value}: {row.event.value}" for row in TABLE.values()]
    lines += [f"    {state.value} --> [*]" for state in (State.COMMITTED, State.UNDONE, State.REJECTED)]
    lines += ["```", "", "| state | event | next state | durable | then |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row.state.value} | {row.event.value} | {row.next.value} | {row.durable.value} | {row.outward.value} |"
        for row in TABLE.values()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(document())
