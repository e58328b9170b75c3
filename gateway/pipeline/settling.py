"""Tells metrics and the operational log of every move that settling makes. Never an id of a patient or resource."""

import structlog

from gateway.observe.metrics import Metrics
from gateway.saga.compensation import UndoAction
from gateway.saga.intent import Intent
from gateway.saga.table import Event

_log = structlog.get_logger("settle")
_REOPENING = (Event.STORED_AFTER_ALL, Event.SENT_AFTER_ALL)


class SettleObserver:
    """`saga.settled.Observer` over metrics and log."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def transition(self, intent: Intent, event: Event) -> None:
        """Every move but those of an ordinary accepted write is worth a line."""
        if event in _REOPENING:
            # RUNBOOK, "FhirGatewayWriteReopened".
            _log.warning("write.reopened", decision_id=intent.decision_id, event_name=event.value)
            self._metrics.reopened(event.value)
        elif event not in (Event.ANSWERED_STORED, Event.HOLDS, Event.STORED_FOR_GOOD):
            _log.info("write.moved", decision_id=intent.decision_id, event_name=event.value, state=intent.state.value)

    def undo(self, action: UndoAction, result: str, seconds: float) -> None:
        """One try."""
        self._metrics.undo(action.value, result, seconds)

    def stuck(self, intent: Intent, reason: str) -> None:
        """A person has to decide: RUNBOOK, "A write is stuck"."""
        _log.error("write.stuck", decision_id=intent.decision_id, interaction=intent.interaction.value, reason=reason)

    def defect(self, decision_id: str, error: BaseException) -> None:
        """Settling failed where it must not."""
        _log.error("write.settling_failed", decision_id=decision_id, exc_info=error)
