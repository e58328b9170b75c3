"""The scratch corner of a live FHIR server: a few `Basic` resources of the doctor's own, marked, and removed again."""

import json
import secrets
from dataclasses import dataclass, field

from gateway.errors import GatewayError
from gateway.fhir.json import JsonObject
from gateway.fhir.resource import BodyLimits, parse
from gateway.saga.intent import new_write_id
from gateway.saga.lookup_port import Absent, Seen
from gateway.saga.ports import AnswerLost, Headers, NotSent, Upstream, UpstreamAnswer, UpstreamRequest
from gateway.saga.proof import located
from gateway.upstream.lookups import UpstreamLookups

TYPE = "Basic"  # http://hl7.org/fhir/R4/basic.html: no patient, no meaning of its own
SYSTEM = "urn:fhir-gateway:doctor"
_JSON = (b"content-type", b"application/fhir+json; charset=utf-8")
_ACCEPT = (b"accept", b"application/fhir+json")
_FRESH = (b"cache-control", b"no-cache")
_OK, _CREATED = 200, 201
_ROUNDS = 2  # a resource that another one refers to goes in the second


class Unanswered(Exception):
    """A probe's request had no answer, or one that tells nothing; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One resource of the corner in its second version; `first` is the outdated one."""

    id: str
    first: str
    version: str


@dataclass(slots=True, kw_only=True)
class Corner:
    """Sends the probes' requests and remembers what has to be removed. `mark` tells this run from any other."""

    upstream: Upstream
    lookups: UpstreamLookups
    limits: BodyLimits
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    made: list[str] = field(default_factory=list)

    async def send(
        self, method: str, path: str, *headers: tuple[bytes, bytes], body: JsonObject | None = None, query: str = ""
    ) -> UpstreamAnswer:
        """One request. Raises Unanswered."""
        all_headers: Headers = (_ACCEPT, *headers) if body is None else (_ACCEPT, _JSON, *headers)
        content = b"" if body is None else json.dumps(body).encode()
        request = UpstreamRequest(method=method, path=path, query=query, headers=all_headers, body=content)
        try:
            return await self.upstream.send(request)
        except NotSent:
            raise Unanswered("the server was not reached") from None
        except AnswerLost:
            raise Unanswered("no answer") from None

    def resource(self, id_: str | None = None, *, value: str = "a", labelled: bool = True) -> JsonObject:
        """A `Basic` of this run. `labelled`: with the tag and the label that the probes look for."""
        made: JsonObject = {
            "resourceType": TYPE,
            "identifier": [{"system": SYSTEM, "value": self.mark}, {"system": f"{SYSTEM}:value", "value": value}],
            "code": {"text": "Written by fhir-gateway doctor; may be deleted"},
        }
        if id_ is not None:
            made["id"] = id_
        if labelled:
            made["meta"] = {"tag": [{"system": SYSTEM, "code": self.mark}]}
        return made

    async def create(
        self, *headers: tuple[bytes, bytes], body: JsonObject | None = None
    ) -> tuple[UpstreamAnswer, str | None]:
        """POST; the id where the answer says one, remembered for the end."""
        answer = await self.send("POST", TYPE, *headers, body=body or self.resource())
        where = located(answer)
        id_ = where[1] if where is not None and where[0] == TYPE else self._id_in(answer)
        if id_ is not None and answer.status == _CREATED:
            self.made.append(id_)
        return answer, id_

    async def put(self, id_: str, body: JsonObject, *headers: tuple[bytes, bytes]) -> UpstreamAnswer:
        """PUT; what it creates is remembered for the end, also when no answer comes."""
        if id_ not in self.made:
            self.made.append(id_)
        return await self.send("PUT", f"{TYPE}/{id_}", *headers, body=body)

    async def second(self) -> Made:
        """A fresh resource in its second version, so that there is an outdated one to name. Raises Unanswered."""
        answer, id_ = await self.create()
        if id_ is None or answer.status != _CREATED:
            raise Unanswered(f"a creation was answered with {answer.status}")
        first = (await self.seen(id_)).version
        changed = await self.put(id_, self.resource(id_, value="b"))
        version = (await self.seen(id_)).version
        if version == first:
            raise Unanswered(f"an update was answered with {changed.status} and made no version")
        return Made(id=id_, first=first, version=version)

    async def seen(self, id_: str) -> Seen:
        """The current version. Raises Unanswered when there is none."""
        look = await self.lookups.current(TYPE, id_)
        if not isinstance(look, Seen):
            raise Unanswered("what was written cannot be read")
        return look

    async def gone(self, id_: str) -> bool:
        """Whether it reads as deleted or never there. Raises Unanswered."""
        look = await self.lookups.current(TYPE, id_)
        if not isinstance(look, Seen | Absent):
            raise Unanswered("what was deleted cannot be read")
        return isinstance(look, Absent)

    async def unused(self, id_: str) -> bool:
        """Whether nobody ever used an id."""
        return await self.lookups.current(TYPE, id_) == Absent()

    async def clean(self) -> tuple[str, ...]:
        """Delete everything that was made, what refers to others first. Returns what is still there."""
        self.made += [id_ for id_ in await self._found_again() if id_ not in self.made]
        left = list(dict.fromkeys(self.made))
        for _ in range(_ROUNDS):
            for id_ in reversed(list(left)):
                try:
                    if await self._removed(id_):
                        left.remove(id_)
                except Unanswered:
                    continue
        return tuple(f"{TYPE}/{id_}" for id_ in left)

    async def _removed(self, id_: str) -> bool:
        """Delete one, if it is there and of this run: an id that somebody else took meanwhile is not touched."""
        look = await self.lookups.current(TYPE, id_)
        if isinstance(look, Absent) or (isinstance(look, Seen) and look.readable and not self.marked(look.resource)):
            return True
        await self.send("DELETE", f"{TYPE}/{id_}")
        return await self.gone(id_)

    async def _found_again(self) -> list[str]:
        """What a creation made whose answer was lost. Searches are not believed: each hit has to carry the mark."""
        try:
            answer = await self.send("GET", TYPE, _FRESH, query=f"identifier={SYSTEM}%7C{self.mark}&_count=50")
            bundle = parse(answer.body, self.limits) if answer.status == _OK else {}
        except (Unanswered, GatewayError):
            return []
        entries = bundle.get("entry")
        found = (
            [entry.get("resource") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        )
        return [str(each["id"]) for each in found if isinstance(each, dict) and "id" in each and self.marked(each)]

    def marked(self, resource: JsonObject) -> bool:
        """Whether a resource is one of this run."""
        identifiers = resource.get("identifier")
        wanted = {"system": SYSTEM, "value": self.mark}
        return isinstance(identifiers, list) and wanted in identifiers

    def _id_in(self, answer: UpstreamAnswer) -> str | None:
        try:
            resource = parse(answer.body, self.limits)
        except GatewayError:
            return None
        id_ = resource.get("id")
        return id_ if isinstance(id_, str) and resource.get("resourceType") == TYPE else None


def request_id() -> tuple[tuple[bytes, bytes], str]:
    """A header with a fresh request id of the gateway's own form, and the id."""
    id_ = new_write_id()
    return (b"x-request-id", id_.encode()), id_


def if_match(version: str) -> tuple[bytes, bytes]:
    """The spelling of If-Match that the gateway uses everywhere."""
    return (b"if-match", f'W/"{version}"'.encode())
