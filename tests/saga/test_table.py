"""The table itself: total, every state reachable, every open state with a way out."""

from itertools import product
from pathlib import Path

import pytest

from gateway.saga.intent import CLOSED, OPEN, Intent, State
from gateway.saga.table import (
    TABLE,
    Durable,
    Event,
    IllegalTransition,
    Outward,
    document,
    late,
    picture,
    retry_of,
    step,
)
from tests.journal.entries import entry


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair_is_a_move_or_refused(state: State, event: Event) -> None:
    if (state, event) in TABLE:
        move = step(state, event)
        assert (move.state, move.event) == (state, event)
    else:
        with pytest.raises(IllegalTransition) as refused:
            step(state, event)
        assert (refused.value.state, refused.value.event) == (state, event)


def test_every_state_can_be_reached_and_every_event_happens() -> None:
    reached = {State.INTENDED}
    while more := {row.next for row in TABLE.values() if row.state in reached} - reached:
        reached |= more
    assert reached == set(State)
    assert {row.event for row in TABLE.values()} == set(Event)


AFTER_ALL = {Event.STORED_AFTER_ALL, Event.SENT_AFTER_ALL}


def test_closed_states_are_ends_but_for_late_proof_and_open_ones_are_not() -> None:
    left = {row.state for row in TABLE.values() if row.event not in AFTER_ALL}
    assert left == set(State) - CLOSED
    reopened = {row.state for row in TABLE.values() if row.event in AFTER_ALL}
    assert reopened == {State.REJECTED, State.UNDONE, State.STUCK}
    for state in OPEN:
        assert any(row.next is not state for row in TABLE.values() if row.state is state)


def test_only_a_committed_or_refused_write_passes_the_servers_answer_on() -> None:
    for row in TABLE.values():
        if row.outward is Outward.ANSWER:
            assert row.next in {State.COMMITTED, State.REJECTED}
            assert row.durable is Durable.BEFORE
        if row.outward in {Outward.UNDO, Outward.ALARM}:
            assert row.durable is Durable.BEFORE


def test_nothing_stuck_moves_without_a_person_or_proof() -> None:
    persons = {Event.RETRY_LOOK, Event.RETRY_JUDGE, Event.RETRY_UNDO, Event.RESOLVED_COMMITTED, Event.RESOLVED_UNDONE}
    assert {row.event for row in TABLE.values() if row.state is State.STUCK} == {*persons, Event.STORED_AFTER_ALL}


def test_the_documentation_shows_the_table_as_it_is() -> None:
    """If not: `python -m gateway.saga.table > deploy/LIFE-OF-A-WRITE.md`."""
    shown = (Path(__file__).parents[2] / "deploy/LIFE-OF-A-WRITE.md").read_text()
    assert shown == document()


def test_the_picture_shows_every_row() -> None:
    shown = picture()
    assert shown.startswith("```mermaid\nstateDiagram-v2\n")
    for row in TABLE.values():
        assert f"    {row.state.value} --> {row.next.value}: {row.event.value}\n" in shown


KNOWN = {
    (None, Event.ANSWERED_STORED): Event.STORED_AFTER_ALL,
    (None, Event.ANSWER_LOST): Event.SENT_AFTER_ALL,
    (State.REJECTED, Event.ANSWERED_STORED): Event.STORED_AFTER_ALL,
    (State.REJECTED, Event.ANSWER_LOST): Event.SENT_AFTER_ALL,
    (State.UNDONE, Event.ANSWERED_STORED): Event.STORED_AFTER_ALL,
    (State.UNDONE, Event.ANSWER_LOST): Event.SENT_AFTER_ALL,
    (State.STUCK, Event.ANSWERED_STORED): Event.STORED_AFTER_ALL,
}
SENDERS = (Event.ANSWERED_STORED, Event.ANSWERED_NOTHING, Event.REFUSED, Event.NOT_SENT, Event.ANSWER_LOST)


@pytest.mark.parametrize(("state", "event"), list(product((None, *State), SENDERS)))
def test_what_a_sender_knows_counts_where_nobody_knows_better(state: State | None, event: Event) -> None:
    from dataclasses import replace

    found = None if state is None else replace(entry(), state=state)
    move = late(found, event)
    if state is State.INTENDED:
        assert move == step(state, event)
    else:
        assert (move and move.event) == KNOWN.get((state, event))
    if found is not None:
        assert late(replace(found, stored_version="1"), event) is None, "they found it"


@pytest.mark.parametrize(
    ("stored_version", "failed", "event"),
    [(None, (), Event.RETRY_LOOK), ("2", (), Event.RETRY_JUDGE), ("2", ("p/r",), Event.RETRY_UNDO)],
)
def test_a_retry_goes_on_where_it_stood(stored_version: str | None, failed: tuple[str, ...], event: Event) -> None:
    from dataclasses import replace

    stuck: Intent = replace(entry(), stored_version=stored_version, failed=failed)
    assert retry_of(stuck) is event
