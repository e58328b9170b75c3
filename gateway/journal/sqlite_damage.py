"""Whether the journal's file is as it was written, asked once at the start.

SQLite keeps no checksum of a page, and takes a damaged write-ahead log for one that ends early: what was committed
after the damage would be gone without a word. (Formats: https://www.sqlite.org/fileformat2.html#walformat,
https://www.sqlite.org/walformat.html.) What a single row says is held against its own tag, when it is read.
"""

import sqlite3
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from gateway.saga.journal_port import JournalUnavailable

UNREADABLE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_MOST_SECONDS = 10.0  # some gigabytes; a start must not wait for ever
_INSTRUCTIONS_BETWEEN_LOOKS = 100_000
_SMALL_BYTES = 64 * 1024 * 1024  # so much is checked with every index in half a second
_OPEN = "state IN ('intended', 'stored', 'compensating')"
_HEADER, _FRAME = 32, 24
_MAGIC = (0x377F0682, 0x377F0683)  # the last bit: checksums are over big-endian words
_WORD = 0xFFFFFFFF
_log = structlog.get_logger("journal")


def told(path: Path, why: str) -> str:
    """The same words for all damage."""
    return f"its file {path} is damaged: {why}. Nothing was changed; deploy/RUNBOOK.md says how to go on"


def refuse_damage(connection: sqlite3.Connection, path: Path) -> None:
    """Raises JournalUnavailable when pages, index or log are not what was written."""
    lost = _lost_commits(connection, path)
    if lost:
        raise JournalUnavailable(told(path, lost))
    started = time.monotonic()
    connection.set_progress_handler(lambda: time.monotonic() > started + _MOST_SECONDS, _INSTRUCTIONS_BETWEEN_LOOKS)
    try:
        wrong = _wrong(connection, small=path.stat().st_size < _SMALL_BYTES)
        if wrong:
            raise JournalUnavailable(told(path, wrong))
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
            raise
        _log.warning("journal.check_cut_short", seconds=_MOST_SECONDS)
    finally:
        connection.set_progress_handler(None, 0)


def _wrong(connection: sqlite3.Connection, *, small: bool) -> str | None:
    """What is wrong with pages, rows or indexes; of a large file the one index that recovery goes by, and no other."""
    found = str(connection.execute(f"PRAGMA {'integrity_check' if small else 'quick_check'}(1)").fetchone()[0])
    if found != "ok":
        return found
    if not small and _has_index(connection):
        listed, held = (_open_entries(connection, how) for how in ("INDEXED BY intent_open", "NOT INDEXED"))
        if listed != held:
            return "the index of open writes does not show all of them"
    return None


def _has_index(connection: sqlite3.Connection) -> bool:
    """A new file has no table yet."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'intent_open'").fetchone() is not None


def _open_entries(connection: sqlite3.Connection, how: str) -> int:
    count: int = connection.execute(f"SELECT count(*) FROM intent {how} WHERE {_OPEN}").fetchone()[0]  # noqa: S608
    return count


def _lost_commits(connection: sqlite3.Connection, path: Path) -> str | None:
    """What is wrong with the write-ahead log, or None.

    The writer syncs each commit before it begins the next: a loss of power can cut the last one, never two.
    """
    connection.execute("BEGIN IMMEDIATE")  # nobody writes meanwhile
    try:
        log = path.with_name(f"{path.name}-wal").read_bytes()
        index = path.with_name(f"{path.name}-shm").read_bytes()
    except FileNotFoundError:
        return None
    finally:
        connection.execute("ROLLBACK")
    header = log[:_HEADER]
    if len(header) < _HEADER or not any(header):
        return None
    if not _is_sound(header):
        return "the head of its write-ahead log does not match its checksum"
    believed = struct.unpack_from("=I", index, 16)[0]
    cut = sum(number > believed for number in _commits(log, header))
    if cut > 1:
        return f"its write-ahead log breaks off {cut} commits before its end"
    if cut:
        _log.warning("journal.last_commit_cut", path=str(path))
    return None


def _is_sound(header: bytes) -> bool:
    magic, *_, first, second = struct.unpack(">8I", header)
    if magic not in _MAGIC:
        return False
    words = struct.unpack(">6I" if magic & 1 else "<6I", header[: _HEADER - 8])
    one = two = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & _WORD
        two = (two + odd + one) & _WORD
    return (one, two) == (first, second)


def _commits(log: bytes, header: bytes) -> Iterator[int]:
    """The numbers of the frames that end a transaction of this log; older ones have another salt."""
    (page,), salt = struct.unpack_from(">I", header, 8), header[16:24]
    for number, start in enumerate(range(_HEADER, len(log) - _FRAME - page + 1, _FRAME + page), start=1):
        if log[start + 8 : start + 16] == salt and any(log[start + 4 : start + 8]):
            yield number
