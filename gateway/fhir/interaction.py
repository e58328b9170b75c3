"""Names the RESTful interaction of a request, or refuses it (http://hl7.org/fhir/R4/http.html).

Works on the raw path and query below the base: nothing is decoded, so that no server behind can read another
path than the one that was judged (HAPI drops empty segments and decodes `%4F`, twice for ids).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from gateway.errors import (
    InteractionNotSupported,
    Issue,
    IssueCode,
    Malformed,
    NotFound,
    NotImplementedHere,
)
from gateway.fhir import preconditions
from gateway.fhir.model import load


class InteractionCode(StrEnum):
    """The codes of http://hl7.org/fhir/restful-interaction."""

    READ = "read"
    VREAD = "vread"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    HISTORY_INSTANCE = "history-instance"
    HISTORY_TYPE = "history-type"
    HISTORY_SYSTEM = "history-system"
    CREATE = "create"
    SEARCH_TYPE = "search-type"
    SEARCH_SYSTEM = "search-system"
    CAPABILITIES = "capabilities"
    TRANSACTION = "transaction"
    BATCH = "batch"
    OPERATION = "operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """POST [type]. `if_none_exist` is the canonical search query (no type, no `?`), or None."""

    type: str
    if_none_exist: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """PUT [type]/[id]. `if_match` is the version inside `W/"…"`, or None."""

    type: str
    id: str
    if_match: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Any interaction that changes nothing. `path` and `query` are raw, relative to the base, and were checked."""

    code: InteractionCode
    path: str
    query: str = ""
    type: str | None = None
    id: str | None = None
    by_post: bool = False
    head: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """GET metadata: needs no token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmartConfiguration:
    """GET .well-known/smart-configuration: needs no token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOutcome:
    """GET $write-outcome?decision=ID: the gateway's own operation (SURFACE.md)."""

    decision_id: str


Write = Create | Update
Interaction = Create | Update | Reading | Capabilities | SmartConfiguration | WriteOutcome

