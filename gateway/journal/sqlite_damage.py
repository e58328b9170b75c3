"""Whether the journal's file is as it was written, asked once at the start.

SQLite keeps no checksum of a page, and takes a damaged write-ahead log for one that ends early: what was committed
after the damage would be gone without a word. (Formats: https://www.sqlite.org/fileformat2.html#walformat,
https://www.sqlite.org/walformat.html.) What a single row says is held against its own tag, when it is read.
"""

import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

import structlog

from gateway.saga.journal_port import JournalUnavailable

_UNREADABLE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_MOST_SECONDS = 10.0  # some gigabytes; a start must not wait for ever
_INSTRUCTIONS_BETWEEN_LOOKS = 1_000_000  # some 50 ms; each look waits until the interpreter is free
_SMALL_BYTES = 64 * 1024 * 1024  # so much is checked with every index in half a second
_OPEN = "(state = 'intended' OR state = 'stored' OR state = 'compensating')"  # as the index has it
_HEADER, _FRAME = 32, 24
_MAGIC = (0x377F0682, 0x377F0683)  # the last bit: checksums are over big-endian words
_WORD = 0xFFFFFFFF
_MOST_READS = 5
_log = structlog.get_logger("journal")


def told(path: Path, why: str) -> str:
    """The same words for all damage."""
    return f"its file {path} is damaged: {why}. Nothing was changed; deploy/RUNBOOK.md says how to go on"


def refuse_damage(path: Path) -> None:
    """Raises JournalUnavailable when pages, index or log are not what was written. Changes nothing.

    Before the journal is opened for good, and read-only: whoever closes a file last moves its log into it. No file that
    SQLite has locked is opened here by another way: closing it would free the locks of the whole process.
    """
    lost = _lost_commits(path)
    if lost:
        raise JournalUnavailable(told(path, lost))
    started = time.monotonic()
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > started + _MOST_SECONDS, _INSTRUCTIONS_BETWEEN_LOOKS)
        try:
            wrong = _wrong(connection, small=path.stat().st_size < _SMALL_BYTES)
        except UnicodeDecodeError:  # of SQLite's own message, which quotes a damaged schema
            wrong = "its schema is no text"
        except sqlite3.DatabaseError as error:
            name = getattr(error, "sqlite_errorname", "")
            if name == "SQLITE_INTERRUPT":
                _log.warning("journal.check_cut_short", seconds=_MOST_SECONDS)
                return
            if not name.startswith(_UNREADABLE):
                raise
            wrong = str(error)
    if wrong:
        raise JournalUnavailable(told(path, wrong))


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


def _lost_commits(path: Path) -> str | None:
    """What is wrong with the write-ahead log, or None.

    The writer syncs each commit before it begins the next: a loss of power can cut the last one, never two.
    """
    try:
        log = _read_unmoved(path.with_name(f"{path.name}-wal"))
    except FileNotFoundError:
        return None
    header = log[:_HEADER]
    if len(header) < _HEADER or not any(header):
        return None
    magic = struct.unpack_from(">I", header)[0]
    order = ">" if magic & 1 else "<"
    if magic not in _MAGIC or _sum(header[:24], order, (0, 0)) != struct.unpack_from(">2I", header, 24):
        return "the head of its write-ahead log does not match its checksum"
    cut = _commits_after_damage(log, order)
    if cut > 1:
        return f"its write-ahead log breaks off {cut} commits before its end"
    if cut:
        _log.warning("journal.last_commit_cut", path=str(path))
    return None


def _read_unmoved(path: Path) -> bytes:
    """The log, read twice the same: another worker may be writing it."""
    content = path.read_bytes()
    for _ in range(_MOST_READS):
        again = path.read_bytes()
        if again == content:
            break
        content = again
    return content


def _commits_after_damage(log: bytes, order: str) -> int:
    """How many transactions of this log end in or behind the first frame that does not match its checksum.

    Frames of an older log have another salt, and mean nothing.
    """
    (page,), salt, running = struct.unpack_from(">I", log, 8), log[16:24], struct.unpack_from(">2I", log, 24)
    sound, lost = True, 0
    for start in range(_HEADER, len(log) - _FRAME - page + 1, _FRAME + page):
        ends = any(log[start + 4 : start + 8]) and log[start + 8 : start + 16] == salt
        if sound:
            running = _sum(log[start : start + 8], order, running)
            running = _sum(log[start + _FRAME : start + _FRAME + page], order, running)
            sound = log[start + 8 : start + 16] == salt and running == struct.unpack_from(">2I", log, start + 16)
        lost += ends and not sound
    return lost


def _sum(content: bytes, order: str, running: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum, continued."""
    one, two = running
    for even, odd in struct.iter_unpack(f"{order}2I", content):
        one = (one + even + two) & _WORD
        two = (two + odd + one) & _WORD
    return one, two
