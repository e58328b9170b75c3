"""The sandbox's FHIR server as an ASGI application: reads the request, names the interaction, answers, logs."""

import asyncio
import re
from dataclasses import dataclass, field, replace

from starlette.types import Receive, Scope, Send

from gateway.errors import IssueCode
from gateway.sandbox import reading, writing
from gateway.sandbox.control import Control
from gateway.sandbox.quirks import Quirks
from gateway.sandbox.r4_types import RESOURCE_TYPES
from gateway.sandbox.search import Parameters, parse_query
from gateway.sandbox.store import Event, Store
from gateway.sandbox.wire import Answer, Refused, Request, outcome

# http://hl7.org/fhir/R4/datatypes.html#id
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
# What HAPI lets through in X-Request-ID; anything else and the whole value is dropped.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._\- ]{1,250}")
_WRITES = frozenset({"POST", "PUT", "DELETE"})


@dataclass(slots=True)
class FhirServer:
    """An ASGI application that serves `store` below `path`, and its own switches where `control` is given."""

    store: Store = field(default_factory=Store)
    path: str = "/fhir"
    control: Control | None = None
    _searches: dict[str, tuple[float, Answer]] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection event: lifespan or one HTTP request."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = await _body(receive)
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        if self.control is not None and path.startswith("/__sandbox/"):
            await _send(send, self.control.answer(scope["method"], path, scope["query_string"].decode("latin-1"), body))
            return
        request = self._request(scope, path, body)
        answer, answered = await self._faulty(request, path)
        self._log(request, path, answer, answered=answered)
        await _send(send, answer.having(("x-request-id", request.request_id)), whole=answered)

    def _request(self, scope: Scope, path: str, body: bytes) -> Request:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        raw_query = scope["query_string"].decode("latin-1")
        request_id = headers.get("x-request-id", "")
        below = path.removeprefix(self.path).removeprefix("/") if path.startswith(self.path) else "?"
        return Request(
            # HEAD is allowed wherever GET is (http://hl7.org/fhir/R4/http.html#summary); the server drops the body.
            method="GET" if scope["method"] == "HEAD" else scope["method"],
            base=f"{scope['scheme']}://{headers.get('host', 'localhost')}{self.path}",
            segments=tuple(below.split("/")) if below else (),
            query=parse_query(raw_query),
            raw_query=raw_query,
            headers=headers,
            body=body,
            request_id=request_id if _REQUEST_ID.fullmatch(request_id) else self.store.new_request_id(),
        )

    async def _faulty(self, request: Request, path: str) -> tuple[Answer, bool]:
        """The answer, and whether the client gets it whole: the fault switches strike here."""
        quirks = self.store.quirks
        writes = request.method in _WRITES and not path.endswith("/_search")
        if quirks.read_late and request.method == "GET" and request.segments[:1] == (quirks.read_late_of,):
            await self._hold_read(quirks)
        if not writes or quirks.strikes == 0 or not quirks.faulty:
            return self._answer(request), True
        if quirks.strikes > 0:
            self.store.quirks = replace(quirks, strikes=quirks.strikes - 1)
        if quirks.apply_late:
            # A client that gives up meanwhile does not stop the server, as with real ones.
            await asyncio.sleep(quirks.apply_late)
        answer = self._answer(request)
        await asyncio.sleep(quirks.answer_late)
        if quirks.error_though_stored:
            failed = outcome(500, IssueCode.EXCEPTION, "internal error")
            return replace(failed, effect=answer.effect, target=answer.target), True
        return answer, not quirks.drop_answer_after_store

    async def _hold_read(self, quirks: Quirks) -> None:
        """Waits for `read_late`, or until a switch is changed: nobody waits for a read that a test has done with."""
        loop = asyncio.get_running_loop()
        until = loop.time() + quirks.read_late
        while self.store.quirks is quirks and (left := until - loop.time()) > 0:  # noqa: ASYNC110 # tests set it, too
            await asyncio.sleep(min(left, 0.02))

    def _answer(self, request: Request) -> Answer:
        try:
            return self._dispatch(request)
        except Refused as refused:
            return outcome(refused.status, refused.code, refused.text)

    def _dispatch(self, request: Request) -> Answer:
        match request.method, request.segments:
            case "GET", ("metadata",):
                return reading.capabilities(request, sorted(RESOURCE_TYPES))
            case "GET", ("_history",):
                return reading.history(self.store, request, None, None)
            case _, (resource_type, *rest) if resource_type in RESOURCE_TYPES:
                return self._of_type(request, resource_type, tuple(rest))
            case _:
                raise Refused(404, IssueCode.NOT_FOUND, "nothing is served here")

    def _of_type(self, request: Request, resource_type: str, rest: tuple[str, ...]) -> Answer:
        match request.method, rest:
            case "POST", ():
                return writing.create(self.store, request, resource_type)
            case "GET", ():
                return self._search(request, resource_type, request.query)
            case "POST", ("_search",):
                form = parse_query(request.body.decode("latin-1"))
                return self._search(request, resource_type, (*request.query, *form))
            case "GET", ("_history",):
                return reading.history(self.store, request, resource_type, None)
            case _, (resource_id, *below) if _ID.fullmatch(resource_id):
                return self._of_instance(request, (resource_type, resource_id), tuple(below))
            case _:
                raise Refused(405, IssueCode.NOT_SUPPORTED, "this server does not do that here")

    def _of_instance(self, request: Request, key: tuple[str, str], below: tuple[str, ...]) -> Answer:
        match request.method, below:
            case "GET", ():
                return reading.read(self.store, request, key)
            case "PUT", ():
                return writing.update(self.store, request, key)
            case "DELETE", ():
                return writing.delete(self.store, request, key)
            case "GET", ("_history",):
                return reading.history(self.store, request, key[0], key[1])
            case _, ("_history", version_id, *operation) if version_id:
                return self._of_version(request, key, version_id, operation)
            case _:
                raise Refused(405, IssueCode.NOT_SUPPORTED, "this server does not do that here")

    def _of_version(self, request: Request, key: tuple[str, str], version_id: str, operation: list[str]) -> Answer:
        match request.method, operation:
            case "GET", []:
                return reading.vread(self.store, request, key, version_id)
            case "DELETE", []:
                return writing.delete(self.store, request, key, version_id)
            case "POST", ["$expunge"]:
                return writing.expunge(self.store, key, version_id)
            case _:
                raise Refused(405, IssueCode.NOT_SUPPORTED, "this server does not do that here")

    def _search(self, request: Request, resource_type: str, parameters: Parameters) -> Answer:
        """A search, out of the cache when the server has one and the client lets it (HAPI: 60 s, also empty ones)."""
        kept = self.store.quirks.search_cached_seconds
        now = self.store.clock().timestamp()
        question = f"{resource_type}?{parameters}"
        known = self._searches.get(question)
        if kept and not request.fresh and known is not None and now - known[0] < kept:
            return known[1].having(("x-cache", f"HIT from {request.base}"))
        answer = reading.search_type(self.store, request, resource_type, parameters)
        if kept:
            self._searches[question] = (now, answer)
        return answer

    def _log(self, request: Request, path: str, answer: Answer, *, answered: bool) -> None:
        target = answer.target
        self.store.events.append(
            Event(
                seq=len(self.store.events) + 1,
                time=self.store.clock().isoformat(timespec="milliseconds"),
                method=request.method,
                path=path + (f"?{request.raw_query}" if request.raw_query else ""),
                status=answer.status,
                effect=answer.effect,
                target=target.path if target is not None else "",
                version=target.version if target is not None else "",
                request_id=request.request_id,
                if_match=request.headers.get("if-match", ""),
                answered=answered,
            )
        )


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _send(send: Send, answer: Answer, *, whole: bool = True) -> None:
    """Sends an answer; one that is not whole ends before its announced length, so that the client cannot use it."""
    length = len(answer.body) if whole else len(answer.body) + 1
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.status not in {204, 304}:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if whole:
        await send({"type": "http.response.body", "body": answer.body})
