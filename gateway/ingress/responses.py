"""The only place where an error becomes an HTTP status, and where answers are written to the client."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

from gateway import errors
from gateway.errors import GatewayError, Issue, IssueCode
from gateway.fhir.outcome import operation_outcome
from gateway.ingress.body import Receive
from gateway.ingress.lingering import linger
from gateway.saga.ports import Headers

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FHIR_JSON = (b"content-type", b"application/fhir+json; charset=utf-8")
PLAIN_JSON = (b"content-type", b"application/json")

# Exhaustive: a test walks the tree of errors. A subclass is found before its parent.
STATUS: dict[type[GatewayError], int] = {
    errors.BadFraming: 400,
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.InteractionNotSupported: 405,
    errors.NotAcceptable: 406,
    errors.RequestTimedOut: 408,
    errors.Conflict: 409,
    errors.KeyInUse: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.MediaTypeNotSupported: 415,
    errors.Unprocessable: 422,
    errors.KeyReused: 422,
    errors.Throttled: 429,
    errors.HeadersTooLarge: 431,
    errors.Internal: 500,
    errors.NotImplementedHere: 501,
    errors.UpstreamFault: 502,
    errors.TooBusy: 503,
    errors.Unavailable: 503,
    errors.UpstreamTimedOut: 504,
}

# After these the rest of the connection cannot be trusted, or would never end.
_CLOSING = (errors.BadFraming, errors.RequestTimedOut, errors.TooLarge, errors.HeadersTooLarge)

# The table of POLICY.md. When several rules failed, the first row that any of them is in decides: what must stay
# secret before what is merely wrong, what is final (422 for every code in no row) before what may be tried again.
_FINAL: tuple[tuple[int, frozenset[IssueCode]], ...] = (
    (401, frozenset({IssueCode.LOGIN, IssueCode.EXPIRED})),
    (403, frozenset({IssueCode.FORBIDDEN, IssueCode.SUPPRESSED, IssueCode.SECURITY})),
    (404, frozenset({IssueCode.NOT_FOUND})),
    (410, frozenset({IssueCode.DELETED})),
    (409, frozenset({IssueCode.CONFLICT, IssueCode.DUPLICATE})),
    (412, frozenset({IssueCode.MULTIPLE_MATCHES})),
    (413, frozenset({IssueCode.TOO_LONG})),
    (501, frozenset({IssueCode.NOT_SUPPORTED})),
)
_TRANSIENT: tuple[tuple[int, frozenset[IssueCode]], ...] = (
    (500, frozenset({IssueCode.EXCEPTION})),
    (503, frozenset({IssueCode.TRANSIENT, IssueCode.NO_STORE, IssueCode.LOCK_ERROR, IssueCode.INCOMPLETE})),
    (504, frozenset({IssueCode.TIMEOUT})),
    (429, frozenset({IssueCode.THROTTLED})),
)
_MAY_BE_RETRIED = frozenset[IssueCode]().union(*(row for _, row in _TRANSIENT))
_DEFAULT_REFUSAL = 422

# RFC 6750 section 3: what may stand inside the quotes of a scope, without the quote and the backslash.
_NOT_IN_SCOPE = re.compile(r"[^\x21\x23-\x5b\x5d-\x7e ]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer. `close` ends the connection after it."""

    status: int
    headers: Headers
    body: bytes
    close: bool = False


def refusal_status(codes: Iterable[IssueCode]) -> int:
    """The status of a write that policies refused, from the codes of every rule that did not hold."""
    present = frozenset(codes)
    for status, row in _FINAL:
        if present & row:
            return status
    if not present <= _MAY_BE_RETRIED:
        return _DEFAULT_REFUSAL
    return next((status for status, row in _TRANSIENT if present & row), _DEFAULT_REFUSAL)


def status_of(error: GatewayError) -> int:
    """The status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def error_reply(error: GatewayError, decision_id: str) -> Reply:
    """The answer to a request that cannot go on."""
    headers = (FHIR_JSON, *_error_headers(error))
    body = operation_outcome(error.issues, decision_id=decision_id)
    return Reply(status=status_of(error), headers=headers, body=body, close=isinstance(error, _CLOSING))


def refusal_reply(issues: tuple[Issue, ...], decision_id: str, *, status: int | None = None) -> Reply:
    """The answer to a write that policies refused or undid. `status` overrides the table (pending undo: 500)."""
    chosen = refusal_status(issue.code for issue in issues) if status is None else status
    headers: Headers = (FHIR_JSON,)
    if chosen in {429, 503}:
        headers = (*headers, (b"retry-after", b"5"))
    if chosen == 401:  # noqa: PLR2004
        headers = (*headers, (b"www-authenticate", b'Bearer realm="fhir"'))
    return Reply(status=chosen, headers=headers, body=operation_outcome(issues, decision_id=decision_id))


def _error_headers(error: GatewayError) -> Headers:
    match error:
        case errors.Unauthenticated():
            # RFC 6750 section 3.1: no error code when the request carried no token at all.
            text = 'Bearer realm="fhir"' + (f', error="{_quoted(error.error)}"' if error.error else "")
            return ((b"www-authenticate", text.encode("ascii")),)
        case errors.Forbidden(missing_scope=str() as scope):
            text = f'Bearer realm="fhir", error="insufficient_scope", scope="{_quoted(scope)}"'
            return ((b"www-authenticate", text.encode("ascii")),)
        case errors.InteractionNotSupported():
            # RFC 9110 section 15.5.6: 405 must carry Allow, which may be empty.
            return ((b"allow", ", ".join(error.allowed).encode("ascii")),)
        case errors.Throttled() | errors.Unavailable() | errors.KeyInUse():
            return ((b"retry-after", str(error.retry_after).encode("ascii")),)
        case _:
            return ()


def _quoted(text: str) -> str:
    return _NOT_IN_SCOPE.sub("", text)


def closing(reply: Reply) -> Reply:
    """The same answer, after which the connection ends."""
    return replace(reply, close=True)


async def send_reply(send: Send, reply: Reply, decision_id: str, receive: Receive | None = None) -> None:
    """Write a whole answer.

    With `close` and `receive`, the client may still be sending: the answer goes out whole, then what arrives is
    thrown away for a moment. Closing at once would make the kernel reset the connection and take the answer
    with it (RFC 9112 section 9.6).
    """
    headers: list[tuple[bytes, bytes]] = [*reply.headers, (b"x-decision-id", decision_id.encode("ascii"))]
    if reply.status not in {204, 304}:
        headers.append((b"content-length", str(len(reply.body)).encode("ascii")))
    if reply.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if reply.close and receive is not None:
        await send({"type": "http.response.body", "body": reply.body, "more_body": True})
        await linger(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})


async def send_stream(
    send: Send, *, status: int, headers: Headers, decision_id: str, chunks: AsyncIterator[bytes]
) -> None:
    """Write an answer whose body is still coming. An exception of `chunks` ends the connection, unfinished."""
    sent = [*headers, (b"x-decision-id", decision_id.encode("ascii"))]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    async for chunk in chunks:
        if chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
