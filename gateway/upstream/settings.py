"""How the FHIR server is reached."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCredentials:
    """The server asks for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerFile:
    """A token from a file that something else renews; read again when the file changes."""

    token_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Basic:
    """A user name and the password from a file (RFC 7617)."""

    username: str
    password_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """OAuth 2.0 client credentials (RFC 6749 section 4.4), client authenticated by `client_secret_basic`."""

    token_url: str
    client_id: str
    secret_file: Path
    scope: str | None = None


Credentials = NoCredentials | BearerFile | Basic | ClientCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """`url` is the FHIR base, with or without a trailing slash. `timeout` is in seconds, for one whole exchange."""

    url: str
    timeout: float = 30.0
    max_connections: int = 100
    credentials: Credentials = field(default_factory=NoCredentials)
    max_answer_bytes: int = 20_000_000
