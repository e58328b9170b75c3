"""Names the RESTful interaction of a request, or refuses it (http://hl7.org/fhir/R4/http.html)."""

from dataclasses import dataclass
from enum import StrEnum


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
