"""A disk that fails and forgets, below the very SQLite that the journal uses.

The default VFS of that library is wrapped by ctypes: each open file keeps its methods, but for `xWrite`, `xSync` and
`xTruncate` (https://www.sqlite.org/c3ref/io_methods.html), which a plan may fail, and which keep a model of the
platter: what was written since the last sync of a file may be there after a power loss, or not, in any mixture of
sectors.
"""

import _sqlite3
import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

OK, IOERR_WRITE, IOERR_FSYNC, FULL = 0, 778, 1034, 13
SECTOR = 512
_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_WRITE = ctypes.CFUNCTYPE(_I, _P, _P, _I, _L)
_SYNC = ctypes.CFUNCTYPE(_I, _P, _I)
_TRUNCATE = ctypes.CFUNCTYPE(_I, _P, _L)
# The name as a bare pointer: SQLite keeps it, and what lies behind it, for as long as the file is open.
_OPEN = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, ctypes.POINTER(_I))


class _Methods(ctypes.Structure):
    """`sqlite3_io_methods`, version 3."""

    _fields_ = (
        ("version", _I),
        ("close", _P),
        ("read", _P),
        ("write", _P),
        ("truncate", _P),
        ("sync", _P),
        ("others", _P * 13),
    )


class _File(ctypes.Structure):
    """`sqlite3_file`: the first word of what each VFS makes of it."""

    _fields_ = (("methods", ctypes.POINTER(_Methods)),)


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`, version 3."""

    _fields_ = (
        ("version", _I),
        ("file_size", _I),
        ("longest_path", _I),
        ("next", _P),
        ("name", ctypes.c_char_p),
        ("data", _P),
        ("open", _P),
        ("others", _P * 15),
    )


@dataclass(slots=True)
class Platter:
    """One file: what is on it for certain, and the writes that may be."""

    path: str
    durable: bytes
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # offset and bytes; None: cut off there

    def after_power_loss(self, random: Random) -> bytes:
        """Each sector of each unsynced write is there, or is not."""
        content = bytearray(self.durable)
        for offset, written in self.pending:
            if written is None:
                if random.random() < 0.5:
                    del content[offset:]
                continue
            for at in range(0, len(written), SECTOR):
                if random.random() < 0.5:
                    piece = written[at : at + SECTOR]
                    content.extend(b"\0" * (offset + at + len(piece) - len(content)))
                    content[offset + at : offset + at + len(piece)] = piece
        return bytes(content)


Plan = Callable[[str, str], int]


def sound(kind: str, path: str) -> int:
    """Nothing fails."""
    return OK


def failing_at(number: int, code: int, *, only_once: bool = False) -> Plan:
    """The operation of that number from now on fails, and so does every one after it unless `only_once`."""
    count = 0

    def plan(kind: str, path: str) -> int:
        nonlocal count
        count += 1
        strikes = count == number if only_once else count >= number
        if not strikes:
            return OK
        return IOERR_FSYNC if kind == "sync" and code == IOERR_WRITE else code

    return plan


@dataclass(slots=True)
class Disk:
    """What happens below SQLite. `plan` is asked before each operation ("write", "sync", "truncate" and the path)."""

    plan: Plan = sound
    platters: dict[str, Platter] = field(default_factory=dict)
    operations: list[tuple[str, str]] = field(default_factory=list)

    def decide(self, kind: str, path: str) -> int:
        self.operations.append((kind, Path(path).name))
        return self.plan(kind, path)

    def platter(self, path: str) -> Platter:
        if path not in self.platters:
            content = Path(path).read_bytes() if os.path.exists(path) else b""  # noqa: PTH110 # called from C
            self.platters[path] = Platter(path, content)
        return self.platters[path]

    def lose_power(self, folder: Path, random: Random) -> None:
        """Write what the disk holds afterwards into another folder. The shared memory is gone."""
        folder.mkdir()
        for path, platter in self.platters.items():
            if not path.endswith("-journal"):
                (folder / Path(path).name).write_bytes(platter.after_power_loss(random))


class _Wrapped:
    """Keeps the callbacks and tables alive that C holds pointers to."""

    def __init__(self, library: ctypes.CDLL, disk: Disk) -> None:
        self.library, self.disk = library, disk
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        library.sqlite3_vfs_register.argtypes = [ctypes.POINTER(_Vfs), _I]
        self.before = library.sqlite3_vfs_find(None)
        self.tables: dict[int, _Methods] = {}
        self.paths: dict[int, str] = {}
        self.table_of: dict[int, int] = {}
        self.open = _OPEN(self._open)
        self.vfs = _Vfs.from_buffer_copy(self.before.contents)
        self.vfs.name = b"failing"
        self.vfs.next = None
        self.vfs.open = ctypes.cast(self.open, _P)
        self.write, self.sync, self.truncate = _WRITE(self._write), _SYNC(self._sync), _TRUNCATE(self._truncate)
        self.originals: dict[int, _Methods] = {}

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: "ctypes._Pointer[ctypes.c_int]") -> int:
        original = ctypes.cast(self.before.contents.open, _OPEN)
        code = int(original(ctypes.cast(self.before, _P), name, file, flags, out))
        if code != OK or name is None:
            return code
        handle = _File.from_address(file)
        address = ctypes.addressof(handle.methods.contents)
        if address not in self.tables:
            self.originals[address] = handle.methods.contents
            table = _Methods.from_buffer_copy(handle.methods.contents)
            table.write = ctypes.cast(self.write, _P)
            table.sync = ctypes.cast(self.sync, _P)
            table.truncate = ctypes.cast(self.truncate, _P)
            self.tables[address] = table
        self.paths[file] = os.fsdecode(ctypes.string_at(name))
        self.table_of[file] = address
        self.disk.platter(self.paths[file])
        handle.methods = ctypes.pointer(self.tables[address])
        return OK

    def _original(self, file: int) -> _Methods:
        return self.originals[self.table_of[file]]

    def _write(self, file: int, content: int, length: int, offset: int) -> int:
        path = self.paths[file]
        if code := self.disk.decide("write", path):
            return code
        self.disk.platter(path).pending.append((offset, ctypes.string_at(content, length)))
        return int(ctypes.cast(self._original(file).write, _WRITE)(file, content, length, offset))

    def _sync(self, file: int, flags: int) -> int:
        path = self.paths[file]
        if code := self.disk.decide("sync", path):
            return code
        code = int(ctypes.cast(self._original(file).sync, _SYNC)(file, flags))
        if code == OK:
            platter = self.disk.platter(path)
            platter.durable, platter.pending = Path(path).read_bytes(), []
        return code

    def _truncate(self, file: int, size: int) -> int:
        path = self.paths[file]
        if code := self.disk.decide("truncate", path):
            return code
        self.disk.platter(path).pending.append((size, None))
        return int(ctypes.cast(self._original(file).truncate, _TRUNCATE)(file, size))


@contextmanager
def beneath_sqlite(disk: Disk) -> Iterator[Disk]:
    """Every database that is opened meanwhile lies on this disk."""
    library = ctypes.CDLL(_sqlite3.__file__)
    wrapped = _Wrapped(library, disk)
    library.sqlite3_vfs_register(ctypes.byref(wrapped.vfs), 1)
    try:
        yield disk
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(wrapped.vfs))
        library.sqlite3_vfs_register(wrapped.before, 1)
