"""FHIR issue codes and the tree of errors that end a request.

Knows nothing of HTTP: `ingress/responses.py` is the only place that turns an error into a status.
Expected branches of the straight line are values (a `Decision`, an `UpstreamAnswer`); these exceptions
are for requests that cannot go on. They are raised once, translated once and logged once.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """http://hl7.org/fhir/R4/valueset-issue-severity.html."""

    FATAL = "fatal"
    ERROR = "error"
    WARNING = "warning"
    INFORMATION = "information"


class IssueCode(StrEnum):
    """The codes of http://hl7.org/fhir/R4/valueset-issue-type.html that the gateway uses or lets authors use."""

    INVALID = "invalid"
    STRUCTURE = "structure"
    REQUIRED = "required"
    VALUE = "value"
    INVARIANT = "invariant"
    SECURITY = "security"
    LOGIN = "login"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"
    SUPPRESSED = "suppressed"
    PROCESSING = "processing"
    NOT_SUPPORTED = "not-supported"
    DUPLICATE = "duplicate"
    MULTIPLE_MATCHES = "multiple-matches"
    NOT_FOUND = "not-found"
    DELETED = "deleted"
    TOO_LONG = "too-long"
    CODE_INVALID = "code-invalid"
    EXTENSION = "extension"
    TOO_COSTLY = "too-costly"
    BUSINESS_RULE = "business-rule"
    CONFLICT = "conflict"
    TRANSIENT = "transient"
    LOCK_ERROR = "lock-error"
    NO_STORE = "no-store"
    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    INCOMPLETE = "incomplete"
    THROTTLED = "throttled"
    INFORMATIONAL = "informational"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One `OperationOutcome.issue`.

    `text` becomes `details.text`; `expression` holds FHIRPath-style element paths; `diagnostics` names the
    policy and rule. None of them may hold payload values, tokens, patient ids or upstream text.
    """

    code: IssueCode
    text: str
    severity: Severity = Severity.ERROR
    expression: tuple[str, ...] = ()
    diagnostics: str | None = None


class GatewayError(Exception):
    """A request that cannot go on. Always fails closed: nothing was, or will be, sent upstream for it."""

    def __init__(self, *issues: Issue) -> None:
        """Carries at least one issue; the first names the reason, all of them are shown to the client."""
        super().__init__(issues[0].text)
        self.issues = issues


class Malformed(GatewayError):
    """The request or its body cannot be read in exactly one way."""


class BadFraming(Malformed):
    """HTTP framing is doubtful: the connection has to be closed after the answer."""


class Unprocessable(GatewayError):
    """Readable, but the content breaks a rule of FHIR or of a policy."""


class Unauthenticated(GatewayError):
    """No token, or one that is not accepted. `error` is the RFC 6750 code for `WWW-Authenticate`, or None.

    For metrics only, never for the client: `reason` is one of a fixed set of words, `issuer` a configured issuer.
    """

    def __init__(
        self, *issues: Issue, error: str | None = None, reason: str = "malformed", issuer: str | None = None
    ) -> None:
        super().__init__(*issues)
        self.error = error
        self.reason = reason
        self.issuer = issuer


class Forbidden(GatewayError):
    """Authenticated, but not allowed. `missing_scope` goes into `WWW-Authenticate` (RFC 6750 section 3.1)."""

    def __init__(self, *issues: Issue, missing_scope: str | None = None) -> None:
        super().__init__(*issues)
        self.missing_scope = missing_scope


class NotFound(GatewayError):
    """No such path below the base, or no such outcome for this client."""


class InteractionNotSupported(GatewayError):
    """An interaction that the gateway will not judge here. `allowed` lists the methods this path does take."""

    def __init__(self, *issues: Issue, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(*issues)
        self.allowed = allowed


class NotImplementedHere(GatewayError):
    """A FHIR interaction that exists, but that this gateway does not judge yet."""


class MediaTypeNotSupported(GatewayError):
    """A body in a media type, charset or coding that the gateway does not read."""


class NotAcceptable(GatewayError):
    """The client accepts only media types that the gateway does not produce."""


class Conflict(GatewayError):
    """The write collides with the current state of the resource."""


class KeyInUse(Conflict):
    """The first request under the same Idempotency-Key is not settled. `retry_after` is in seconds."""

    def __init__(self, *issues: Issue, retry_after: int) -> None:
        super().__init__(*issues)
        self.retry_after = retry_after


class KeyReused(Unprocessable):
    """The Idempotency-Key was used for another request."""


class PreconditionFailed(GatewayError):
    """`If-Match` names a version that is not the current one (RFC 9110 section 13.1.1)."""


class TooLarge(GatewayError):
    """The body is past its limit."""


class HeadersTooLarge(GatewayError):
    """The header block is past its limit."""


class Throttled(GatewayError):
    """Too many requests. `retry_after` is in seconds."""

    def __init__(self, *issues: Issue, retry_after: int) -> None:
        super().__init__(*issues)
        self.retry_after = retry_after


class RequestTimedOut(GatewayError):
    """The client was too slow to send its request."""


class UpstreamFault(GatewayError):
    """The FHIR server's answer cannot be used."""


class Unavailable(GatewayError):
    """Something the decision needs is out of reach for now. `retry_after` is in seconds."""

    def __init__(self, *issues: Issue, retry_after: int = 5) -> None:
        super().__init__(*issues)
        self.retry_after = retry_after


class TooBusy(Unavailable):
    """More is asked at once than can be served; nothing was looked at."""


class UpstreamTimedOut(GatewayError):
    """The FHIR server did not answer in time; whether it stored the write is in doubt."""


class Internal(GatewayError):
    """A defect of the gateway itself; the request was refused."""
