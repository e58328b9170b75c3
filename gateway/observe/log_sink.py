"""Where lines of the decision log go: a file that rotation may take away, or standard output."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

_PRIVATE = 0o600


class Sink(Protocol):
    """Takes whole lines. Every method raises OSError."""

    @property
    def name(self) -> str: ...

    def open(self) -> None: ...

    def write(self, lines: list[bytes]) -> None: ...

    def close(self) -> None: ...


class FileSink:
    """Appends to a file, and opens it anew when it was renamed or removed (logrotate needs no signal)."""

    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._rest = b""

    def open(self) -> None:
        self._descriptor = self._opened()

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)

    def write(self, lines: list[bytes]) -> None:
        self._reopen_if_moved()
        # What an earlier, failed attempt did write must not be written twice, nor its last line stay torn.
        data = self._rest or b"".join(lines)
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError:
                self._rest = data
                raise
        self._rest = b""

    def _reopen_if_moved(self) -> None:
        try:
            current = self._path.stat()
        except FileNotFoundError:
            current = None
        opened = os.fstat(self._descriptor)
        if current is None or (current.st_ino, current.st_dev) != (opened.st_ino, opened.st_dev):
            fresh = self._opened()
            os.close(self._descriptor)
            self._descriptor = fresh

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class StreamSink:
    """Writes to an open descriptor. `lock` keeps lines whole when several processes share it."""

    name = "stdout"

    def __init__(self, descriptor: int, lock: Path | None) -> None:
        self._descriptor = descriptor
        self._lock = lock
        self._lock_descriptor = -1
        self._rest = b""

    def open(self) -> None:
        if self._lock is not None:
            self._lock_descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)

    def write(self, lines: list[bytes]) -> None:
        data = self._rest or b"".join(lines)
        with self._exclusive():
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except OSError:
                    self._rest = data
                    raise
        self._rest = b""

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if self._lock_descriptor < 0:
            yield
            return
        fcntl.flock(self._lock_descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._lock_descriptor >= 0:
            os.close(self._lock_descriptor)
            self._lock_descriptor = -1
