"""A write as it leaves for the FHIR server, and where its answer says that it is."""

import asyncio

from gateway.errors import Issue, IssueCode, TooLarge
from gateway.fhir.assigned_id import with_id
from gateway.fhir.interaction import Create, Write
from gateway.fhir.write_tag import with_tag
from gateway.pipeline.request import Request
from gateway.saga.ports import Headers, UpstreamAnswer, UpstreamRequest

_LARGE = 200_000  # bytes: changing more takes long, so it is done on a thread
_CONTENT_TYPE = (b"content-type", b"application/fhir+json; charset=utf-8")
_ACCEPT = (b"accept", b"application/fhir+json")


async def body_of(body: bytes, write_id: str, *, assigned_id: str | None, tagged: bool, most: int) -> bytes:
    """The judged bytes; with an id or a tag of the gateway's own, where that is how lost writes are found.

    Raises TooLarge when they are past `most` then: what is journalled has to be read again.
    """
    if assigned_id is None and not tagged:
        return body
    change, value = (with_tag, write_id) if assigned_id is None else (with_id, assigned_id)
    changed = await asyncio.to_thread(change, body, value) if len(body) > _LARGE else change(body, value)
    if len(changed) > most:
        raise TooLarge(Issue(code=IssueCode.TOO_LONG, text="With what the gateway has to add the body is too large."))
    return changed


def prefer_of(request: Request) -> bytes | None:
    """What the client wants back, in canonical form (`return=minimal`), or None."""
    return next((value for name, value in request.end_to_end if name == b"prefer"), None)


def upstream_write(
    write: Write,
    body: bytes,
    guard: str | None,
    write_id: str,
    request: Request,
    *,
    may_read: bool,
    assigned_id: str | None = None,
    tagged: bool = False,
) -> UpstreamRequest:
    """The write as it leaves: the judged bytes, the gateway's own guard, and nothing else that a client chose."""
    headers: list[tuple[bytes, bytes]] = [_CONTENT_TYPE, _ACCEPT, (b"x-request-id", write_id.encode())]
    prefer = prefer_of(request)
    if not may_read:
        headers.append((b"prefer", b"return=minimal"))
    elif prefer is not None:
        headers.append((b"prefer", prefer))
    if assigned_id is not None or tagged:
        # The body was changed on the way (http://hl7.org/fhir/R4/http.html#custom).
        headers.append((b"x-intermediary", b"fhir-policy-gateway"))
    if assigned_id is not None:
        return UpstreamRequest(method="PUT", path=f"{write.type}/{assigned_id}", headers=tuple(headers), body=body)
    if isinstance(write, Create):
        if write.if_none_exist is not None:
            headers.append((b"if-none-exist", write.if_none_exist.encode()))
        return UpstreamRequest(method="POST", path=write.type, headers=tuple(headers), body=body)
    if guard is not None:
        # The version that was judged is the version that may be replaced (RFC 9110 section 13.1.1).
        headers.append((b"if-match", f'W/"{guard}"'.encode()))
    return UpstreamRequest(method="PUT", path=f"{write.type}/{write.id}", headers=tuple(headers), body=body)


def with_location(answer: UpstreamAnswer) -> Headers:
    """A client that POSTed is told where (http://hl7.org/fhir/R4/http.html#create); HAPI says so only to a POST."""
    where = answer.header(b"content-location")
    if answer.status != 201 or where is None or answer.header(b"location") is not None:  # noqa: PLR2004
        return answer.headers
    return (*answer.headers, (b"location", where.encode("latin-1")))
