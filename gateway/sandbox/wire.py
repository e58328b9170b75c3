"""The server's requests and answers as values, and how FHIR dresses them (http://hl7.org/fhir/R4/http.html)."""

from dataclasses import dataclass, field, replace
from email.utils import format_datetime
from http import HTTPStatus

from gateway.errors import IssueCode
from gateway.fhir.json import Json, JsonObject
from gateway.sandbox import content
from gateway.sandbox.search import Parameters
from gateway.sandbox.store import Version

FHIR_JSON = "application/fhir+json;charset=UTF-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. `segments` are raw path parts below the base; header names are lower case, the first one counts."""

    method: str
    base: str
    segments: tuple[str, ...]
    query: Parameters
    raw_query: str
    headers: dict[str, str]
    body: bytes
    request_id: str

    @property
    def if_match(self) -> str | None:
        """The version in `If-Match`, out of `W/"n"`, `"n"` or `n`; None when absent or empty."""
        text = self.headers.get("if-match", "").strip()
        return text.removeprefix("W/").strip('"') or None

    @property
    def fresh(self) -> bool:
        """Whether the client refuses a cached search."""
        control = self.headers.get("cache-control", "")
        return "no-cache" in control or "no-store" in control


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, and what the request did to the store: created, updated, revived, deleted or none."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    effect: str = "none"
    target: Version | None = field(default=None)

    def having(self, *headers: tuple[str, str]) -> "Answer":
        """The same answer with more headers."""
        return replace(self, headers=(*self.headers, *headers))


class Refused(Exception):
    """A request that ends in an OperationOutcome and changes nothing."""

    def __init__(self, status: int, code: IssueCode, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text


def outcome(status: int, code: IssueCode, text: str, *, severity: str = "error") -> Answer:
    """An OperationOutcome with one issue."""
    issue: JsonObject = {"severity": severity, "code": code.value, "diagnostics": text}
    return json_answer(status, {"resourceType": "OperationOutcome", "issue": [issue]})


def json_answer(status: int, resource: JsonObject) -> Answer:
    """A resource as the body."""
    return Answer(status=status, body=content.body_of(resource), headers=(("content-type", FHIR_JSON),))


def http_date(version: Version) -> tuple[str, str]:
    """`Last-Modified`, in whole seconds (RFC 9110 section 8.8.2)."""
    return "last-modified", format_datetime(version.updated, usegmt=True)


def versioned_url(base: str, version: Version) -> str:
    """The absolute URL of one version."""
    return f"{base}/{version.path}/_history/{version.version}"


def written(request: Request, status: int, version: Version, effect: str) -> Answer:
    """The answer to a write, its body as `Prefer` asks (http://hl7.org/fhir/R4/http.html#ops)."""
    url = versioned_url(request.base, version)
    headers: list[tuple[str, str]] = [("etag", version.etag), http_date(version), ("content-location", url)]
    if request.method == "POST" or status == HTTPStatus.CREATED:
        headers.insert(0, ("location", url))
    prefer = request.headers.get("prefer", "").replace(" ", "")
    if "return=minimal" in prefer:
        answer = Answer(status=status)
    elif "return=OperationOutcome" in prefer:
        answer = outcome(status, IssueCode.INFORMATIONAL, f"{effect}: {version.path}", severity="information")
    else:
        answer = json_answer(status, version.resource or {})
    return replace(answer, effect=effect, target=version).having(*headers)


def bundle(kind: str, request: Request, entries: list[Json], *, total: int, next_url: str | None) -> JsonObject:
    """A searchset or history Bundle with its `self` and `next` links."""
    own = "/".join((request.base, *request.segments)) + (f"?{request.raw_query}" if request.raw_query else "")
    links: list[Json] = [{"relation": "self", "url": own}]
    if next_url is not None:
        links.append({"relation": "next", "url": next_url})
    return {"resourceType": "Bundle", "type": kind, "total": total, "link": links, "entry": entries}
