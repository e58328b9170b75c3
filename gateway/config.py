"""The frozen configuration of one gateway: exactly the keys of gateway.yaml, every problem reported at once.

Nothing else reads the environment or a configuration file. Secrets are named by file and read by whoever uses
them, so that no secret is ever part of a value that could be printed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from gateway.config_journal import JournalPlace, PostgresDatabase, SqliteFile, check_keys
from gateway.config_source import ConfigErrors, ConfigProblem, Source, closest, open_source
from gateway.config_values import (
    Algorithm,
    AnyPath,
    Audience,
    Bytes,
    ExistingFile,
    Flag,
    Integer,
    PolicyPath,
    PublicBase,
    Seconds,
    SecretFile,
    Text,
    Texts,
    UpstreamBase,
    Url,
    split_host_port,
)
from gateway.yaml_positions import Path as TreePath
from gateway.yaml_positions import YamlValue, value_at

__all__ = ["Config", "ConfigErrors", "ConfigProblem", "PostgresDatabase", "SqliteFile", "load", "read_secret"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Address(_Model):
    """A host and a TCP port; port 0 lets the system choose."""

    host: str
    port: int


class Tls(_Model):
    """TLS of the clients' port. With `client_ca_file`, clients must show a certificate that it signed."""

    certificate_file: ExistingFile
    key_file: SecretFile
    client_ca_file: ExistingFile | None = None


def _address(value: object) -> object:
    if isinstance(value, str):
        host, port = split_host_port(value)
        return {"host": host, "port": port}
    raise ValueError("must be host:port")


HostPort = Annotated[Address, BeforeValidator(_address)]


class Listen(_Model):
    """The clients' port."""

    address: HostPort
    tls: Tls | None = None


def _listen(value: object) -> object:
    return {"address": value} if isinstance(value, str) else value


class NoCredentials(_Model):
    """The FHIR server asks for none."""

    type: Literal["none"] = "none"


class BearerCredentials(_Model):
    """A fixed token; the file is read again when it changes."""

    type: Literal["bearer"]
    token_file: SecretFile


class BasicCredentials(_Model):
    """RFC 7617."""

    type: Literal["basic"]
    username: Text
    password_file: SecretFile


class ClientCredentials(_Model):
    """RFC 6749 section 4.4, with a client secret."""

    type: Literal["client_credentials"]
    token_url: Url
    client_id: Text
    client_secret_file: SecretFile
    scope: Text | None = None


Credentials = Annotated[
    NoCredentials | BearerCredentials | BasicCredentials | ClientCredentials, Field(discriminator="type")
]


def _fhir_version(value: object) -> object:
    if value in ("R4B", "R5"):
        raise ValueError("not supported yet: this version of the gateway judges R4 only")
    return value


class UpstreamServer(_Model):
    """The FHIR server behind the gateway. `timeout` is in seconds.

    `find_lost_writes`: how a POST whose answer was lost is found again. `auto` takes what the server was found able
    to do, of those that leave the body as it was judged; `assigned-id` and `tag` change it, and are never chosen.
    """

    url: UpstreamBase
    fhir_version: Annotated[Literal["R4"], BeforeValidator(_fhir_version)] = "R4"
    timeout: Annotated[Seconds, Field(ge=0.1, le=3600)] = 30.0
    max_connections: Annotated[Integer, Field(ge=1, le=10_000)] = 100
    max_waiting: Annotated[Integer, Field(ge=0, le=100_000)] = 500
    credentials: Credentials = NoCredentials()
    purge: Literal["none", "expunge"] = "none"
    capability_file: ExistingFile | None = None
    find_lost_writes: Literal["auto", "request-id", "history", "assigned-id", "tag", "none"] = "auto"


class ClaimNames(_Model):
    """Which claims of a token hold what."""

    client: Text = "client_id"
    scope: Text = "scope"
    patient: Text = "patient"


class Issuer(_Model):
    """An authorization server whose tokens are accepted. `leeway` is in seconds."""

    issuer: Url
    audiences: Annotated[tuple[Audience, ...], Texts, Field(min_length=1, strict=False)]
    jwks_uri: Url | None = None
    algorithms: Annotated[tuple[Algorithm, ...], Texts, Field(min_length=1, strict=False)] = (
        "RS256",
        "RS384",
        "ES256",
        "ES384",
    )
    token_types: Annotated[tuple[Text, ...], Texts, Field(min_length=1, strict=False)] = ("at+jwt",)
    leeway: Annotated[Seconds, Field(ge=0, le=60)] = 30.0
    scopes: Literal["smart", "ignore"] = "smart"
    claims: ClaimNames = ClaimNames()


class Limits(_Model):
    """`body` in bytes, `decision_time` in seconds."""

    body: Annotated[Bytes, Field(ge=1, le=100_000_000)] = 5_000_000
    depth: Annotated[Integer, Field(ge=4, le=256)] = 64
    entries: Annotated[Integer, Field(ge=1, le=100_000)] = 1000
    decision_time: Annotated[Seconds, Field(gt=0, le=60)] = 0.25
    patients_per_write: Annotated[Integer, Field(ge=1, le=1000)] = 50


def _decision_log(value: object) -> object:
    return None if value == "-" else value


