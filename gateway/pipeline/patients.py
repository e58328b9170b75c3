"""The Patients that decisions are made about: read with the gateway's own credentials, cached shortly.

Why a cache at all: a device cloud pushes many Observations about one Patient in a row. Why it is short and
shy: a policy judged on yesterday's Patient is a policy that was not judged. Entries are bounded in number and
age, revalidated by ETag (RFC 9110 section 13.1.2) when older than `fresh_for`, and never used across a write
to that Patient: a write bumps the id's epoch before and after, and an answer that was asked for under an older
epoch is neither used nor kept.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import Malformed
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.saga.ports import AnswerLost, NotSent, Upstream, UpstreamAnswer, UpstreamRequest

_ACCEPT = (b"accept", b"application/fhir+json")
_NO_CACHE = (b"cache-control", b"no-cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Why a Patient could not be had. `absent` (404, 410) is the client's mistake, anything else is an outage."""

    form: str
    absent: bool


class PatientObserver(Protocol):
    """Counts fetches; `result` is ok, cached, not_found or error, `seconds` is 0.0 when cached."""

    def patient_fetch(self, result: str, seconds: float) -> None: ...


@dataclass(slots=True)
class _Entry:
    resource: JsonObject
    etag: str | None
    read_at: float


class Patients:
    """Reads `Patient/[id]`, one flight per id at a time.

    `fresh_for` is in seconds of `clock` (monotonic); 0 revalidates every time.
    """

    def __init__(
        self,
        upstream: Upstream,
        clock: Callable[[], float],
        observer: PatientObserver,
        *,
        fresh_for: float = 5.0,
        most: int = 2_000,
        limits: BodyLimits | None = None,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._observer = observer
        self._fresh_for = fresh_for
        self._most = most
        self._limits = limits or BodyLimits()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._flights: dict[str, asyncio.Task[JsonObject | Unreadable]] = {}
        self._writing: dict[str, int] = {}

    def remembered(self, patient_id: str) -> JsonObject | None:
        """The Patient, if it was read so lately that it may be used as it is."""
        entry = self._entries.get(patient_id)
        if entry is None or self._clock() - entry.read_at >= self._fresh_for:
            return None
        self._observer.patient_fetch("cached", 0.0)
        return entry.resource

    async def fetched(self, patient_id: str, *, fresh: bool = False) -> JsonObject | Unreadable:
        """The Patient as the server has it, or why not. `fresh`: by a question of its own (judging after a write)."""
        flight = None if fresh else self._flights.get(patient_id)
        if flight is None:
            flight = asyncio.create_task(self._fetch(patient_id, urgent=fresh))
            if not fresh and patient_id not in self._writing:
                self._flights[patient_id] = flight
                flight.add_done_callback(lambda done: self._landed(patient_id, done))
        # Shielded: one caller that goes away must not cancel the read for the others.
        return await asyncio.shield(flight)

    def write_begins(self, patient_id: str) -> None:
        """From here on nothing that was read before may be used for this Patient."""
        self._writing[patient_id] = self._writing.get(patient_id, 0) + 1
        self._forget(patient_id)

    def write_ends(self, patient_id: str) -> None:
        """The write is over: what was read while it ran is forgotten as well."""
        self._forget(patient_id)
        left = self._writing.pop(patient_id) - 1
        if left:
            self._writing[patient_id] = left

    def _forget(self, patient_id: str) -> None:
        self._entries.pop(patient_id, None)
        self._flights.pop(patient_id, None)

    def _landed(self, patient_id: str, flight: "asyncio.Task[JsonObject | Unreadable]") -> None:
        if self._flights.get(patient_id) is flight:
            del self._flights[patient_id]

    async def _fetch(self, patient_id: str, *, urgent: bool) -> JsonObject | Unreadable:
        """`urgent`: a write that is stored already waits to be judged by it."""
        known = self._entries.get(patient_id)
        headers = [_ACCEPT, _NO_CACHE]
        if known is not None and known.etag:
            headers.append((b"if-none-match", known.etag.encode("latin-1")))
        started = self._clock()
        flight = asyncio.current_task()
        request = UpstreamRequest(method="GET", path=f"Patient/{patient_id}", headers=tuple(headers), urgent=urgent)
        try:
            answer = await self._upstream.send(request)
        except (NotSent, AnswerLost):
            self._observer.patient_fetch("error", self._clock() - started)
            return Unreadable(form="unavailable", absent=False)
        outcome = self._understood(patient_id, answer, known)
        spent = self._clock() - started
        if isinstance(outcome, Unreadable):
            self._entries.pop(patient_id, None)
            self._observer.patient_fetch("not_found" if outcome.absent else "error", spent)
            return outcome
        self._observer.patient_fetch("ok", spent)
        # Kept only if no write to this Patient began since the question was asked.
        if self._flights.get(patient_id) is flight:
            self._keep(patient_id, _Entry(outcome, answer.header(b"etag") or (known.etag if known else None), started))
        return outcome

    def _understood(self, patient_id: str, answer: UpstreamAnswer, known: _Entry | None) -> JsonObject | Unreadable:
        if answer.status == 304 and known is not None:  # noqa: PLR2004 (RFC 9110 section 15.4.5)
            return known.resource
        if answer.status in (404, 410):
            return Unreadable(form="not-found", absent=True)
        if answer.status != 200:  # noqa: PLR2004
            return Unreadable(form="unavailable", absent=False)
        try:
            resource = parse(answer.body, self._limits)
        except Malformed:
            return Unreadable(form="unreadable", absent=False)
        # A server that answers with another resource than was asked for is not believed.
        if resource.get("resourceType") != "Patient" or resource.get("id") != patient_id:
            return Unreadable(form="unreadable", absent=False)
        return resource

    def _keep(self, patient_id: str, entry: _Entry) -> None:
        self._entries[patient_id] = entry
        self._entries.move_to_end(patient_id)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)
