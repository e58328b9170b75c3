"""The clients' ASGI application: framing in, the straight line, one answer out, one record left behind.

Raw ASGI on purpose: `BaseHTTPMiddleware` cancels a request whose client has gone, and a write in flight must
not be cancelled; `request.url` decodes paths and trusts Host.
"""

from collections.abc import AsyncIterator, Callable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog

from gateway import exhausted
from gateway.errors import GatewayError, Internal, Issue, IssueCode, Severity, TooBusy
from gateway.fhir.outcome import operation_outcome
from gateway.ingress import framing
from gateway.ingress.body import BodyReader, Receive
from gateway.ingress.headers import end_to_end, response_headers
from gateway.ingress.links import LinkRewriter, rewrite
from gateway.ingress.responses import (
    FHIR_JSON,
    PLAIN_JSON,
    Reply,
    Send,
    closing,
    error_reply,
    refusal_reply,
    send_reply,
    send_stream,
)
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.request import Forwarded, Own, Refusal, Replayed, Request, Streamed, Trace
from gateway.saga.ports import AnswerLost, Headers, StreamedAnswer

_log = structlog.get_logger("ingress")
_JSON_TYPES = (b"application/fhir+json", b"application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bases:
    """The two names of one FHIR base, without a trailing slash. `path` is the raw path of the public one."""

    upstream: str
    public: str
    path: bytes


class Record(Protocol):
    """Told how many requests are being answered, and of each request after the last byte of its answer."""

    def in_flight(self, requests: int) -> None: ...

    def __call__(self, trace: Trace, status: int, problem: GatewayError | None) -> None: ...


class Endpoint:
    """One request in, one answer out, one record left behind."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        bases: Bases,
        *,
        new_decision_id: Callable[[], str],
        record: Record,
        body_limit: int,
        body_seconds: float = 30.0,
        most_in_flight: int = 1_000,
    ) -> None:
        self._dispatcher = dispatcher
        self._bases = bases
        self._upstream_base = bases.upstream.encode()
        self._public_base = bases.public.encode()
        self._new_decision_id = new_decision_id
        self._record = record
        self._body_limit = body_limit
        self._body_seconds = body_seconds
        self._most_in_flight = most_in_flight
        self._in_flight = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One HTTP request; the lifespan and websockets are the server's business, not this application's."""
        if scope["type"] != "http":
            raise ValueError("only HTTP requests are served here")
        self._in_flight += 1
        self._record.in_flight(self._in_flight)
        try:
            await self._serve(scope, receive, send)
        finally:
            self._in_flight -= 1
            self._record.in_flight(self._in_flight)

    async def _serve(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        trace = Trace(decision_id=self._new_decision_id())
        body: BodyReader | None = None
        problem: GatewayError | None = None
        outcome: Reply | Streamed
        try:
            head = self._examine(scope)
            self._admit()
            body = BodyReader(receive, head, limit=self._body_limit, seconds=self._body_seconds)
            answer = await self._dispatcher.answer(_request(head, body), trace)
            outcome = answer if isinstance(answer, Streamed) else self._reply(answer, trace)
        except GatewayError as error:
            problem = error
            outcome = error_reply(error, trace.decision_id)
        except BaseException as defect:  # the outermost edge: a defect refuses, is logged once, and names nothing
            exhausted.end_if(defect)
            if not isinstance(defect, Exception):
                raise
            _log.exception("request.defect", decision_id=trace.decision_id)
            problem = Internal(Issue(code=IssueCode.EXCEPTION, text="The gateway failed; the request was refused."))
            outcome = error_reply(problem, trace.decision_id)
        if isinstance(outcome, Streamed):
            await self._stream(send, outcome.answer, trace)
            return
        must_close = outcome.close or (body is not None and body.must_close)
        await send_reply(send, closing(outcome) if must_close else outcome, trace.decision_id, receive)
        self._record(trace, outcome.status, problem)

    def _admit(self) -> None:
        # Before a token is looked at, and at once: a queue that nobody bounds only makes everybody wait.
        if self._in_flight > self._most_in_flight:
            raise TooBusy(Issue(code=IssueCode.TRANSIENT, text="Too many requests are under way."))

    def _examine(self, scope: MutableMapping[str, Any]) -> framing.RequestHead:
        return framing.examine(
            method=scope["method"],
            raw_path=scope["raw_path"],
            query=scope["query_string"],
            http_version=scope["http_version"],
            raw_headers=scope["headers"],
            base_path=self._bases.path,
        )

    def _reply(self, answer: Forwarded | Refusal | Own | Replayed, trace: Trace) -> Reply:
        match answer:
            case Refusal():
                return refusal_reply(answer.issues, trace.decision_id, status=500 if answer.pending else None)
            case Own():
                kind = FHIR_JSON if answer.fhir else PLAIN_JSON
                return Reply(status=200, headers=(kind,), body=answer.body)
            case Forwarded():
                return self._forwarded(answer, trace)
            case Replayed():
                first = ((b"idempotent-replayed", b"true"), (b"x-original-decision-id", answer.decision_id.encode()))
                reply = self._reply(answer.answer, trace)
                return replace(reply, headers=(*reply.headers, *first))

    def _forwarded(self, answer: Forwarded, trace: Trace) -> Reply:
        headers = self._headers(answer.headers)
        body = rewrite(answer.body, self._upstream_base, self._public_base)
        if answer.warnings:
            body, headers = _warned(answer, body, headers, trace)
        if not body:
            headers = tuple(header for header in headers if header[0] != b"content-type")
        return Reply(status=answer.status, headers=headers, body=body)

    def _headers(self, headers: Headers) -> Headers:
        return response_headers(headers, upstream_base=self._bases.upstream, public_base=self._bases.public)

    async def _stream(self, send: Send, answer: StreamedAnswer, trace: Trace) -> None:
        """A stream that breaks off ends the connection unfinished (AnswerLost passes), which a client notices."""
        chunks = self._rewritten(answer, headless=trace.method == "HEAD")
        headers = self._headers(answer.headers)
        try:
            await send_stream(send, status=answer.status, headers=headers, decision_id=trace.decision_id, chunks=chunks)
        except AnswerLost:
            trace.reason = "upstream broke off"
            raise
        finally:
            await answer.__aexit__(None, None, None)
            self._record(trace, answer.status, None)

    async def _rewritten(self, answer: StreamedAnswer, *, headless: bool) -> AsyncIterator[bytes]:
        if headless:
            return
        kind = next((value for name, value in answer.headers if name == b"content-type"), b"")
        if not kind.startswith(_JSON_TYPES):
            async for chunk in answer.chunks():
                yield chunk
            return
        links = LinkRewriter(self._upstream_base, self._public_base)
        async for chunk in answer.chunks():
            yield links.feed(chunk)
        yield links.finish()


def _request(head: framing.RequestHead, body: BodyReader) -> Request:
    return Request(
        method=head.method,
        path=head.path,
        query=head.query,
        headers=head.headers,
        end_to_end=end_to_end(head.headers),
        body=body.read,
    )


def _warned(answer: Forwarded, body: bytes, headers: Headers, trace: Trace) -> tuple[bytes, Headers]:
    """Rules in mode `warn` let the write through and say so: in the body where that is free, else in a header.

    A body that is the stored resource must stay what the server sent.
    """
    names = ", ".join(issue.diagnostics or "" for issue in answer.warnings)
    headers = (*headers, (b"x-policy-warning", names.encode("ascii", "replace")))
    if body:
        return body, headers
    done = Issue(severity=Severity.INFORMATION, code=IssueCode.INFORMATIONAL, text="The write was accepted.")
    plain = tuple(header for header in headers if header[0] != b"content-type")
    return operation_outcome((done, *answer.warnings), decision_id=trace.decision_id), (*plain, FHIR_JSON)
