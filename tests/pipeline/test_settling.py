"""What is told of the moves of a write."""

import pytest
import structlog

from gateway.observe.metrics import Metrics
from gateway.pipeline.settling import SettleObserver
from gateway.saga.table import TABLE, Event
from tests.journal.entries import entry


@pytest.mark.parametrize("event", sorted({row.event for row in TABLE.values()}))
def test_a_reopened_write_is_counted_and_every_unusual_move_has_a_line(event: Event) -> None:
    metrics = Metrics(frozenset({"Observation"}))
    with structlog.testing.capture_logs() as logged:
        SettleObserver(metrics).transition(entry(), event)
    reopened = event in (Event.STORED_AFTER_ALL, Event.SENT_AFTER_ALL)
    ordinary = event in (Event.ANSWERED_STORED, Event.HOLDS, Event.STORED_FOR_GOOD)
    names = [(line["event"], line["log_level"], line["event_name"]) for line in logged]
    if reopened:
        assert names == [("write.reopened", "warning", event.value)]
    else:
        assert names == [("write.moved", "info", event.value)] * (not ordinary)
    counted = f'fhir_gateway_writes_reopened_total{{event="{event.value}"}} 1.0'
    assert (counted in metrics.render().decode()) is reopened
