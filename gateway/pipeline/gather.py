"""Step 5 of the line: the prior version and every Patient the write is about, read at once and bounded."""

import asyncio
import re
from dataclasses import dataclass

from gateway.errors import Issue, IssueCode, Malformed, Unavailable, Unprocessable, UpstreamFault
from gateway.fhir.compartment import LinkProblem, PatientLinks, patient_links
from gateway.fhir.interaction import Create, Update, Write
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.pipeline.patients import Patients, Unreadable
from gateway.pipeline.scope import Concerned
from gateway.policy.facts import PatientFacts
from gateway.saga.ports import AnswerLost, NotSent, Upstream, UpstreamAnswer, UpstreamRequest

_READ_HEADERS = ((b"accept", b"application/fhir+json"), (b"cache-control", b"no-cache"))
_VERSION_IN_URL = re.compile(r"/_history/([A-Za-z0-9\-.]{1,64})\Z")
_ETAG = re.compile(r'(?:W/)?"([A-Za-z0-9\-.]{1,64})"\Z')


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What the server held before an update.

    `version` and `body` are None when there was nothing; `tombstone` is the version of a deleted resource's
    last entry, where the server tells it.
    """

    resource: JsonObject | None = None
    version: str | None = None
    body: bytes | None = None
    tombstone: str | None = None


NOTHING_BEFORE = Prior()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Everything a decision needs beyond the request. `concerned`: whom payload and prior version are about.

    For `fetched` Patients the server was asked, for `cached` ones it was not.
    """

    prior: Prior
    patients: PatientFacts
    concerned: Concerned
    fetched: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Patients:
    """The Patients of some links; `fetched` are the ids that the server was asked for."""

    facts: PatientFacts
    ids: tuple[str, ...]
    fetched: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatherer:
    """Reads the facts. `bases` are the absolute URLs that count as this server's own."""

    upstream: Upstream
    patients: Patients
    bases: tuple[str, ...]
    most_patients: int
    limits: BodyLimits

    async def gather(self, write: Write, resource: JsonObject, *, patients: bool) -> Gathered:
        """The prior version (updates only) and, if `patients`, each Patient of payload and prior version.

        Raises Unavailable or UpstreamFault when the server cannot be asked, Unprocessable when the write is
        about more Patients than the limit.
        """
        links = patient_links(resource, self.bases, creating=isinstance(write, Create))
        if not isinstance(write, Update):
            if patients and (known := self._remembered(links)) is not None:
                return Gathered(prior=NOTHING_BEFORE, patients=known, concerned=Concerned.of(links), cached=1)
            read = await self._read((links,)) if patients else _unread((links,))
            return _gathered(NOTHING_BEFORE, (links,), read)
        early = asyncio.create_task(self._read((links,))) if patients and links.ids else None
        try:
            prior = await self.read_prior(write)
        except BaseException:
            if early is not None:
                early.cancel()
            raise
        both = (links, patient_links(prior.resource, self.bases)) if prior.resource is not None else (links,)
        # The cache holds the early ones now; below only the prior version's own are read.
        before = (await early).fetched if early is not None else frozenset[str]()
        read = await self._read(both) if patients else _unread(both)
        return _gathered(prior, both, read, before)

    def _remembered(self, links: PatientLinks) -> PatientFacts | None:
        """The case of nearly every write, without any waiting: one Patient, read a moment ago."""
        if len(links.places) != 1 or (known := self.patients.remembered(links.ids[0])) is None:
            return None
        return PatientFacts(applicable=True, resources=(known,), problems=links.problems)

    async def read_patients(self, links: tuple[PatientLinks, ...], *, fresh: bool = False) -> PatientFacts:
        """Each Patient once, concurrently. An absent one is a problem of the write; an outage ends the request."""
        return (await self._read(links, fresh=fresh)).facts

    async def _read(self, links: tuple[PatientLinks, ...], *, fresh: bool = False) -> _Patients:
        ids = Concerned.of(*links).ids
        if len(ids) > self.most_patients:
            raise Unprocessable(
                Issue(
                    code=IssueCode.TOO_COSTLY,
                    text=f"The write is about {len(ids)} Patients; at most {self.most_patients} are judged at once.",
                )
            )
        found: list[JsonObject] = []
        problems = [problem for each in links for problem in each.problems]
        known = {} if fresh else self._known(ids)
        asked = tuple(patient_id for patient_id in ids if patient_id not in known)
        outcomes: dict[str, JsonObject | Unreadable] = {**known, **await self._fetched(asked, fresh=fresh)}
        for patient_id in ids:
            outcome = outcomes[patient_id]
            if not isinstance(outcome, Unreadable):
                found.append(outcome)
            elif outcome.absent:
                problems.append(_absent(patient_id, links))
            else:
                raise Unavailable(
                    Issue(code=IssueCode.TRANSIENT, text="A Patient this write is about could not be read just now.")
                )
        applicable = any(each.applicable for each in links)
        facts = PatientFacts(applicable=applicable, resources=tuple(found), problems=tuple(problems))
        return _Patients(facts=facts, ids=ids, fetched=frozenset(asked))

    def _known(self, ids: tuple[str, ...]) -> dict[str, JsonObject]:
        found = ((patient_id, self.patients.remembered(patient_id)) for patient_id in ids)
        return {patient_id: resource for patient_id, resource in found if resource is not None}

    async def _fetched(self, ids: tuple[str, ...], *, fresh: bool) -> dict[str, JsonObject | Unreadable]:
        if len(ids) == 1:
            return {ids[0]: await self.patients.fetched(ids[0], fresh=fresh)}
        outcomes = await asyncio.gather(*(self.patients.fetched(each, fresh=fresh) for each in ids))
        return dict(zip(ids, outcomes, strict=True))

    async def read_prior(self, write: Update) -> Prior:
        """GET [type]/[id], uncached."""
        request = UpstreamRequest(method="GET", path=f"{write.type}/{write.id}", headers=_READ_HEADERS)
        try:
            answer = await self.upstream.send(request)
        except (NotSent, AnswerLost):
            raise _prior_unread() from None
        if answer.status == 404:  # noqa: PLR2004 (http://hl7.org/fhir/R4/http.html#read)
            return NOTHING_BEFORE
        if answer.status == 410:  # noqa: PLR2004
            return Prior(tombstone=_version(answer))
        if answer.status != 200:  # noqa: PLR2004
            raise _prior_unread()
        try:
            resource = parse(answer.body, self.limits)
        except Malformed:
            raise _prior_unusable() from None
        version = _version(answer) or _meta_version(resource)
        if resource.get("resourceType") != write.type or resource.get("id") != write.id or version is None:
            raise _prior_unusable()
        return Prior(resource=resource, version=version, body=answer.body)


