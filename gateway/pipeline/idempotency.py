"""Writes under an `Idempotency-Key`: what becomes of a client that asks again.

The record is the journal's entry of the first write. A replay sends nothing: it is the answer that was given, or that
would have been given had the client still been there.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.errors import Issue, IssueCode, KeyInUse, KeyReused
from gateway.fhir.interaction import InteractionCode, Write
from gateway.fhir.outcome import operation_outcome
from gateway.identity.principal import Principal
from gateway.pipeline.claim import Claim, claim_of
from gateway.pipeline.ending import could_not_stand
from gateway.pipeline.outgoing import with_location
from gateway.pipeline.refusal import recorded_refusals
from gateway.pipeline.request import Forwarded, Refusal, Replayed, Trace
from gateway.policy.policy_set import PolicySet
from gateway.saga.compensation import UndoAction
from gateway.saga.intent import OPEN, Intent, State
from gateway.saga.journal_port import Journal
from gateway.saga.ports import AnswerLost, NotSent, Upstream, UpstreamAnswer, UpstreamRequest
from gateway.saga.proof import etag_version, located
from gateway.saga.recorded_answer import answer_of, had_body
from gateway.saga.settled import Settled

_READ_HEADERS = ((b"accept", b"application/fhir+json"), (b"cache-control", b"no-cache"))
_RETRY_SECONDS = 5
_JSON = (b"content-type", b"application/fhir+json; charset=utf-8")
_OK, _REFUSED = 200, 400
_CODES = {
    403: IssueCode.FORBIDDEN,
    404: IssueCode.NOT_FOUND,
    405: IssueCode.NOT_SUPPORTED,
    409: IssueCode.CONFLICT,
    410: IssueCode.DELETED,
    412: IssueCode.CONFLICT,
    413: IssueCode.TOO_LONG,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedWrites:
    """`secrets` key the hashes, newest first; `policies` finds the set of a revision, also one no longer in force."""

    journal: Journal
    upstream: Upstream
    secrets: Sequence[bytes]
    policies: Callable[[str], Awaitable[PolicySet | None]]

    def claim(self, key: str, write: Write, body: bytes, principal: Principal) -> Claim:
        """What the key and the request hash to."""
        return claim_of(key, write, body, principal, self.secrets)

    async def known(self, claim: Claim, trace: Trace) -> Intent | None:
        """The settled or stuck write under this key, or None: the key is free.

        Raises KeyReused when it was another request, KeyInUse while it is not settled, JournalUnavailable.
        """
        intent = await self.journal.keyed(claim.keys)
        if intent is None:
            trace.keyed = "new"
            return None
        if not claim.is_of(intent):
            trace.keyed = "mismatch"
            raise KeyReused(
                Issue(
                    code=IssueCode.CONFLICT,
                    text="This Idempotency-Key was used for another request; take a new key for each new write.",
                )
            )
        if intent.state in OPEN:
            trace.keyed = "in_progress"
            raise KeyInUse(
                Issue(
                    code=IssueCode.CONFLICT,
                    text="The first request with this Idempotency-Key is not settled yet; "
                    f"come again, or ask $write-outcome?decision={intent.decision_id}.",
                ),
                retry_after=_RETRY_SECONDS,
            )
        return intent

    async def replay(self, intent: Intent, trace: Trace, *, prefer: bytes | None, may_read: bool) -> Replayed:
        """The recorded outcome. Nothing is written; a version is read where a body is wanted and may be seen."""
        trace.keyed, trace.replay_of, trace.reason = "replayed", intent.decision_id, f"replayed: {intent.state.value}"
        trace.stored_version = intent.stored_version
        kept = answer_of(intent)
        answer: Forwarded | Refusal
        if intent.state is State.COMMITTED and kept is not None:
            wanted = may_read and (had_body(intent) if prefer is None else prefer == b"return=representation")
            answer = await self._committed(intent, kept, wanted=wanted)
        elif intent.state is State.REJECTED and kept is not None and kept.status >= _REFUSED:
            answer = _refused(kept, trace)
        else:
            answer = await self._undone(intent)
        return Replayed(answer=answer, decision_id=intent.decision_id)

    async def _committed(self, intent: Intent, kept: UpstreamAnswer, *, wanted: bool) -> Forwarded:
        headers = with_location(kept) if intent.interaction is InteractionCode.CREATE else kept.headers
        read = await self._read(kept) if wanted else None
        if read is None:
            return Forwarded(status=kept.status, headers=headers, body=b"")
        modified = read.header(b"last-modified")
        if modified is not None and kept.header(b"last-modified") is None:
            headers = (*headers, (b"last-modified", modified.encode("latin-1")))
        kind = tuple(header for header in read.headers if header[0] == b"content-type")
        plain = tuple(header for header in headers if header[0] != b"content-type")
        return Forwarded(status=kept.status, headers=(*plain, *kind), body=read.body)

    async def _read(self, kept: UpstreamAnswer) -> UpstreamAnswer | None:
        """That version, uncached, if the server still shows it."""
        where = located(kept)
        version = (where[2] if where else None) or etag_version(kept)
        if where is None or version is None:
            return None
        path = f"{where[0]}/{where[1]}/_history/{version}"
        try:
            read = await self.upstream.send(UpstreamRequest(method="GET", path=path, headers=_READ_HEADERS))
        except (NotSent, AnswerLost):
            return None
        return read if read.status == _OK and etag_version(read) in (None, version) else None

    async def _undone(self, intent: Intent) -> Refusal:
        """The error that the client got, or would have got: by the policies that the write was let in by."""
        policies = await self.policies(intent.policy_revision) if intent.failed else None
        undo = UndoAction.RESTORE if intent.created is False else UndoAction.DELETE
        settled = Settled(state=intent.state, failed=intent.failed, undo=undo, reason=intent.reason, intent=intent)
        return could_not_stand(settled, recorded_refusals(policies, intent.failed, intent.type))


def _refused(kept: UpstreamAnswer, trace: Trace) -> Forwarded:
    issue = Issue(
        code=_CODES.get(kept.status, IssueCode.PROCESSING),
        text="The FHIR server refused this write when it was first sent; nothing was stored.",
    )
    return Forwarded(
        status=kept.status, headers=(_JSON,), body=operation_outcome((issue,), decision_id=trace.decision_id)
    )
