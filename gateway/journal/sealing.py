"""Payloads at rest: sealed with AES-256-GCM (NIST SP 800-38D), each value bound to its entry and column.

A sealed value is a byte for the form, the id of its key (4 bytes), a random nonce (12 bytes), then ciphertext and
tag. A value that is moved to another row or column, or changed, does not open. What stays readable in a row but says
what an undo touches is not sealed: a tag (the id of its key, then 16 bytes of keyed BLAKE2b) is kept beside it.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.randomness import randomness

_FORM = b"\x01"
_KEY_BYTES = 32
_ID_BYTES = 4
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEAD = len(_FORM) + _ID_BYTES
_log = structlog.get_logger("journal")


class Unreadable(Exception):
    """A sealed value cannot be opened. The text says why, without the value."""


class Sealer:
    """Seals with the first of its keys, opens with any of them. `keys` are of 32 bytes each."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_id(key): AESGCM(key) for key in keys}
        self._tagging = {_id(key): hmac.digest(key, b"steering", "sha256") for key in keys}
        self._newest = _id(keys[0])

    @property
    def newest(self) -> str:
        """The id of the key that seals: the first 8 hex digits of its SHA-256."""
        return self._newest.hex()

    def seal(self, plain: bytes, decision_id: str, column: str) -> bytes:
        """A value that opens only for the same entry and column."""
        nonce = randomness.take(_NONCE_BYTES)
        head = _FORM + self._newest
        sealed = self._ciphers[self._newest].encrypt(nonce, plain, _bound(head, decision_id, column))
        return b"".join((head, nonce, sealed))

    def open(self, sealed: bytes, decision_id: str, column: str) -> bytes:
        """What was sealed. Raises Unreadable."""
        head, nonce = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE_BYTES]
        if head[:1] != _FORM or len(nonce) < _NONCE_BYTES:
            raise Unreadable("its payload is not sealed in a known form")
        cipher = self._ciphers.get(head[1:])
        if cipher is None:
            raise Unreadable(f"its payload is sealed with key {head[1:].hex()}, which is not among the journal's keys")
        try:
            return cipher.decrypt(nonce, sealed[_HEAD + _NONCE_BYTES :], _bound(head, decision_id, column))
        except InvalidTag:
            raise Unreadable("its payload was changed in the journal") from None

    def tag(self, values: tuple[object, ...]) -> bytes:
        """What these values, in this order, are held against later."""
        return self._newest + _tag(self._tagging[self._newest], values)

    def tagged(self, tag: bytes, values: tuple[object, ...]) -> bool:
        """Whether the tag was made of these values. Raises Unreadable when its key is not at hand."""
        name = tag[:_ID_BYTES]
        key = self._tagging.get(name)
        if key is None:
            raise Unreadable(f"its row is tagged with key {name.hex()}, which is not among the journal's keys")
        return hmac.compare_digest(tag[_ID_BYTES:], _tag(key, values))


def keys_in(content: bytes) -> tuple[bytes, ...]:
    """The keys of a key file: 32 raw bytes, or one key in base64 on each line, newest first. Raises ValueError."""
    if len(content) == _KEY_BYTES:
        return (content,)
    keys: list[bytes] = []
    for line in content.split():
        try:
            key = base64.b64decode(line, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != _KEY_BYTES:
            raise ValueError("must hold 32 bytes, or 32 bytes in base64 on each line")
        keys.append(key)
    if not keys:
        raise ValueError("must not be empty")
    return tuple(keys)


def key_beside(journal: Path) -> Path:
    """Where the key of an SQLite journal is kept when none is configured."""
    return journal.with_name(f"{journal.name}.payload-key")


def sealer_for(key_file: Path | None, journal: Path | None) -> Sealer:
    """The configured keys, then the one beside an SQLite journal, which is made when there is no other.

    Raises ValueError or OSError.
    """
    keys = [] if key_file is None else list(keys_in(key_file.read_bytes()))
    if journal is not None:
        beside = key_beside(journal)
        if not keys and not beside.exists():
            _make(beside)
        if beside.exists():
            keys += [key for key in keys_in(beside.read_bytes()) if key not in keys]
    return Sealer(keys)


def derived_key(key_file: Path, purpose: str) -> bytes:
    """Another key of 32 bytes for all who share the newest key. Raises ValueError or OSError."""
    return hmac.digest(keys_in(key_file.read_bytes())[0], purpose.encode(), "sha256")


def derived_keys(key_file: Path, purpose: str) -> tuple[bytes, ...]:
    """The same of every key, newest first: what was hashed before a rotation is still found. As `derived_key`."""
    return tuple(hmac.digest(key, purpose.encode(), "sha256") for key in keys_in(key_file.read_bytes()))


def _make(path: Path) -> None:
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    # Linked when whole: a worker that starts at the same time reads one key or the other's, never half of one.
    with suppress(FileExistsError):
        os.link(fresh, path)
    fresh.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    # None was configured. Whoever loses this file can undo no write that is open by then.
    _log.warning("journal.key_made", path=str(path))


def _id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_ID_BYTES]


def _tag(key: bytes, values: tuple[object, ...]) -> bytes:
    # The repr of texts, numbers, None and tuples of them can be read in one way only.
    return hashlib.blake2b(repr(values).encode(errors="surrogateescape"), key=key, digest_size=_TAG_BYTES).digest()


def _bound(head: bytes, decision_id: str, column: str) -> bytes:
    return b"\x00".join((head, column.encode(), decision_id.encode()))