class Config(_Model):
    """A whole gateway.yaml. `decision_log` is None for standard output."""

    listen: Annotated[Listen, BeforeValidator(_listen)]
    public_url: PublicBase
    admin: HostPort
    workers: Annotated[Integer, Field(ge=1, le=64)] = 1
    upstream: UpstreamServer
    issuers: Annotated[tuple[Issuer, ...], Field(min_length=1, strict=False)]
    policies: Annotated[tuple[PolicyPath, ...], Texts, Field(min_length=1, strict=False)]
    reload: Literal["watch", "signal"] = "watch"
    reads: Literal["forward", "refuse"] = "forward"
    journal: JournalPlace
    journal_writes: Literal["undoable", "all"] = "undoable"
    journal_password_file: SecretFile | None = None
    journal_key_file: SecretFile | None = None
    decision_log: Annotated[AnyPath | None, BeforeValidator(_decision_log)] = None
    limits: Limits = Limits()
    allow_insecure: Flag = False

    @property
    def base_path(self) -> str:
        """The only path prefix that is served; empty for the root, else `/fhir`."""
        return urlsplit(self.public_url).path

    @property
    def unsafe_settings(self) -> tuple[str, ...]:
        """The overrides in force, for the log and the metrics."""
        return ("allow_insecure",) if self.allow_insecure else ()


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read, override and check a configuration. Raises ConfigErrors with every problem."""
    source = open_source(path, environ)
    tree = source.tree if isinstance(source.tree, dict) else {}
    context = {"folder": path.absolute().parent, "allow_insecure": tree.get("allow_insecure") in (True, "true")}
    config: Config | None = None
    try:
        config = Config.model_validate(source.tree, context=context)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            _report(source, detail)
    if config is not None:
        _check_together(source, config)
    if config is None or source.problems:
        problems = sorted(source.problems, key=lambda p: (p.variable or "", p.line, p.column))
        raise ConfigErrors(tuple(problems))
    return config


def read_secret(path: Path) -> str:
    """The text of a secret file without its last line end. Raises OSError."""
    return path.read_text(encoding="utf-8").rstrip("\r\n")


def _check_together(source: Source, config: Config) -> None:
    if config.admin.port and config.admin == config.listen.address:
        source.refuse(("admin",), "the admin port must not be the clients' port")
    if config.upstream.purge != "none" and config.upstream.capability_file is None:
        needed = "needs capability_file, which `fhir-gateway doctor --write` makes: the server has to be probed first"
        source.refuse(("upstream", "purge"), f"purge: {needed}")
    _check_journal(source, config)
    seen: set[str] = set()
    for number, issuer in enumerate(config.issuers):
        if issuer.issuer in seen:
            source.refuse(("issuers", number, "issuer"), "this issuer is configured twice")
        seen.add(issuer.issuer)


def _check_journal(source: Source, config: Config) -> None:
    if config.journal_key_file is not None:
        try:
            check_keys(config.journal_key_file)
        except ValueError as error:
            source.refuse(("journal_key_file",), f"journal_key_file: {error}")
    elif isinstance(config.journal, PostgresDatabase):
        # Beside a file a key can be made on first use; here each process would make another one.
        source.refuse(("journal",), "journal: a PostgreSQL journal needs journal_key_file")
    if config.journal_password_file is not None and isinstance(config.journal, SqliteFile):
        source.refuse(("journal_password_file",), "journal_password_file: an SQLite journal has no password")


def _report(source: Source, detail: ErrorDetails) -> None:
    path, parent = _path_in(source.tree, detail["loc"])
    kind = detail["type"]
    if kind == "missing":
        source.refuse(parent, f"{detail['loc'][-1]} is missing")
    elif kind == "extra_forbidden":
        name = str(detail["loc"][-1])
        source.refuse(path, f"unknown key {name}{closest(name, _known_keys(detail['loc']))}", at_key=True)
    elif kind != "too_short" or not value_at(source.tree, path):
        # A list whose only item is wrong is also reported as too short: once is enough.
        source.refuse(path, _message(detail))


def _message(detail: ErrorDetails) -> str:
    name = next((str(step) for step in reversed(detail["loc"]) if isinstance(step, str)), "")
    context: dict[str, object] = detail.get("ctx", {})
    match detail["type"]:
        case "value_error":
            text = str(context["error"])
        case "literal_error":
            text = f"must be {context['expected']}"
        case "tuple_type" | "list_type":
            text = "must be a list"
        case "model_type" | "model_attributes_type" | "dict_type":
            text = "must be a mapping"
        case "string_type":
            text = "must be text"
        case "too_short" | "string_too_short":
            text = "must not be empty"
        case _:
            text = detail["msg"][:1].lower() + detail["msg"][1:]
    return f"{name}: {text}"


def _path_in(tree: YamlValue, location: tuple[int | str, ...]) -> tuple[TreePath, TreePath]:
    """The path in the file for a location of pydantic (which adds the tags of unions), and its parent's."""
    path: list[str | int] = []
    parent: list[str | int] = []
    node = tree
    for step in location:
        if isinstance(node, dict) and step in node:
            parent, node = list(path), node[str(step)]
            path.append(step)
        elif isinstance(node, list) and isinstance(step, int) and step < len(node):
            parent, node = list(path), node[step]
            path.append(step)
        else:
            parent = list(path)
    return tuple(path), tuple(parent)


def _known_keys(location: tuple[int | str, ...]) -> tuple[str, ...]:
    """Every key that may stand where an unknown one stood."""
    models: dict[str, type[BaseModel]] = {
        "listen": Listen,
        "tls": Tls,
        "upstream": UpstreamServer,
        "issuers": Issuer,
        "claims": ClaimNames,
        "limits": Limits,
        "bearer": BearerCredentials,
        "basic": BasicCredentials,
        "client_credentials": ClientCredentials,
        "none": NoCredentials,
    }
    owner = next((step for step in reversed(location[:-1]) if isinstance(step, str)), None)
    return tuple((Config if owner is None else models.get(owner, Config)).model_fields)
