"""A write as it leaves for the FHIR server, and where its answer says that it is."""

from gateway.fhir.interaction import Create, Write
from gateway.pipeline.request import Request
from gateway.saga.ports import Headers, UpstreamAnswer, UpstreamRequest

_CONTENT_TYPE = (b"content-type", b"application/fhir+json; charset=utf-8")
_ACCEPT = (b"accept", b"application/fhir+json")


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
) -> UpstreamRequest:
    """The write as it leaves: the judged bytes, the gateway's own guard, and nothing else that a client chose."""
    headers: list[tuple[bytes, bytes]] = [_CONTENT_TYPE, _ACCEPT, (b"x-request-id", write_id.encode())]
    prefer = prefer_of(request)
    if not may_read:
        headers.append((b"prefer", b"return=minimal"))
    elif prefer is not None:
        headers.append((b"prefer", prefer))
    if assigned_id is not None:
        # The body was changed on the way (http://hl7.org/fhir/R4/http.html#custom).
        headers.append((b"x-intermediary", b"fhir-policy-gateway"))
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
