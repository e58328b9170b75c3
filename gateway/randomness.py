"""Random bytes of the operating system, drawn many at a time: one system call serves a hundred ids."""

import os
import threading

_DRAWN = 4096


class Randomness:
    """Hands out bytes of `os.urandom`, each once. Safe between threads; a forked child draws anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = b""
        self._at = 0
        os.register_at_fork(after_in_child=self._forget)

    def take(self, count: int) -> bytes:
        """`count` bytes, at most 4096."""
        with self._lock:
            if len(self._bytes) - self._at < count:
                self._bytes, self._at = os.urandom(_DRAWN), 0
            start = self._at
            self._at = start + count
            return self._bytes[start : self._at]

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._bytes = b""
        self._at = 0


randomness = Randomness()
