"""Which processes are alive, told by locks that the kernel frees when a process dies, however it dies."""

import fcntl
import os
import secrets
from pathlib import Path


class OwnerLock:
    """This process' own lock file beside the journal, held as long as it is open."""

    def __init__(self, journal: Path, name: str) -> None:
        # A random part: a restarted worker of the same name must not pass for its dead predecessor.
        self.owner = f"{name}-{secrets.token_hex(6)}"
        self._path = _lock_file(journal, self.owner)
        self._descriptor: int | None = None

    def take(self) -> None:
        """Create and lock the file. Raises OSError."""
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """Free the lock and remove the file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(descriptor)

    def abandon(self) -> None:
        """Free the lock as a death would: the file stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class GoneOwner:
    """Holds the lock of an owner that is gone, so that two processes do not both clear up after it."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self._path, self._descriptor = path, descriptor

    def forget(self, *, remove: bool) -> None:
        """Let go; `remove` when nothing of that owner is left."""
        if remove:
            self._path.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)


def gone(journal: Path, owner: str) -> GoneOwner | None:
    """The hold on an owner that is gone, or None while it lives. An owner without a file is gone."""
    path = _lock_file(journal, owner)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return GoneOwner(path, None)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return GoneOwner(path, descriptor)


def _lock_file(journal: Path, owner: str) -> Path:
    return journal.with_name(f"{journal.name}.owner-{owner}")
