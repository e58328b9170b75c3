"""What every journal promises, whatever it is kept in. Each backend runs this class over a place of its own."""

import asyncio
import base64
import threading
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from gateway.journal.writer import Writer
from gateway.saga.intent import CLOSED, State
from gateway.saga.journal_port import COUNTED_AT_MOST, Journal, NotOwner, StillOwned
from gateway.saga.table import Event, IllegalTransition
from tests.journal.entries import entry

J = TypeVar("J", bound=Journal)


class Place(ABC, Generic[J]):
    """Where journals of one installation are kept. `keys` is the file of their keys."""

    keys: Path

    @abstractmethod
    async def open(self, name: str) -> J:
        """Another process opens it."""

    @abstractmethod
    async def die(self, journal: J) -> None:
        """Its process is gone without a word, and that is known by now."""

    @abstractmethod
    def writer(self, journal: J) -> Writer[Any]:
        """The thread that commits."""


class JournalContract(Generic[J]):
    async def test_an_entry_comes_back_as_it_was_written(self, journal: J) -> None:
        written = replace(entry(), if_none_exist="a=b", prior_tombstone="2", send_deadline=3.5, created=None)
        await journal.begin(written)
        assert await journal.get("d1") == replace(written, owner=journal.owner)
        assert await journal.get("nobody") is None

    async def test_a_keyed_entry_comes_back_as_it_was_written(self, journal: J) -> None:
        written = replace(entry(), idempotency_key="k1", request_hash="r1", answer='{"status":201}', read_back=False)
        held = await journal.begin(written)
        assert await journal.get("d1") == held == replace(written, owner=journal.owner)
        found = await journal.keyed(["k0", "k1"])
        assert found == replace(held, body=b"", prior_body=None, facts="{}")
        assert await journal.keyed(["k2"]) is None
        assert await journal.keyed([]) is None

    async def test_of_two_under_one_key_one_begins(self, journal: J, place: Place[J]) -> None:
        other = await place.open("two")
        racing = [
            journals.begin(replace(entry(number), idempotency_key="k1"))
            for number, journals in enumerate((journal, other) * 8)
        ]
        ended = await asyncio.gather(*racing, return_exceptions=True)
        assert sum(isinstance(each, NotOwner) for each in ended) == 15
        (won,) = [each for each in ended if not isinstance(each, BaseException)]
        found = await other.keyed(["k1"])
        assert found is not None
        assert found.decision_id == won.decision_id
        for number in range(20, 23):
            await journal.begin(entry(number))  # without a key there is nothing to race for
        assert journal.broken is other.broken is None
        await other.close()

    async def test_a_closed_entry_keeps_the_answer_and_lets_go_of_a_key(self, journal: J) -> None:
        kept = await journal.begin(replace(entry(1), idempotency_key="k1", request_hash="r1"))
        freed = await journal.begin(replace(entry(2), idempotency_key="k2", request_hash="r2"))
        await journal.advance(replace(kept, state=State.COMMITTED, answer='{"status":200}'), expected=State.INTENDED)
        await journal.advance(replace(freed, state=State.REJECTED, idempotency_key=None), expected=State.INTENDED)
        found = await journal.keyed(["k1"])
        assert found is not None
        assert (found.state, found.answer, found.request_hash) == (State.COMMITTED, '{"status":200}', "r1")
        assert await journal.keyed(["k2"]) is None
        await journal.begin(replace(entry(3), idempotency_key="k2", request_hash="r3"))
        with pytest.raises(NotOwner):
            await journal.begin(replace(entry(4), idempotency_key="k1"))

    async def test_a_key_is_kept_as_long_as_its_entry(self, journal: J) -> None:
        held = await journal.begin(replace(entry(1), idempotency_key="k1"))
        await journal.advance(replace(held, state=State.COMMITTED, updated_at=10.0), expected=State.INTENDED)
        assert await journal.prune(11.0) == 1
        assert await journal.keyed(["k1"]) is None
        await journal.begin(replace(entry(2), idempotency_key="k1"))

    async def test_every_changing_field_is_written(self, journal: J) -> None:
        await journal.begin(entry())
        changed = replace(
            entry(),
            owner=journal.owner,
            state=State.COMPENSATING,
            prior_version="5",
            prior_body=b"new",
            send_deadline=2.0,
            stored_id="o1",
            stored_version="6",
            upstream_status=200,
            created=False,
            attempts=3,
            refusals=2,
            next_attempt_at=9.0,
            failed=("p/r",),
            reason="why",
            updated_at=8.0,
        )
        kept = await journal.get("d1")
        assert kept is not None
        await journal.advance(replace(changed, write_id=kept.write_id), expected=State.INTENDED)
        assert await journal.get("d1") == replace(changed, write_id=kept.write_id)

    async def test_the_same_decision_cannot_begin_twice(self, journal: J) -> None:
        await journal.begin(entry())
        with pytest.raises(NotOwner):
            await journal.begin(entry())
        kept = await journal.get("d1")
        assert kept is not None
        with pytest.raises(NotOwner):
            await journal.begin(replace(entry(2), write_id=kept.write_id))
        assert journal.broken is None

    async def test_concurrent_moves_share_a_commit(self, journal: J, place: Place[J]) -> None:
        before = place.writer(journal).commits
        await asyncio.gather(*(journal.begin(entry(number)) for number in range(200)))
        assert place.writer(journal).commits - before < 100
        assert (await journal.counts()).states[State.INTENDED] == 200

    async def test_due_entries_are_this_process_own_and_in_time(self, journal: J) -> None:
        await journal.begin(replace(entry(1), next_attempt_at=50.0))
        await journal.begin(replace(entry(2), next_attempt_at=None))
        await journal.begin(replace(entry(3), next_attempt_at=200.0))
        assert [each.decision_id for each in await journal.due(100.0, 10)] == ["d2", "d1"]
        assert len(await journal.due(1000.0, 2)) == 2

    async def test_list_counts_and_oldest(self, journal: J) -> None:
        assert (await journal.counts()).oldest_open_at is None
        await journal.begin(entry(1, started_at=20.0))
        await journal.begin(entry(2, started_at=10.0))
        listed = await journal.list({State.INTENDED}, 10)
        assert [each.decision_id for each in listed] == ["d2", "d1"]
        counts = await journal.counts()
        assert counts.oldest_open_at == 10.0
        assert counts.states[State.INTENDED] == 2
        assert set(counts.states) == set(State)

    async def test_closed_entries_are_pruned_after_a_time(self, journal: J) -> None:
        for number in range(3):
            await journal.begin(entry(number))
        await journal.advance(replace(entry(0), state=State.COMMITTED, updated_at=10.0), expected=State.INTENDED)
        await journal.advance(replace(entry(1), state=State.STUCK, updated_at=10.0), expected=State.INTENDED)
        assert await journal.prune(10.0) == 0
        assert await journal.prune(11.0) == 1
        assert await journal.get("d0") is None
        assert await journal.get("d1") is not None

    async def test_policy_sets_and_stored_versions(self, journal: J) -> None:
        await journal.record_policy_set("r1", "[1]")
        await journal.record_policy_set("r1", "[2]")
        assert await journal.policy_set("r1") == "[1]"
        assert await journal.policy_set("r2") is None
        await journal.begin(entry())
        await journal.advance(
            replace(entry(), state=State.STORED, stored_id="s1", stored_version="1"), expected=State.INTENDED
        )
        assert await journal.stored_versions("Observation", ["s1", "s2"]) == {("s1", "1")}
        assert await journal.stored_versions("Patient", ["s1"]) == frozenset()
        assert await journal.stored_versions("Observation", []) == frozenset()

    @pytest.mark.parametrize(
        ("event", "state"),
        [
            (Event.RESOLVED_COMMITTED, State.COMMITTED),
            (Event.RESOLVED_UNDONE, State.UNDONE),
            (Event.RETRY_UNDO, State.COMPENSATING),
            (Event.RETRY_JUDGE, State.STORED),
            (Event.RETRY_LOOK, State.INTENDED),
        ],
    )
    async def test_a_person_decides_about_a_stuck_entry(self, journal: J, event: Event, state: State) -> None:
        await journal.begin(entry())
        await journal.advance(replace(entry(), state=State.STUCK, refusals=8, attempts=9), expected=State.INTENDED)
        decided = await journal.decide("d1", event, by="ann", why="looked", now=77.0)
        assert (decided.state, decided.attempts, decided.refusals) == (state, 0, 0)
        assert [(each.event, each.by, each.why, each.at) for each in await journal.resolutions("d1")] == [
            (event, "ann", "looked", 77.0)
        ]
        if state not in CLOSED:
            assert await journal.claim_orphans(80.0, 10) == 1

    async def test_a_move_from_another_state_owner_or_epoch_is_refused(self, journal: J, place: Place[J]) -> None:
        held = await journal.begin(entry())
        assert (held.owner, held.epoch) == (journal.owner, 1)
        stored = replace(held, state=State.STORED)
        with pytest.raises(NotOwner):
            await journal.advance(stored, expected=State.STORED)
        with pytest.raises(NotOwner):
            await journal.advance(replace(stored, epoch=held.epoch + 1), expected=State.INTENDED)
        other = await place.open("two")
        for state in (State.STORED, State.COMMITTED):
            with pytest.raises(NotOwner):
                await other.advance(replace(stored, state=state), expected=State.INTENDED)
            with pytest.raises(NotOwner):
                await journal.advance(replace(stored, state=state, epoch=held.epoch + 1), expected=State.INTENDED)
            with pytest.raises(NotOwner):
                await journal.advance(replace(stored, state=state), expected=State.COMPENSATING)
        await other.close()
        assert await journal.get("d1") == held
        journal.still_owner(held)

    @pytest.mark.parametrize("state", [State.INTENDED, State.REJECTED, State.STUCK, State.UNDONE, None])
    async def test_what_its_sender_learned_too_late_counts(
        self, journal: J, place: Place[J], state: State | None
    ) -> None:
        """Taken over by another (and closed, and pruned): the sender has it again, with its payloads."""
        held = await journal.begin(replace(entry(), if_none_exist="a=b"))
        await place.die(journal)
        other = await place.open("two")
        assert await other.claim_orphans(500.0, 10) == 1
        (taken,) = await other.due(500.0, 10)
        if state is not State.INTENDED:
            await other.advance(replace(taken, state=state or State.REJECTED), expected=State.INTENDED)
        if state is None:
            assert await other.prune(1e12) == 1
        sender = await place.open("sender")
        proof = replace(held, stored_id="o1", stored_version="2", created=False, updated_at=9.0)
        reclaimed, event = await sender.reclaim(proof, Event.ANSWERED_STORED)
        assert reclaimed == await sender.get("d1")
        assert reclaimed == replace(proof, owner=sender.owner, epoch=reclaimed.epoch, state=State.STORED)
        assert event is (Event.ANSWERED_STORED if state is State.INTENDED else Event.STORED_AFTER_ALL)
        audited = [(each.event, each.by, each.at) for each in await sender.resolutions("d1")]
        assert audited == ([] if state is State.INTENDED else [(event, sender.owner, 9.0)])
        with pytest.raises(NotOwner):
            await other.advance(replace(taken, state=State.REJECTED), expected=State.INTENDED)
        await sender.advance(replace(reclaimed, state=State.COMMITTED), expected=State.STORED)
        await other.close()
        await sender.close()

    async def test_what_others_know_or_a_person_decided_is_not_reclaimed(self, journal: J) -> None:
        for number, (state, version) in enumerate(
            [
                (State.STORED, "1"),
                (State.COMMITTED, "1"),
                (State.UNDONE, "1"),
                (State.STUCK, "1"),
                (State.COMMITTED, None),
            ]
        ):
            held = await journal.begin(entry(number))
            known = replace(held, state=state, stored_id="o1" if version else None, stored_version=version)
            await journal.advance(known, expected=State.INTENDED)
            before = await journal.get(held.decision_id)
            with pytest.raises(NotOwner):
                await journal.reclaim(replace(held, stored_id="o1", stored_version="2"), Event.ANSWERED_STORED)
            assert await journal.get(held.decision_id) == before
            assert await journal.resolutions(held.decision_id) == ()

    async def test_what_did_not_leave_is_closed_without_payloads(self, journal: J) -> None:
        held = await journal.begin(replace(entry(), idempotency_key="k1"))
        reclaimed, event = await journal.reclaim(replace(held, reason="too late"), Event.NOT_SENT)
        assert (reclaimed.state, event) == (State.REJECTED, Event.NOT_SENT)
        kept = await journal.get("d1")
        assert kept is not None
        assert (kept.state, kept.reason, kept.body, kept.facts) == (State.REJECTED, "too late", b"", "{}")
        assert kept.idempotency_key is None, "nothing was written: the client's next try is a first one"
        with pytest.raises(NotOwner):
            await journal.reclaim(held, Event.NOT_SENT)

    async def test_a_move_that_nobody_waits_for_is_durable_a_moment_later(self, journal: J) -> None:
        held = await journal.begin(entry())
        stored = replace(held, state=State.STORED, stored_id="o1", stored_version="2")
        await journal.advance_soon(stored, expected=State.INTENDED)
        assert await journal.get("d1") == stored
        committed = replace(stored, state=State.COMMITTED)
        await journal.advance(committed, expected=State.STORED)
        kept = await journal.get("d1")
        assert kept is not None
        assert (kept.state, kept.stored_version) == (State.COMMITTED, "2")

    async def test_a_move_and_the_next_are_one_when_both_are_queued(self, journal: J, place: Place[J]) -> None:
        held = [await journal.begin(entry(number)) for number in range(20)]
        stored = [replace(each, state=State.STORED, stored_id="o1", stored_version="2") for each in held]
        undoing = [replace(each, state=State.COMPENSATING, failed=("p/r",)) for each in stored]
        writer = place.writer(journal)
        busy, go_on = threading.Event(), threading.Event()

        def wait(_connection: object) -> None:
            busy.set()
            go_on.wait(60)

        work = asyncio.ensure_future(writer.do(wait))
        await asyncio.to_thread(busy.wait, 60)
        before = writer.commits
        soon = [journal.advance_soon(each, expected=State.INTENDED) for each in stored]
        moves = asyncio.gather(*(journal.advance(each, expected=State.STORED) for each in undoing))
        await asyncio.sleep(0)  # all are queued by then
        go_on.set()
        await asyncio.gather(work, moves, *soon)
        assert writer.commits - before == 2, "the one that was at work, and one of all moves"
        assert [await journal.get(each.decision_id) for each in undoing] == undoing

    async def test_a_move_that_nobody_waits_for_is_not_lost_when_the_journal_closes(
        self, journal: J, place: Place[J]
    ) -> None:
        other = await place.open("two")
        held = await other.begin(entry())
        stored = replace(held, state=State.STORED, stored_id="o1", stored_version="2")
        soon = other.advance_soon(stored, expected=State.INTENDED)
        await other.close()
        assert await journal.get("d1") == stored
        await soon

    async def test_a_move_that_nobody_waits_for_is_not_recorded_after_the_entry_was_reclaimed(self, journal: J) -> None:
        held = await journal.begin(entry())
        stored = replace(held, state=State.STORED, stored_id="o1", stored_version="2")
        soon = journal.advance_soon(stored, expected=State.INTENDED)
        reclaimed, _ = await journal.reclaim(stored, Event.ANSWERED_STORED)
        await soon
        again = replace(reclaimed, attempts=7)
        await journal.advance(again, expected=State.STORED)
        await asyncio.sleep(0.05)
        assert await journal.get("d1") == again

    async def test_a_move_that_nobody_waits_for_changes_nothing_that_is_not_held(self, journal: J) -> None:
        held = await journal.begin(entry())
        with pytest.raises(NotOwner):
            await journal.advance_soon(replace(held, state=State.STORED, epoch=held.epoch + 1), expected=State.INTENDED)
        assert await journal.get("d1") == held
        with pytest.raises(NotOwner):
            await journal.advance(replace(held, state=State.COMMITTED), expected=State.STORED)

    @pytest.mark.parametrize("state", sorted(CLOSED))
    async def test_a_closed_entry_has_no_payloads(self, journal: J, state: State) -> None:
        held = await journal.begin(replace(entry(), if_none_exist="identifier=1"))
        await journal.advance(replace(held, state=state), expected=State.INTENDED)
        kept = await journal.get("d1")
        assert kept is not None
        assert (kept.state, kept.body, kept.prior_body, kept.facts, kept.if_none_exist) == (
            state,
            b"",
            None,
            "{}",
            None,
        )

    async def test_orphans_are_claimed_only_from_owners_that_are_gone(self, journal: J, place: Place[J]) -> None:
        held = [await journal.begin(entry(number)) for number in range(3)]
        other = await place.open("two")
        assert await other.claim_orphans(500.0, 10) == 0
        await place.die(journal)
        assert await other.claim_orphans(500.0, 2) == 2
        assert await other.claim_orphans(500.0, 2) == 1
        assert await other.claim_orphans(500.0, 2) == 0
        claimed = await other.due(500.0, 10)
        assert {each.decision_id for each in claimed} == {each.decision_id for each in held}
        assert {(each.owner, each.next_attempt_at) for each in claimed} == {(other.owner, 500.0)}
        await other.advance(replace(claimed[0], state=State.STORED), expected=State.INTENDED)
        await other.close()

    async def test_two_that_race_for_orphans_share_them(self, journal: J, place: Place[J]) -> None:
        await asyncio.gather(*(journal.begin(entry(number)) for number in range(60)))
        await place.die(journal)
        racers = [await place.open(f"racer{number}") for number in range(3)]
        for _ in range(20):
            await asyncio.gather(*(racer.claim_orphans(1e6, 7) for racer in racers))
        due = [each.decision_id for racer in racers for each in await racer.due(1e6, 100)]
        assert sorted(due) == sorted(f"d{number}" for number in range(60))
        for racer in racers:
            await racer.close()

    async def test_a_person_may_not_meddle_with_what_is_being_settled(self, journal: J, place: Place[J]) -> None:
        await journal.begin(entry())
        person = await place.open("cli")
        with pytest.raises(StillOwned):
            await person.decide("d1", Event.RESOLVED_UNDONE, by="ann", why="w", now=1.0)
        with pytest.raises(KeyError):
            await person.decide("d2", Event.RESOLVED_UNDONE, by="ann", why="w", now=1.0)
        await place.die(journal)
        assert (await person.decide("d1", Event.RESOLVED_UNDONE, by="ann", why="w", now=1.0)).state is State.UNDONE
        with pytest.raises(IllegalTransition):
            await person.decide("d1", Event.RESOLVED_COMMITTED, by="ann", why="w", now=1.0)
        await person.close()

    async def test_a_clean_stop_leaves_orphans_at_once(self, journal: J, place: Place[J]) -> None:
        stopping = await place.open("two")
        await stopping.begin(entry())
        await stopping.close()
        assert await journal.claim_orphans(5.0, 10) == 1

    async def test_revisions_of_what_is_not_settled(self, journal: J) -> None:
        for number, (revision, state) in enumerate(
            [("r2", State.STUCK), ("r1", State.STORED), ("r2", State.STORED), ("r0", State.COMMITTED)]
        ):
            held = await journal.begin(replace(entry(number), policy_revision=revision))
            await journal.advance(replace(held, state=state), expected=State.INTENDED)
        assert await journal.open_revisions() == {"r1", "r2"}

    async def test_closed_entries_are_counted_no_further_than_somebody_reads(self, journal: J) -> None:
        held = await journal.begin(entry())
        await journal.advance(replace(held, state=State.REJECTED), expected=State.INTENDED)
        counts = await journal.counts()
        assert counts.states[State.REJECTED] == 1 < COUNTED_AT_MOST
        assert counts.oldest_open_at is None

    async def test_a_page_fits_into_memory(self, journal: J) -> None:
        large = b"x" * 9_000_000
        for number in range(5):
            await journal.begin(entry(number, body=large, started_at=float(number)))
        assert [each.decision_id for each in await journal.due(100.0, 64)] == ["d0", "d1", "d2", "d3"]

    async def test_a_new_key_seals_and_the_old_one_still_opens(self, journal: J, place: Place[J]) -> None:
        held = await journal.begin(entry())
        place.keys.write_bytes(base64.b64encode(b"n" * 32) + b"\n" + place.keys.read_bytes())
        rotated = await place.open("two")
        assert await rotated.get("d1") == held
        fresh = await rotated.begin(entry(2))
        assert (await journal.get("d2")) == replace(fresh, body=b"", prior_body=None, facts="{}")
        await rotated.close()

    async def test_what_cannot_be_opened_is_stuck_until_the_key_is_back(self, journal: J, place: Place[J]) -> None:
        held = await journal.begin(entry())
        await place.die(journal)
        kept = place.keys.read_bytes()
        place.keys.write_bytes(base64.b64encode(b"n" * 32))
        blind = await place.open("two")
        assert await blind.claim_orphans(5e3, 10) == 1
        assert await blind.due(5e3, 10) == ()
        (stuck,) = await blind.list({State.STUCK}, 10)
        assert "key" in (stuck.reason or "")
        assert "not among the journal's keys" in (stuck.reason or "")
        await blind.decide("d1", Event.RETRY_LOOK, by="ann", why="the key was found", now=6e3)
        await blind.close()
        place.keys.write_bytes(kept)
        seeing = await place.open("three")
        assert await seeing.claim_orphans(7e3, 10) == 1
        (due,) = await seeing.due(7e3, 10)
        assert (due.body, due.prior_body, due.facts) == (held.body, held.prior_body, held.facts)
        await seeing.close()