_READ = ("GET", "HEAD")
_METHODS = frozenset({*_READ, "POST", "PUT", "PATCH", "DELETE"})
_PATH = re.compile(rb"[A-Za-z0-9.\-_$/]*")
# Printable ASCII but for blank " # < > \\ ^ ` { }: what RFC 3986 section 3.4 allows, and `|`, which FHIR's token
# parameters need and many clients do not encode.
_QUERY = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?|\[\]]|%[0-9A-Fa-f]{2})*")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_DECISION = re.compile(r"decision=([A-Za-z0-9\-]{1,64})")
_PAGING = frozenset({"_getpages", "_getpagesoffset", "_count", "_bundletype", "_pretty", "_format"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    path: str
    query: str
    if_match: Sequence[str]
    if_none_exist: Sequence[str]
    if_none_match: Sequence[str]

    @property
    def reads(self) -> bool:
        return self.method in _READ

    def reading(self, code: InteractionCode, type_name: str | None = None, logical_id: str | None = None) -> Reading:
        return Reading(
            code=code,
            path=self.path,
            query=self.query,
            type=type_name,
            id=logical_id,
            by_post=self.method == "POST",
            head=self.method == "HEAD",
        )


def name(
    method: str,
    path: bytes,
    query: bytes,
    *,
    if_match: Sequence[str] = (),
    if_none_exist: Sequence[str] = (),
    if_none_match: Sequence[str] = (),
    release: str = "R4",
) -> Interaction:
    """The interaction of a request.

    `path` is raw, below the base and without its leading slash (`Observation/12`, empty for the base); `query`
    is raw, without `?`. The conditions are all values of that header, one item per header line.

    Raises Malformed (not one reading), NotFound (no such path or type), InteractionNotSupported (not with this
    method; carries the methods that the path takes) or NotImplementedHere (FHIR has it, this gateway does not
    judge it).
    """
    request = _Request(
        method=method,
        path=_ascii(_PATH, path, "The path"),
        query=_ascii(_QUERY, query, "The query"),
        if_match=if_match,
        if_none_exist=if_none_exist,
        if_none_match=if_none_match,
    )
    segments = _segments(request.path)
    if segments and segments[-1].startswith("$"):
        return _operation(request, segments)
    match segments:
        case ["metadata"]:
            return _only_read(request, Capabilities())
        case [".well-known", "smart-configuration"]:
            return _only_read(request, SmartConfiguration())
        case ["_history"]:
            return _only_read(request, request.reading(InteractionCode.HISTORY_SYSTEM))
        case ["_search"]:
            raise NotImplementedHere(_unsupported("A search across types is not supported; search one type."))
    if not segments:
        return _on_base(request)
    type_name, *below = segments
    if type_name not in load(release).resources:
        raise NotFound(_unsupported("No such resource type. Type names are case-sensitive."))
    return _on_type(request, type_name, below)


def _on_base(request: _Request) -> Interaction:
    if request.method == "POST":
        raise NotImplementedHere(
            _unsupported("Batches and transactions are not supported yet; send each write by itself.")
        )
    if not request.reads:
        _not_allowed(request, (*_READ,))
    keys = [pair.split("=", 1)[0] for pair in request.query.split("&")]
    if "_getpages" not in keys:
        raise NotImplementedHere(_unsupported("A search across types is not supported; search one type."))
    if not _PAGING.issuperset(keys) or len(set(keys)) != len(keys):
        raise Malformed(_invalid("A page link takes each paging parameter once, and no other parameter."))
    return request.reading(InteractionCode.SEARCH_SYSTEM)


def _on_type(request: _Request, type_name: str, below: list[str]) -> Interaction:
    match below:
        case []:
            return _on_all(request, type_name)
        case ["_search"]:
            return _search(request, type_name)
        case ["_history"]:
            return _only_read(request, request.reading(InteractionCode.HISTORY_TYPE, type_name))
        case [logical_id] if _ID.fullmatch(logical_id):
            return _on_instance(request, type_name, logical_id)
        case [logical_id, "_history"] if _ID.fullmatch(logical_id):
            return _only_read(request, request.reading(InteractionCode.HISTORY_INSTANCE, type_name, logical_id))
        case [logical_id, "_history", version] if _ID.fullmatch(logical_id) and _ID.fullmatch(version):
            return _only_read(request, request.reading(InteractionCode.VREAD, type_name, logical_id))
        case [logical_id, _] if request.reads and _ID.fullmatch(logical_id):
            raise NotImplementedHere(_unsupported("A search in a compartment is not supported; search the type."))
        case _:
            raise NotFound(_unsupported("No such path. An id has 1 to 64 letters, digits, dots and hyphens."))


def _on_all(request: _Request, type_name: str) -> Interaction:
    if request.reads:
        return request.reading(InteractionCode.SEARCH_TYPE, type_name)
    if request.method != "POST":
        _not_allowed(request, (*_READ, "POST"))
    _without_query(request)
    if request.if_match:
        raise Malformed(_invalid("If-Match has no meaning on a create: there is no version yet."))
    _without_if_none_match(request)
    return Create(type=type_name, if_none_exist=preconditions.if_none_exist(request.if_none_exist, type_name))


def _on_instance(request: _Request, type_name: str, logical_id: str) -> Interaction:
    if request.reads:
        return request.reading(InteractionCode.READ, type_name, logical_id)
    if request.method != "PUT":
        _not_allowed(request, (*_READ, "PUT"))
    _without_query(request)
    if request.if_none_exist:
        raise Malformed(_invalid("If-None-Exist belongs to a create (POST)."))
    _without_if_none_match(request)
    return Update(type=type_name, id=logical_id, if_match=preconditions.if_match(request.if_match))


def _search(request: _Request, type_name: str) -> Interaction:
    if request.method != "POST":
        _not_allowed(request, ("POST",))
    _without_query(request)
    return request.reading(InteractionCode.SEARCH_TYPE, type_name)


def _operation(request: _Request, segments: list[str]) -> Interaction:
    if segments != ["$write-outcome"]:
        raise NotImplementedHere(
            _unsupported("Operations are not supported: the gateway cannot judge what they write.")
        )
    decision = _DECISION.fullmatch(request.query)
    if decision is None:
        raise Malformed(_invalid("Ask with exactly one parameter: $write-outcome?decision=ID."))
    return _only_read(request, WriteOutcome(decision_id=decision[1]))


def _only_read(request: _Request, interaction: Interaction) -> Interaction:
    if not request.reads:
        _not_allowed(request, _READ)
    return interaction


def _not_allowed(request: _Request, allowed: tuple[str, ...]) -> NoReturn:
    known = request.method in _METHODS
    text = "This gateway does not take this method on this path." if known else "Unknown method."
    hint = _WHY_NOT.get(request.method, "")
    raise InteractionNotSupported(_unsupported(f"{text}{hint}"), allowed=allowed)


_WHY_NOT = {
    "PATCH": " Patches are not supported yet; send the whole resource with PUT.",
    "DELETE": " Deletes are not supported yet.",
    "PUT": " PUT takes [type]/[id]; conditional updates are not supported yet.",
    "POST": " POST takes [type] to create, or [type]/_search.",
}


def _ascii(pattern: re.Pattern[bytes], raw: bytes, what: str) -> str:
    if pattern.fullmatch(raw) is None:
        raise Malformed(_invalid(f"{what} holds characters or escapes that do not have exactly one reading."))
    return raw.decode("ascii")


def _segments(path: str) -> list[str]:
    segments = path.split("/") if path else []
    if {"", ".", ".."}.intersection(segments):
        raise Malformed(_invalid("The path has an empty segment, a dot segment or a trailing slash."))
    return segments


def _without_query(request: _Request) -> None:
    if request.query:
        raise Malformed(_invalid(f"{request.method} takes no query parameters here."))


def _without_if_none_match(request: _Request) -> None:
    # HAPI overwrites in spite of `If-None-Match: *`, so nothing may suggest that it was looked at.
    if request.if_none_match:
        raise NotImplementedHere(
            _unsupported("If-None-Match on a write is not supported: FHIR servers may overwrite all the same.")
        )


def _invalid(text: str) -> Issue:
    return Issue(code=IssueCode.INVALID, text=text)


def _unsupported(text: str) -> Issue:
    return Issue(code=IssueCode.NOT_SUPPORTED, text=text)
