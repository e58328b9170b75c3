"""Answers for what never becomes a request: recorded and shaped like every other refusal."""

from collections.abc import Callable
from dataclasses import replace

from gateway.errors import BadFraming, GatewayError, HeadersTooLarge, RequestTimedOut
from gateway.ingress.responses import Reply, error_reply


def rejection_reason(error: GatewayError) -> str:
    """The label of `rejected_requests_total`."""
    match error:
        case HeadersTooLarge():
            return "headers_too_large"
        case RequestTimedOut():
            return "timeout"
        case BadFraming():
            return "framing"
        case _:
            return "other"


class ConnectionRefusals:
    """What `strict_protocol` needs: an error in, a whole reply with its decision id out."""

    def __init__(self, new_decision_id: Callable[[], str], rejected: Callable[[str], None]) -> None:
        """`rejected` counts, by reason."""
        self._new_decision_id = new_decision_id
        self._rejected = rejected

    def __call__(self, error: GatewayError) -> Reply:
        self._rejected(rejection_reason(error))
        decision_id = self._new_decision_id()
        reply = error_reply(error, decision_id)
        return replace(reply, headers=(*reply.headers, (b"x-decision-id", decision_id.encode("ascii"))))
