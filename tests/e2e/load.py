"""Clients that write through two gateways while something breaks, and whether what is left is right.

The FHIR server's current state and its history are the truth, whichever server it is.
"""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway.saga.content import request_id_of
from tests.e2e.replicas import Entry, Replica, Replicas
from tests.faults.processes import MUST_NOT_STAY, Site, observation

_PAGE = 500
_MOST_WRITES = 1500  # of all clients together
_CLIENTS_EACH = 3
_PAUSE = 0.03
_KINDS = ("create", "update-as-create", "update", "conditional-create")
_SYSTEM = "urn:load"
_OBSERVATION = re.compile(r"Observation/([A-Za-z0-9.-]+)(?:/_history/([A-Za-z0-9.-]+))?\Z")
_CLOSED = {"committed", "undone", "rejected"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version that the server's history shows. `name` is the write that its content comes from."""

    id: str
    version: str
    request_id: str
    name: str
    forbidden: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One write as its client saw it; `status` 0: no answer."""

    name: str
    kind: str
    forbidden: bool
    status: int
    decision_id: str

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300


@dataclass(slots=True)
class Load:
    """Clients of both replicas that write until they are told to stop; every third write must not stay."""

    replicas: Replicas
    label: str
    pushes: list[Push] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _clients: list[threading.Thread] = field(default_factory=list)

    def start(self) -> "Load":
        """From now on."""
        for place, replica in enumerate(self.replicas.pair):
            for number in range(_CLIENTS_EACH):
                name = f"{self.label}-{place}{number}"
                self._clients.append(threading.Thread(target=self._write, args=(replica, name)))
        for client in self._clients:
            client.start()
        return self

    def end(self) -> "Load":
        """No more."""
        self._stop.set()
        for client in self._clients:
            client.join()
        return self

    def _write(self, replica: Replica, label: str) -> None:
        number = 0
        while not self._stop.is_set() and len(self.pushes) < _MOST_WRITES:
            number += 1
            kind = _KINDS[number % len(_KINDS)]
            # An update goes to what the write before it, an update that creates, has left.
            id_ = f"{label}-{number - (kind == 'update')}"
            self.pushes.append(self._push(replica, f"{label}-{number}", kind, id_, forbidden=number % 3 == 0))
            time.sleep(_PAUSE)

    def _push(self, replica: Replica, name: str, kind: str, id_: str, *, forbidden: bool) -> Push:
        identifier = [{"system": _SYSTEM, "value": name}]
        note = MUST_NOT_STAY if forbidden else ""
        if kind.startswith("update"):
            body = observation(note=note, identifier=identifier, id=id_)
            answer = replica.push("PUT", f"Observation/{id_}", body)
        else:
            search = {"if-none-exist": f"identifier={_SYSTEM}|{name}"} if kind.startswith("cond") else {}
            answer = replica.push("POST", "Observation", observation(note=note, identifier=identifier), **search)
        status, decided = (
            (answer.status_code, answer.headers.get("x-decision-id", "")) if answer is not None else (0, "")
        )
        return Push(name=name, kind=kind, forbidden=forbidden, status=status, decision_id=decided)

    def check(self) -> None:
        """Every promise that the server's history and current state can show. Raises AssertionError."""
        accepted = [push for push in self.pushes if push.accepted]
        assert {push.kind for push in accepted} == set(_KINDS), "the load was too small to prove anything"
        assert len(accepted) > 20
        broken = list(_Verdict(self.pushes, self.replicas.entries(), self.replicas.site).broken())
        assert broken == [], "\n".join(broken)


@dataclass(slots=True)
class _Verdict:
    """Says what is broken, one line each."""

    pushes: list[Push]
    entries: list[Entry]
    site: Site
    versions: dict[str, list[Version]] = field(init=False)  # by id, oldest first
    by_name: dict[str, list[Version]] = field(init=False)

    def __post_init__(self) -> None:
        self.versions, self.by_name = {}, {}
        own = {entry.stored_id for entry in self.entries} | {push.name for push in self.pushes}
        for version in reversed(list(_history(self.site))):
            if version.id in own or version.name in own:
                self.versions.setdefault(version.id, []).append(version)
                self.by_name.setdefault(version.name, []).append(version)

    def broken(self) -> Iterator[str]:
        yield from self._sent_once()
        yield from self._journal()
        for push in self.pushes:
            yield from self._kept(push) if push.accepted else self._told(push)
        yield from self._current()

    def _sent_once(self) -> Iterator[str]:
        """PROMISES 8: one version for each request id, and for each undo at most one."""
        made = Counter(each.request_id for found in self.versions.values() for each in found if each.request_id)
        yield from (f"8: {id_} made {count} versions" for id_, count in made.items() if count > 1)

    def _journal(self) -> Iterator[str]:
        """PROMISES 6: every entry is closed, or stuck with its cause, and says what the history says."""
        made = {each.request_id: each for found in self.versions.values() for each in found}
        for entry in self.entries:
            stored = made.get(entry.write_id)
            if entry.state not in _CLOSED and not (entry.state == "stuck" and entry.reason):
                yield f"6: {entry.write_id} is {entry.state}"
            if entry.state == "rejected" and stored is not None:
                yield f"6: {entry.write_id} counts as never stored, and is {stored}"
            if entry.state == "committed" and stored is not None and stored.forbidden:
                yield f"5: {entry.write_id} is forbidden and committed"
            if entry.state == "undone" and stored is not None and self.versions[stored.id][-1] == stored:
                yield f"5: {entry.write_id} counts as undone and is current"

    def _kept(self, push: Push) -> Iterator[str]:
        """PROMISES 4: accepted writes are in history, and nothing took them out of the current state."""
        found = self.by_name.get(push.name, [])
        if push.forbidden:
            yield f"5: {push.name} is forbidden and was accepted"
        elif not found:
            yield f"4: {push.name} was accepted and is not there"
        elif self.versions[found[0].id][-1].name != push.name and not self._replaced(found[0]):
            yield f"4: {push.name} was accepted and is not current: {self.versions[found[0].id]}"

    def _replaced(self, version: Version) -> bool:
        """Another write came after it that may stay, whether its client heard of it or not."""
        allowed = {push.name for push in self.pushes if not push.forbidden}
        return self.versions[version.id][-1].name in allowed

    def _told(self, push: Push) -> Iterator[str]:
        """A client that was told that its write is not stored was told the truth, unless it was told to ask later."""
        live = [each for each in self.by_name.get(push.name, []) if self.versions[each.id][-1] == each]
        if live and push.status in (409, 412, 422):
            yield f"6: {push.name} was answered with {push.status} and is current"

    def _current(self) -> Iterator[str]:
        """PROMISES 5, by a read of each resource, not by history alone."""
        for id_, found in self.versions.items():
            current = self.site.current(f"Observation/{id_}")
            if current is not None and MUST_NOT_STAY in str(current.get("note")):
                yield f"5: {id_} holds what must not stay: {found}"
            if (current is None) != (not found[-1].name):
                yield f"the history of {id_} ends with {found[-1]}, and a read shows {current}"


def _history(site: Site) -> Iterator[Version]:
    """Every version of every Observation, newest first."""
    url: str | None = f"{site.base}/Observation/_history?_count={_PAGE}"
    while url is not None:
        bundle = site.client.get(url, headers={"cache-control": "no-cache"}).raise_for_status().json()
        yield from (_version(entry) for entry in bundle.get("entry", []))
        url = next((link["url"] for link in bundle.get("link", []) if link["relation"] == "next"), None)


def _version(entry: dict[str, Any]) -> Version:
    """One entry; a deletion has no content, and so no name."""
    resource = entry.get("resource") or {}
    named = _OBSERVATION.search(entry["request"]["url"]) or _OBSERVATION.search(entry["fullUrl"])
    assert named is not None, entry
    return Version(
        id=named[1],
        version=str(resource.get("meta", {}).get("versionId") or named[2] or ""),
        request_id=request_id_of(resource) or "",
        name=next((each.get("value", "") for each in resource.get("identifier", [])), ""),
        forbidden=MUST_NOT_STAY in str(resource.get("note")),
    )
