"""What must hold of a run when it is over. The server's log is the truth; unknown outcomes may be either way.

Says what is broken as text, one line each, so that a seed's whole story is seen at once.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.saga.capability import GuardedDelete
from gateway.saga.content import same_content
from gateway.saga.intent import CLOSED, Intent, State, undo_id
from gateway.sandbox.store import Event, Version
from tests.faults.replicas import TIMEOUT
from tests.faults.simulation import Operation, Simulation, status_of

_CHANGES = ("created", "updated", "revived", "deleted")
CONFLICT = 409
_SAYING = TIMEOUT + 1.0  # seconds in which a sender has its answer, or knows that it has none, and has it recorded


@dataclass(slots=True)
class Checker:
    """Reads one run."""

    run: Simulation
    changes: dict[str, list[Event]] = field(init=False)  # by target, in the order in which they were made
    versions: dict[str, list[Version]] = field(init=False)
    by_write: dict[str, Operation] = field(init=False)

    def __post_init__(self) -> None:
        store = self.run.network.server.store
        self.versions = {}
        for version in reversed(list(store.history("Observation"))):
            self.versions.setdefault(version.path, []).append(version)
        self.changes = {}
        for event in store.events:
            if event.effect in _CHANGES:
                self.changes.setdefault(event.target, []).append(event)
        self.by_write = {each.intent.write_id: each for each in self.run.operations}

    def broken(self) -> list[str]:
        """Every promise that does not hold."""
        return [
            *self._announced(),
            *self._once(),
            *(line for operation in self.run.operations for line in self._ended(operation)),
            *self._undos(),
            *self._current(),
            *self._guarded(),
            *self._held(),
            *self._keyed(),
        ]

    def _maker(self, target: str, version: str) -> str:
        """The request id that made a version; empty for what was there from the start."""
        return next((each.request_id for each in self.changes.get(target, ()) if each.version == version), "")

    def _applied(self, operation: Operation) -> list[Event]:
        id_ = operation.intent.write_id
        return [each for events in self.changes.values() for each in events if each.request_id == id_]

    def _announced(self) -> Iterator[str]:
        for id_ in self.run.network.unannounced:
            yield f"3: {id_} left before its intent was durable"

    def _held(self) -> Iterator[str]:
        """Only who holds an entry acts for it, and moves it (PROMISES 7 and 8)."""
        for request in self.run.network.unheld:
            yield f"8: {request} left from a process that did not hold the entry"
        for trespass in self.run.database.trespasses if self.run.database else ():
            yield f"8: {trespass}"

    def _unsaid(self, operation: Operation) -> bool:
        """The one gap that the README names: it stood still before its first byte, and died before it could say so."""
        sender, left_at = self.run.network.late.get(operation.intent.write_id, (None, 0.0))
        return sender is not None and sender.died_at <= left_at + _SAYING

    def _once(self) -> Iterator[str]:
        arrived = [each.request_id for each in self.run.network.server.store.events if each.request_id in self.by_write]
        for id_ in set(arrived):
            if arrived.count(id_) > 1:
                yield f"8: {id_} arrived {arrived.count(id_)} times"

    def _ended(self, operation: Operation) -> Iterator[str]:
        """The journal's word, and the client's, against the server's."""
        entry = self.run.ended.get(operation.intent.write_id)
        if self._unsaid(operation):
            return
        if entry is not None:
            yield from self._recorded(operation, entry)
            yield from self._told(operation, entry)
        elif self._applied(operation) or operation.accepted:
            yield f"3: {operation.intent.write_id} is stored and not in the journal"

    def _recorded(self, operation: Operation, entry: Intent) -> Iterator[str]:
        id_, applied = entry.write_id, self._applied(operation)
        if entry.state not in CLOSED and entry.state is not State.STUCK:
            yield f"6: {id_} is still {entry.state.value} after {self.run.calm_seconds:.0f} s of calm"
        if entry.state is State.REJECTED and applied:
            yield f"6: {id_} counts as never stored, and is"
        if entry.state is State.COMMITTED and operation.forbidden and applied:
            yield f"5: {id_} is forbidden and committed"
        if entry.state is State.UNDONE and applied and self._is_current(applied[0]):
            yield f"5: {id_} counts as undone and is current"
        if entry.state is State.STUCK and not self._explained(operation, entry.reason or ""):
            yield f"5: {id_} is stuck without need: {entry.reason}"

    def _told(self, operation: Operation, entry: Intent) -> Iterator[str]:
        id_, applied = entry.write_id, self._applied(operation)
        if operation.accepted and entry.state is not State.COMMITTED:
            yield f"4: {id_} was accepted and is {entry.state.value}"
        if operation.accepted and not applied and entry.created is not False:
            yield f"4: {id_} was accepted and never stored"
        told = operation.settled.state if operation.settled else None
        if told in CLOSED and told is not entry.state:
            yield f"6: the client of {id_} was told {told}, and it is {entry.state}"

    def _explained(self, operation: Operation, reason: str) -> bool:
        """A person is called only where going on could harm somebody, or the server does not let it."""
        if reason.startswith("another writer"):
            return any(not self._is_current(each) for each in self._applied(operation))
        if "refers to" in reason:
            return any(each.status == CONFLICT for each in self.run.network.server.store.events)
        if "405" in reason:
            return self.run.habit.quirks.delete_forbidden
        if "altered by the server" in reason:
            # What others wrote cannot be told from it where request ids are not known to be recorded.
            explained = {(f"Observation/{each.stored_id}", each.stored_version) for each in self.run.ended.values()}
            others = {(target, each.version) for target, events in self.changes.items() for each in events} - explained
            return not self.run.habit.capability.records_ids and bool(others)
        # Somebody else used the id since it was looked at, or the server's versions tell nothing.
        used = any(self.versions[each.target][0].version != each.version for each in self._applied(operation))
        return "did not prove" in reason and (used or not self.run.habit.capability.numbered_versions)

    def _is_current(self, event: Event) -> bool:
        return self.versions[event.target][-1].version == event.version

    def _undos(self) -> Iterator[str]:
        """An undo replaces the version of its own write, and nothing else (PROMISES 7)."""
        own = {undo_id(id_): operation for id_, operation in self.by_write.items()}
        for target, events in self.changes.items():
            for event in events:
                operation = own.get(event.request_id)
                if operation is not None:
                    yield from self._undo(target, event, operation)

    def _undo(self, target: str, event: Event, operation: Operation) -> Iterator[str]:
        versions = self.versions[target]
        place = next(index for index, each in enumerate(versions) if each.version == event.version)
        before = self._maker(target, versions[place - 1].version) if place else ""
        if before != operation.intent.write_id:
            if self._may_slip(event):
                return
            yield f"7: {event.request_id} {event.effect} {target} over a version of {before or 'the beginning'}"
        if operation.accepted:
            yield f"4: {operation.intent.write_id} was accepted and undone"
        if event.effect == "updated" and place >= 2:  # a restore has two versions before it
            restored, prior = versions[place].resource, versions[place - 2].resource
            if restored is not None and prior is not None and not same_content(restored, prior):
                yield f"5: {event.request_id} restored other content than the version before"

    def _may_slip(self, event: Event) -> bool:
        """Look, compare, undo, where the server guards nothing: another writer can slip in; the README says so."""
        capability = self.run.habit.capability
        if event.effect in ("updated", "revived"):  # a restore
            return not capability.guarded_update and self.run.habit.quirks.if_match_ignored_on_update
        return capability.guarded_delete is GuardedDelete.READ_COMPARE

    def _current(self) -> Iterator[str]:
        for version in self.run.network.server.store.live("Observation"):
            operation = self.by_write.get(self._maker(version.path, version.version))
            if operation is None or status_of(version.resource) != "forbidden" or self._unsaid(operation):
                continue
            entry = self.run.ended.get(operation.intent.write_id)
            if entry is None or entry.state is not State.STUCK:
                yield f"5: {operation.intent.write_id} is forbidden and current ({entry and entry.state})"

    def _guarded(self) -> Iterator[str]:
        """Nobody's accepted version is overwritten by one that did not know it (R 105)."""
        for target, versions in self.versions.items():
            for before, after in itertools.pairwise(versions):
                operation = self.by_write.get(self._maker(target, after.version))
                if operation is None or not operation.accepted:
                    continue
                knew = operation.intent.prior_tombstone if before.deleted else operation.intent.prior_version
                if knew != before.version:
                    yield f"4: {operation.intent.write_id} replaced {before.version} of {target}, and knew {knew}"

    def _keyed(self) -> Iterator[str]:
        """Under one key the server stored one write or none, and the client was told the truth about it."""
        for insistence in self.run.insistences:
            key = insistence.claim.keys[0]
            applied = [
                each for each in self.run.operations if each.intent.idempotency_key == key and self._applied(each)
            ]
            # One that was taken for gone while it stood before its first byte had freed its key (README).
            punctual = [each for each in applied if each.intent.write_id not in self.run.network.late]
            if len(punctual) > 1 or len(applied) > 2:
                yield f"key: {[each.intent.write_id for each in applied]} were stored under one key"
            if insistence.told is None:
                yield f"key: after {insistence.tries} tries the client was never told what became of its write"
            elif insistence.told is State.COMMITTED and not applied:
                yield "key: the client was told that its write is stored, and it is not"
            elif insistence.told is State.UNDONE and applied and not applied[0].forbidden:
                yield f"key: {applied[0].intent.write_id} was allowed, and told as undone"
