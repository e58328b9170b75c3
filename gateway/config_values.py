"""The kinds of value that gateway.yaml holds, each checked where it stands.

Validators read two things from pydantic's context: `folder` (relative paths start at the configuration file) and
`allow_insecure` (the one override that lets plain `http://` leave the machine). Texts of errors never repeat the
value: it may be a secret put in the wrong place.
"""

import ipaddress
import re
import stat
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,12})(B|kB|MB|GB|KiB|MiB|GiB)?\Z")
_BYTES = {None: 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_INTEGER = re.compile(r"[0-9]{1,9}\Z")
_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})\Z")
# RFC 3986 section 3.3, without percent-encoding, parameters and sub-delimiters: one spelling per path.
_BASE_PATH = re.compile(r"(?:/[A-Za-z0-9_~.-]+)*/?\Z")
_LAST_PORT = 65535
_VISIBLE = re.compile(r"[!-~]+\Z")

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})


class EnvironmentText(str):
    """A value that came from an environment variable, where everything is text."""

    __slots__ = ()


def _seconds(value: object) -> object:
    if isinstance(value, str) and (match := _DURATION.match(value)):
        return int(match[1]) * _SECONDS[match[2]]
    raise ValueError("must be a duration such as 30s, 250ms, 5m or 1h")


def _bytes(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.match(value)):
        return int(match[1]) * _BYTES[match[2]]
    raise ValueError("must be a size such as 5MB, 500kB or 4MiB")


def _integer(value: object) -> object:
    if isinstance(value, EnvironmentText) and _INTEGER.match(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("must be a whole number")


def _flag(value: object) -> object:
    if isinstance(value, EnvironmentText):
        value = {"true": True, "false": False}.get(value, value)
    if isinstance(value, bool):
        return value
    raise ValueError("must be true or false")


def _texts(value: object) -> object:
    if isinstance(value, EnvironmentText):
        return [part.strip() for part in value.split(",")]
    return value


def split_host_port(value: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Raises ValueError."""
    match = _HOST_PORT.match(value)
    if match is None or int(match[3]) > _LAST_PORT:
        raise ValueError("must be host:port, for example 127.0.0.1:8090 or [::1]:8090")
    return match[1] or match[2], int(match[3])


def is_loopback(host: str) -> bool:
    """Whether a host in a URL can only be this machine (RFC 6761 section 6.3 for `localhost`)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_url(value: object, *, insecure: bool) -> str:
    if not isinstance(value, str) or not _VISIBLE.match(value):
        raise ValueError("must be a URL")
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold credentials; secrets are given by *_file keys")
    if "#" in value or "?" in value:
        raise ValueError("must have no query and no fragment")
    if parts.port == 0:
        raise ValueError("must not name port 0")
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise ValueError("http:// is accepted for loopback hosts only; use https://, or set allow_insecure: true")
    return value


def _outbound_url(value: object, info: ValidationInfo[Any]) -> str:
    return _check_url(value, insecure=bool(info.context["allow_insecure"]))


def _base_url(value: str) -> str:
    path = urlsplit(value).path
    if not _BASE_PATH.match(path) or any(part in {".", ".."} for part in path.split("/")):
        raise ValueError("the path of a FHIR base holds plain segments only, such as /fhir")
    return value.rstrip("/")


def _outbound_base(value: object, info: ValidationInfo[Any]) -> str:
    return _base_url(_outbound_url(value, info))


def _public_base(value: object) -> str:
    return _base_url(_check_url(value, insecure=True))


def _path(value: object, info: ValidationInfo[Any]) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a path")
    return Path(info.context["folder"], value)


def _existing_file(value: object, info: ValidationInfo[Any]) -> Path:
    path = _path(value, info)
    if not path.is_file():
        raise ValueError("no such file")
    return path


def _secret_file(value: object, info: ValidationInfo[Any]) -> Path:
    path = _existing_file(value, info)
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ValueError("a secret that every user of this machine can read or change: chmod o-rwx it")
    return path


def _policy_path(value: object, info: ValidationInfo[Any]) -> Path:
    path = _path(value, info)
    if not path.exists():
        raise ValueError("no such file or folder")
    return path


def _audience(value: object) -> object:
    if isinstance(value, str) and (not value.strip() or "*" in value):
        raise ValueError("an audience is one exact text; a wildcard or an empty one would accept foreign tokens")
    return value


def _algorithm(value: object) -> object:
    if isinstance(value, str) and value not in ALGORITHMS:
        # RFC 8725 section 3.2: shared-secret algorithms and `none` must not be reachable at all.
        raise ValueError(f"only signatures by key pairs are accepted: {', '.join(sorted(ALGORITHMS))}")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds)]
Bytes = Annotated[int, BeforeValidator(_bytes)]
Integer = Annotated[int, BeforeValidator(_integer)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Text = Annotated[str, Field(min_length=1)]
Url = Annotated[str, BeforeValidator(_outbound_url)]
UpstreamBase = Annotated[str, BeforeValidator(_outbound_base)]
PublicBase = Annotated[str, BeforeValidator(_public_base)]
AnyPath = Annotated[Path, BeforeValidator(_path)]
ExistingFile = Annotated[Path, BeforeValidator(_existing_file)]
SecretFile = Annotated[Path, BeforeValidator(_secret_file)]
PolicyPath = Annotated[Path, BeforeValidator(_policy_path)]
Audience = Annotated[str, BeforeValidator(_audience)]
Algorithm = Annotated[str, BeforeValidator(_algorithm)]
Texts = BeforeValidator(_texts)
