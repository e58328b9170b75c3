"""Writes the decision log: one JSON object per line, by a thread of its own, so that a slow disk stalls no request.

The queue is bounded in records and bytes. When it is full, `write` waits a moment, whatever the record; only then
is a record dropped, counted, and `accepting` turns False so that the pipeline can refuse further writes instead of
judging them unrecorded.
"""

import os
import secrets
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.observe.decision_line import LineWriter
from gateway.observe.decision_record import DecisionRecord
from gateway.observe.log_sink import FileSink, Sink, StreamSink
from gateway.observe.metrics import MULTIPROCESS_VARIABLE

_KEY_BYTES = 32
_RETRY_SECONDS = 0.5
_REST_SECONDS = 0.02
_BATCH = 500


class LogMetrics(Protocol):
    """What the log tells about itself."""

    def decision_log(self, sink: str, result: str, count: int = 1) -> None: ...

    def decision_log_queue(self, sink: str, waiting: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Bounds of the queue. `wait_seconds`: how long a full queue holds back a record before it is dropped."""

    records: int = 10_000
    bytes: int = 64_000_000
    wait_seconds: float = 1.0
    flush_seconds: float = 5.0


class DecisionLog:
    """The log of one process. `path` is None for standard output."""

    def __init__(
        self,
        path: Path | None,
        metrics: LogMetrics,
        *,
        key: bytes,
        instance: str,
        version: str,
        settings: LogSettings | None = None,
    ) -> None:
        """`key` is what hashes are keyed with, `instance` names this process among others."""
        # Workers share one standard output: a lock in the folder that they share anyway keeps lines whole.
        shared = os.environ.get(MULTIPROCESS_VARIABLE)
        lock = Path(shared, "decision-log.lock") if shared else None
        self._sink: Sink = StreamSink(sys.stdout.fileno(), lock) if path is None else FileSink(path)
        self._name = self._sink.name
        self._metrics = metrics
        self._lines = LineWriter(key=key, instance=instance, version=version)
        self._settings = settings or LogSettings()
        self._queue: deque[DecisionRecord] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._failing = False
        self._resting = False
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)

    def start(self) -> None:
        """Open the sink and start the writer. Raises OSError when the file cannot be opened."""
        self._sink.open()
        self._thread.start()

    @property
    def accepting(self) -> bool:
        """False while the sink fails or the queue is full: what is judged now might go unrecorded."""
        return not self._failing and not self._is_full()

    def write(self, record: DecisionRecord) -> None:
        """Take one record. Never raises; costs microseconds unless the queue is full."""
        with self._changed:
            if self._is_full():
                self._changed.wait_for(lambda: not self._is_full(), timeout=self._settings.wait_seconds)
            if self._is_full() or self._stopping:
                self._metrics.decision_log(self._name, "dropped")
                return
            self._queue.append(record)
            self._waiting_bytes += len(record.body)
            if len(self._queue) == 1 and not self._resting:
                self._changed.notify_all()

    def stop(self) -> None:
        """Write what is waiting, within `flush_seconds`, and close the sink."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(self._settings.flush_seconds)
        with self._changed:
            if self._queue:
                self._metrics.decision_log(self._name, "dropped", len(self._queue))
                self._queue.clear()
        self._sink.close()

    def _is_full(self) -> bool:
        return len(self._queue) >= self._settings.records or self._waiting_bytes >= self._settings.bytes

    def _run(self) -> None:
        deadline: float | None = None
        while batch := self._take():
            lines = [self._lines.line(record) for record in batch]
            while not self._written(lines):
                if self._stopping:
                    deadline = deadline or time.monotonic() + self._settings.flush_seconds
                    if time.monotonic() >= deadline:
                        self._metrics.decision_log(self._name, "failed", len(lines))
                        return
                time.sleep(_RETRY_SECONDS)
            self._done(batch)
            self._gather()

    def _gather(self) -> None:
        """Let records gather for a moment: to be woken for every one would cost the requests more than the log."""
        with self._changed:
            if not self._stopping and len(self._queue) < _BATCH:
                self._resting = True
                self._changed.wait_for(lambda: self._stopping, timeout=_REST_SECONDS)
                self._resting = False

    def _take(self) -> list[DecisionRecord]:
        """The next records, which stay in the queue until they are written; empty when stopped and done."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            return [self._queue[index] for index in range(min(len(self._queue), _BATCH))]

    def _done(self, batch: list[DecisionRecord]) -> None:
        with self._changed:
            for record in batch:
                self._queue.popleft()
                self._waiting_bytes -= len(record.body)
            waiting = len(self._queue)
            self._changed.notify_all()
        self._metrics.decision_log(self._name, "written", len(batch))
        self._metrics.decision_log_queue(self._name, waiting)

    def _written(self, lines: list[bytes]) -> bool:
        try:
            self._sink.write(lines)
        except OSError:
            if not self._failing:
                self._metrics.decision_log(self._name, "failed", len(lines))
            self._failing = True
            return False
        self._failing = False
        return True


def installation_key(path: Path) -> bytes:
    """The key of the hashes of this installation, made on first use. Raises OSError."""
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
        # Linked when whole, so that a worker which starts at the same time reads one key or the other's, never half.
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise OSError(f"{path} does not hold a key of {_KEY_BYTES} bytes")
    return key
