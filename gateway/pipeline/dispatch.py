"""The line of one request: name it, authenticate, hand it to the read or the write line.

Reads top to bottom; nothing about a resource is said before the token was verified.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.errors import Issue, IssueCode, NotFound
from gateway.fhir import interaction as naming
from gateway.fhir.interaction import Capabilities, Create, Reading, SmartConfiguration, Update, WriteOutcome
from gateway.identity.authenticator import Authenticator
from gateway.identity.principal import Principal
from gateway.pipeline.outcome import OutcomeOf
from gateway.pipeline.read import Reads
from gateway.pipeline.request import Answer, Own, Request, Trace
from gateway.pipeline.write import Writer

_PUBLIC = (b"metadata", b".well-known/smart-configuration")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    """The rooms that a request passes. `now` is the wall clock in seconds."""

    authenticator: Authenticator
    reads: Reads
    writer: Writer
    outcomes: OutcomeOf
    capabilities: Callable[[], Awaitable[bytes]]
    smart_configuration: Callable[[], bytes]
    now: Callable[[], float]

    async def answer(self, request: Request, trace: Trace) -> Answer:
        """See one request through. Raises GatewayError for those that cannot go on."""
        if request.path in _PUBLIC and request.method in ("GET", "HEAD"):
            return await self._public(self._named(request, trace))
        # Before the interaction is named: an answer to a stranger must not tell one path from another.
        principal = trace.principal = await self._authenticate(request, trace)
        named = self._named(request, trace)
        match named:
            case Create() | Update():
                return await self.writer.write(request, named, principal, trace)
            case Reading():
                return await self.reads.read(request, named, principal, trace)
            case WriteOutcome():
                return Own(body=await self.outcomes.of(named.decision_id, principal))
            case Capabilities() | SmartConfiguration():
                return await self._public(named)

    async def _public(self, named: naming.Interaction) -> Answer:
        if isinstance(named, SmartConfiguration):
            return Own(body=self.smart_configuration(), fhir=False)
        if isinstance(named, Capabilities):
            return Own(body=await self.capabilities())
        raise NotFound(Issue(code=IssueCode.NOT_FOUND, text="Nothing is served here."))

    async def _authenticate(self, request: Request, trace: Trace) -> Principal:
        started = time.perf_counter()
        tokens = [value.encode("latin-1") for value in request.values("authorization")]
        now = self.now()
        principal = self.authenticator.remembered(tokens, now)
        if principal is None:
            principal = await self.authenticator.authenticate(tokens, now)
        trace.auth_seconds = time.perf_counter() - started
        return principal

    def _named(self, request: Request, trace: Trace) -> naming.Interaction:
        named = naming.name(
            request.method,
            request.path,
            request.query,
            if_match=request.values("if-match"),
            if_none_exist=request.values("if-none-exist"),
            if_none_match=request.values("if-none-match"),
        )
        trace.method = request.method
        if isinstance(named, Create | Update):
            is_create = isinstance(named, Create)
            trace.interaction = naming.InteractionCode.CREATE if is_create else naming.InteractionCode.UPDATE
            trace.type = named.type
            trace.id = named.id if isinstance(named, Update) else None
        elif isinstance(named, Reading):
            trace.interaction, trace.type, trace.id = named.code, named.type, named.id
        elif isinstance(named, Capabilities):
            trace.interaction = naming.InteractionCode.CAPABILITIES
        return named
