"""Where gateway.yaml says that the journal is: an SQLite file, or a PostgreSQL database."""

import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo

from gateway.config_values import is_loopback
from gateway.journal.sealing import keys_in

_WHERE = "must be sqlite:PATH or postgresql://USER@HOST/DATABASE"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_PORT = 5432
_TLS_FILES = ("sslrootcert", "sslcert", "sslkey")
_TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class _Place(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class SqliteFile(_Place):
    """A file on a local disk, for the workers of one machine."""

    path: Path


class PostgresDatabase(_Place):
    """A database for any number of gateways. `options` are libpq's of TLS; `host` may be a folder of sockets."""

    host: str
    port: int
    user: str
    database: str
    options: tuple[tuple[str, str], ...]


def journal_place(value: object, info: ValidationInfo[Any]) -> SqliteFile | PostgresDatabase:
    """The value of the key `journal`. Raises ValueError, without repeating what may hold a password."""
    if not isinstance(value, str):
        raise ValueError(_WHERE)  # noqa: TRY004 (pydantic collects ValueError only)
    scheme, separator, name = value.partition(":")
    if scheme in {"postgresql", "postgres"} and name.startswith("//"):
        return _database(value, info.context["folder"], insecure=bool(info.context["allow_insecure"]))
    if scheme != "sqlite" or not separator or not name:
        raise ValueError(_WHERE)
    path = Path(info.context["folder"], name)
    if not path.parent.is_dir():
        raise ValueError("the folder of the journal does not exist")
    # The journal holds resources: neither readable nor replaceable by other users of the machine.
    if path.parent.stat().st_mode & 0o002:
        raise ValueError("every user of this machine may write in the folder of the journal: chmod o-w it")
    if path.exists() and path.stat().st_mode & 0o006:
        raise ValueError("every user of this machine may read or write the journal: chmod o-rw it")
    return SqliteFile(path=path)


def check_keys(path: Path) -> None:
    """Raises ValueError when a key file cannot be used."""
    try:
        keys_in(path.read_bytes())
    except OSError:
        raise ValueError("cannot be read") from None


def _database(value: str, folder: Path, *, insecure: bool) -> PostgresDatabase:
    try:
        parts = urlsplit(value)
        port = parts.port or _PORT
    except ValueError:
        raise ValueError(_WHERE) from None
    if parts.password is not None:
        raise ValueError("must not hold a password; give it by journal_password_file")
    user, database = unquote(parts.username or ""), unquote(parts.path[1:])
    if not _NAME.match(user) or not _NAME.match(database) or parts.fragment:
        raise ValueError(_WHERE)
    host, options = _options(parts, folder)
    local = host.startswith("/") or is_loopback(host)
    if not local and dict(options).get("sslmode") != "verify-full" and not insecure:
        raise ValueError(
            "a database on another machine needs ?sslmode=verify-full&sslrootcert=FILE, or allow_insecure: true"
        )
    return PostgresDatabase(host=host, port=port, user=user, database=database, options=options)


def _options(parts: SplitResult, folder: Path) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The host, which may stand among the options when it is a folder; and libpq's options of TLS."""
    given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    if len({name for name, _ in given}) != len(given):
        raise ValueError("an option stands twice")
    host, options = parts.hostname or "", []
    for name, text in given:
        if name == "host" and not host and text.startswith("/"):
            host = text
        elif (name == "sslmode" and text in _TLS_MODES) or (name == "sslrootcert" and text == "system"):
            options.append((name, text))
        elif name in _TLS_FILES:
            if not (folder / text).is_file():
                raise ValueError(f"no such file for {name}")
            options.append((name, str(folder / text)))
        else:
            raise ValueError("its options are sslmode, sslrootcert, sslcert, sslkey, and host for a folder of sockets")
    if not host:
        raise ValueError(_WHERE)
    return host, tuple(options)


JournalPlace = Annotated[SqliteFile | PostgresDatabase, BeforeValidator(journal_place)]