def _prior_unread() -> Unavailable:
    return Unavailable(Issue(code=IssueCode.TRANSIENT, text="The current version could not be read just now."))


def _prior_unusable() -> UpstreamFault:
    return UpstreamFault(
        Issue(
            code=IssueCode.PROCESSING, text="The server's current version cannot be judged, so it is not overwritten."
        )
    )


def _version(answer: UpstreamAnswer) -> str | None:
    etag = answer.header(b"etag")
    if etag is not None and (found := _ETAG.match(etag)):
        return found[1]
    # HAPI names a tombstone's version in the Location of its 410 only.
    found = _VERSION_IN_URL.search(answer.header(b"location") or answer.header(b"content-location") or "")
    return found[1] if found else None


def _meta_version(resource: JsonObject) -> str | None:
    meta = resource.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def _unread(links: tuple[PatientLinks, ...]) -> _Patients:
    problems = tuple(problem for each in links for problem in each.problems)
    facts = PatientFacts(applicable=any(each.applicable for each in links), problems=problems)
    return _Patients(facts=facts, ids=(), fetched=frozenset())


def _gathered(
    prior: Prior, links: tuple[PatientLinks, ...], read: _Patients, before: frozenset[str] = frozenset()
) -> Gathered:
    """`before`: the ids that were asked for a moment earlier, and came out of the cache now."""
    fetched = len(read.fetched | before)
    return Gathered(
        prior=prior,
        patients=read.facts,
        concerned=Concerned.of(*links),
        fetched=fetched,
        cached=max(0, len(read.ids) - fetched),
    )


def _absent(patient_id: str, links: tuple[PatientLinks, ...]) -> LinkProblem:
    at = next((each.places[patient_id] for each in links if patient_id in each.places), "")
    return LinkProblem(
        at=at, form="not-found", text="The reference does not lead to a Patient that this write may be about."
    )
