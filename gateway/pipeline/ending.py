"""How the end of a write becomes an answer: what became of it, in the words that a client is told."""

from gateway.errors import Issue, IssueCode, Severity, Unavailable, UpstreamFault, UpstreamTimedOut
from gateway.pipeline.refusal import after_refusals
from gateway.pipeline.request import Refusal, Trace
from gateway.pipeline.stored import Judgement
from gateway.policy.decision import Decision
from gateway.saga.compensation import UndoAction
from gateway.saga.intent import State
from gateway.saga.ports import UpstreamAnswer
from gateway.saga.settle import Settled


def ended(settled: Settled, type_: str, trace: Trace) -> UpstreamAnswer | Refusal:
    """What became of a journalled write. Only `committed` may become a 2xx."""
    trace.settled = settled.state.value
    trace.undo = settled.undo.value if settled.undo else None
    trace.reason = settled.reason
    trace.stored_version = settled.intent.stored_version if settled.intent else None
    verified = judged(settled.detail, trace)
    if settled.answer is not None:
        trace.upstream_status = settled.answer.status
        if settled.state is State.COMMITTED or (settled.state is State.REJECTED and settled.answer.status >= 400):  # noqa: PLR2004
            return settled.answer
    if settled.state is State.REJECTED:
        raise nothing_written()
    return could_not_stand(settled, after_refusals(verified, type_) if verified is not None else ())


def could_not_stand(settled: Settled, issues: tuple[Issue, ...]) -> Refusal:
    """The error of a write that is not simply there. `issues` are of the rules that did not hold on what was stored."""
    if settled.state is State.UNDONE and not issues:
        issues = (Issue(code=IssueCode.CONFLICT, text=f"The write could not stand: {settled.reason}."),)
    return Refusal(issues=(*issues, became(settled)), pending=settled.state is not State.UNDONE)


def judged(detail: object, trace: Trace) -> Decision | None:
    """Notes the judgement on what is stored, if there is one."""
    if not isinstance(detail, Judgement):
        return None
    trace.after, trace.after_seconds = detail.decision, detail.seconds
    return detail.decision


def in_doubt(*, timed_out: bool) -> UpstreamFault | UpstreamTimedOut:
    """The error of a write that nobody can look for."""
    issue = Issue(
        code=IssueCode.TIMEOUT if timed_out else IssueCode.TRANSIENT,
        text="The FHIR server's answer was lost; the write may or may not be stored. Look before you repeat it.",
    )
    return UpstreamTimedOut(issue) if timed_out else UpstreamFault(issue)


def nothing_written() -> Unavailable:
    """The error of a write that surely did not reach the server."""
    return Unavailable(Issue(code=IssueCode.TRANSIENT, text="The FHIR server cannot be reached; nothing was written."))


def became(settled: Settled) -> Issue:
    """The issue that says what became of a write that is not simply there (SURFACE.md, Clients' port)."""
    if settled.state is State.UNDONE:
        what = "restored to the version before" if settled.undo is UndoAction.RESTORE else "removed"
        return Issue(
            severity=Severity.INFORMATION,
            code=IssueCode.INFORMATIONAL,
            text=f"The server had stored the write; it was {what}.",
        )
    if settled.state is State.STUCK:
        return Issue(
            code=IssueCode.EXCEPTION,
            text="The write could not be settled safely; the server's operator was alarmed. Ask with the decision id.",
        )
    if settled.state is State.COMPENSATING:
        return Issue(
            code=IssueCode.INCOMPLETE,
            text="The server stored the write; it is still being removed. Ask for the outcome with the decision id.",
        )
    return Issue(
        code=IssueCode.INCOMPLETE,
        text="The server's answer was lost; what became of the write is being found out. Ask with the decision id.",
    )
