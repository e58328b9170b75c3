"""Choices from bytes: the same bytes make the same choices, and bytes that are used up choose the first."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Reads a choice from the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int) -> int:
        """A number from 0 to `below` (at most 256)."""
        if self._at >= len(self._data):
            return 0
        self._at += 1
        return self._data[self._at - 1] % below

    def one(self, values: Sequence[T]) -> T:
        """One of some values."""
        return values[self.number(len(values))]

    def rest(self) -> bytes:
        """What was not read."""
        return self._data[self._at :]
