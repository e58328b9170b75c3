"""One system call for one answer: what is written to a client in one turn of the event loop leaves together.

uvicorn writes the head of an answer and its body apart, and each write is a system call.
"""

import asyncio
from typing import Any


class CoalescingTransport:
    """A transport that holds back writes until the end of the turn. Everything else passes through."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._held: list[bytes] = []
        self._ends = False

    def write(self, data: bytes) -> None:
        """Hold the bytes until this turn of the loop is over."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def write_eof(self) -> None:
        """Half-close after what is held."""
        self._flush()
        self._inner.write_eof()

    def close(self) -> None:
        """Close after what is held."""
        self._flush()
        self._ends = True
        self._inner.close()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._ends or self._inner.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _flush(self) -> None:
        if not self._held:
            return
        held, self._held = self._held, []
        if not self._inner.is_closing():
            self._inner.write(held[0] if len(held) == 1 else b"".join(held))
