"""The table itself: total, every state reachable, every open state with a way out."""

from itertools import product

import pytest

from gateway.saga.intent import CLOSED, OPEN, Intent, State
from gateway.saga.table import TABLE, Durable, Event, IllegalTransition, Outward, picture, retry_of, step
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


def test_closed_states_are_ends_and_open_ones_are_not() -> None:
    left = {row.state for row in TABLE.values()}
    assert left == set(State) - CLOSED
    for state in OPEN:
        assert any(row.next is not state for row in TABLE.values() if row.state is state)


def test_only_a_committed_or_refused_write_passes_the_servers_answer_on() -> None:
    for row in TABLE.values():
        if row.outward is Outward.ANSWER:
            assert row.next in {State.COMMITTED, State.REJECTED}
            assert row.durable is Durable.BEFORE
        if row.outward in {Outward.UNDO, Outward.ALARM}:
            assert row.durable is Durable.BEFORE


def test_nothing_stuck_moves_without_a_person() -> None:
    persons = {Event.RETRY_LOOK, Event.RETRY_JUDGE, Event.RETRY_UNDO, Event.RESOLVED_COMMITTED, Event.RESOLVED_UNDONE}
    assert {row.event for row in TABLE.values() if row.state is State.STUCK} == persons


def test_the_picture_shows_every_row() -> None:
    shown = picture()
    assert shown.startswith("```mermaid\nstateDiagram-v2\n")
    for row in TABLE.values():
        assert f"    {row.state.value} --> {row.next.value}: {row.event.value}\n" in shown


@pytest.mark.parametrize(
    ("stored_version", "failed", "event"),
    [(None, (), Event.RETRY_LOOK), ("2", (), Event.RETRY_JUDGE), ("2", ("p/r",), Event.RETRY_UNDO)],
)
def test_a_retry_goes_on_where_it_stood(stored_version: str | None, failed: tuple[str, ...], event: Event) -> None:
    from dataclasses import replace

    stuck: Intent = replace(entry(), stored_version=stored_version, failed=failed)
    assert retry_of(stuck) is event
