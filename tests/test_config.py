"""gateway.yaml: what is accepted, and every problem at once with its place."""

from pathlib import Path

import pytest

from gateway.config import Config, ConfigErrors, PostgresDatabase, SqliteFile, load, read_secret

SURFACE = """\
listen: 127.0.0.1:8090
public_url: http://127.0.0.1:8090/fhir
admin: 127.0.0.1:9090
workers: 1
upstream:
  url: http://127.0.0.1:8080/fhir
  fhir_version: R4
  timeout: 30s
  max_connections: 100
  credentials: {type: none}
  find_lost_writes: auto
issuers:
  - issuer: https://id.plan.example/realms/push
    audiences: [https://fhir.plan.example/fhir]
    jwks_uri: https://id.plan.example/realms/push/keys
    algorithms: [RS256, RS384, ES256, ES384]
    token_types: [at+jwt]
    leeway: 30s
    scopes: smart
    claims: {client: client_id, scope: scope, patient: patient}
policies: [policies/]
reload: watch
reads: forward
journal: sqlite:journal.db
decision_log: "-"
limits: {body: 5MB, depth: 64, entries: 1000, decision_time: 250ms, patients_per_write: 50}
"""

MINIMAL = """\
listen: 127.0.0.1:8090
public_url: https://fhir.plan.example/fhir
admin: 127.0.0.1:9090
upstream: {url: "http://127.0.0.1:8080/fhir"}
issuers: [{issuer: https://id.plan.example, audiences: [a]}]
policies: [policies]
journal: sqlite:journal.db
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    for name, mode in (("secret", 0o600), ("open-secret", 0o644), ("certificate", 0o644)):
        (tmp_path / name).write_text("s3cret\n")
        (tmp_path / name).chmod(mode)
    return tmp_path


def loaded(folder: Path, text: str, **environ: str) -> Config:
    path = folder / "gateway.yaml"
    path.write_text(text)
    return load(path, environ)


def problems(folder: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        loaded(folder, text, **environ)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_the_published_example_is_read_whole(folder: Path) -> None:
    config = loaded(folder, SURFACE)
    assert config.listen.address.host == "127.0.0.1"
    assert config.listen.address.port == 8090
    assert config.listen.tls is None
    assert config.base_path == "/fhir"
    assert config.upstream.timeout == 30.0
    assert config.issuers[0].leeway == 30.0
    assert config.limits.body == 5_000_000
    assert config.limits.decision_time == 0.25
    assert config.decision_log is None
    assert config.policies == (folder / "policies",)
    assert config.journal == SqliteFile(path=folder / "journal.db")
    assert config.unsafe_settings == ()


def test_defaults_are_the_published_ones(folder: Path) -> None:
    minimal, full = loaded(folder, MINIMAL), loaded(folder, SURFACE)
    assert minimal.limits == full.limits
    assert minimal.workers == full.workers
    assert (minimal.reload, minimal.reads) == (full.reload, full.reads)
    assert minimal.upstream == full.upstream
    assert minimal.issuers[0].algorithms == full.issuers[0].algorithms
    assert minimal.issuers[0].claims == full.issuers[0].claims


def test_tls_credentials_and_files(folder: Path) -> None:
    text = MINIMAL.replace(
        "listen: 127.0.0.1:8090",
        'listen: {address: "[::1]:8443", tls: {certificate_file: certificate, key_file: secret}}\ndecision_log: d.log',
    ).replace('/fhir"}', '/fhir", credentials: {type: basic, username: gateway, password_file: secret}}', 1)
    config = loaded(folder, text)
    assert config.listen.address.host == "::1"
    assert config.listen.tls is not None
    assert config.listen.tls.key_file == folder / "secret"
    assert config.upstream.credentials.type == "basic"
    assert config.decision_log == folder / "d.log"
    assert read_secret(folder / "secret") == "s3cret"
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("workers: 1", "wrokers: 1", "gateway.yaml:4:1: unknown key wrokers (did you mean workers?)"),
        ("workers: 1", 'workers: "1"', "gateway.yaml:4:10: workers: must be a whole number"),
        ("workers: 1", "workers: true", "gateway.yaml:4:10: workers: must be a whole number"),
        ("workers: 1", "workers: 0", "gateway.yaml:4:10: workers: input should be greater than or equal to 1"),
        ("workers: 1", "workers: 1000", "gateway.yaml:4:10: workers: input should be less than or equal to 64"),
        ("  url: http://127.0.0.1:8080/fhir", "  x: 1", "gateway.yaml:6:3: url is missing"),
        ("listen: 127.0.0.1:8090", "listen: 8090", "gateway.yaml:1:9: listen: must be a mapping"),
        ("listen: 127.0.0.1:8090", "listen: localhost", "gateway.yaml:1:9: address: must be host:port"),
        ("listen: 127.0.0.1:8090", "listen: localhost:99999", "gateway.yaml:1:9: address: must be host:port"),
        ("admin: 127.0.0.1:9090", "admin: 9090", "gateway.yaml:3:8: admin: must be host:port"),
        ("admin: 127.0.0.1:9090", "admin: 127.0.0.1:8090", "gateway.yaml:3:8: the admin port must not be the clients'"),
        ("R4\n", "R5\n", "gateway.yaml:7:17: fhir_version: not supported yet"),
        ("R4\n", "R4B\n", "gateway.yaml:7:17: fhir_version: not supported yet"),
        ("R4\n", "R3\n", "gateway.yaml:7:17: fhir_version: must be 'R4'"),
        ("timeout: 30s", "timeout: 30", "gateway.yaml:8:12: timeout: must be a duration such as 30s"),
        ("timeout: 30s", "timeout: 0s", "gateway.yaml:8:12: timeout: input should be greater than or equal to 0.1"),
        ("{type: none}", "{type: none, x: 1}", "gateway.yaml:10:29: unknown key x"),
        ("{type: none}", "{type: magic}", "gateway.yaml:10:16: credentials: input tag 'magic'"),
        ("{type: none}", "{type: bearer}", "gateway.yaml:10:16: token_file is missing"),
        ("{type: none}", "{type: bearer, token_file: none}", "gateway.yaml:10:43: token_file: no such file"),
        ("{type: none}", "{type: bearer, token_file: open-secret}", "gateway.yaml:10:43: token_file: a secret that"),
        (
            "{type: none}",
            "{type: bearer, token: x}",
            "gateway.yaml:10:31: unknown key token (did you mean",
        ),
        (
            "{type: none}",
            "{type: client_credentials, token_url: http://id/t, client_id: x, client_secret_file: secret}",
            "gateway.yaml:10:54: token_url: http:// is accepted for loopback hosts only",
        ),
        ("find_lost_writes: auto", "find_lost_writes: hope", "gateway.yaml:11:21: find_lost_writes: must be 'auto'"),
        ("http://127.0.0.1:8080", "http://fhir.example", "gateway.yaml:6:8: url: http:// is accepted for loopback"),
        ("http://127.0.0.1:8080", "http://u:p@127.0.0.1", "gateway.yaml:6:8: url: must not hold credentials"),
        ("http://127.0.0.1:8080", "ftp://127.0.0.1", "gateway.yaml:6:8: url: must be an http:// or https:// URL"),
        ("8080/fhir", "8080/fhir?x=1", "gateway.yaml:6:8: url: must have no query"),
        ("8080/fhir", "8080/fhir/../x", "gateway.yaml:6:8: url: the path of a FHIR base"),
        ("8080/fhir", "0/fhir", "gateway.yaml:6:8: url: must not name port 0"),
        ("8090/fhir", "8090/fh%69r", "gateway.yaml:2:13: public_url: the path of a FHIR base"),
        ("8090/fhir", "8090//fhir", "gateway.yaml:2:13: public_url: the path of a FHIR base"),
        ("https://id.plan.example/realms/push\n", "http://id.plan.example\n", "gateway.yaml:13:13: issuer: http://"),
        ("push/keys", "push keys", "gateway.yaml:15:15: jwks_uri: must be a URL"),
        ("[https://fhir.plan.example/fhir]", "[]", "gateway.yaml:14:16: audiences: must not be empty"),
        ("[https://fhir.plan.example/fhir]", '["*"]', "gateway.yaml:14:17: audiences: an audience is one exact text"),
        ("[https://fhir.plan.example/fhir]", '[" "]', "gateway.yaml:14:17: audiences: an audience is one exact text"),
        ("[https://fhir.plan.example/fhir]", "x", "gateway.yaml:14:16: audiences: must be a list"),
        ("[https://fhir.plan.example/fhir]", "[1]", "gateway.yaml:14:17: audiences: must be text"),
        ("[RS256, ", "[HS256, ", "gateway.yaml:16:18: algorithms: only signatures by key pairs"),
        ("[RS256, ", "[none, ", "gateway.yaml:16:18: algorithms: only signatures by key pairs"),
        ("leeway: 30s", "leeway: 5m", "gateway.yaml:18:13: leeway: input should be less than or equal to 60"),
        ("[policies/]", "[nothing/]", "gateway.yaml:21:12: policies: no such file or folder"),
        ("[policies/]", "[]", "gateway.yaml:21:11: policies: must not be empty"),
        ("reads: forward", "reads: yes", "gateway.yaml:23:8: reads: must be 'forward' or 'refuse'"),
        (
            "reads: forward",
            "journal_writes: some",
            "gateway.yaml:23:17: journal_writes: must be 'undoable' or 'all'",
        ),
        ("sqlite:journal.db", "postgresql:h/db", "gateway.yaml:24:10: journal: must be sqlite:PATH or postgresql://"),
        ("sqlite:journal.db", "journal.db", "gateway.yaml:24:10: journal: must be sqlite:PATH"),
        ("sqlite:journal.db", "'sqlite:'", "gateway.yaml:24:10: journal: must be sqlite:PATH"),
        ("sqlite:journal.db", "{url: x}", "gateway.yaml:24:10: journal: must be sqlite:PATH"),
        ("sqlite:journal.db", "sqlite:none/journal.db", "gateway.yaml:24:10: journal: the folder of the journal does"),
        ("body: 5MB", "body: 5 MB", "gateway.yaml:26:16: body: must be a size such as 5MB"),
        ("body: 5MB", "body: 1GB", "gateway.yaml:26:16: body: input should be less than or equal to 100000000"),
        ("decision_time: 250ms", "decision_time: 0s", "gateway.yaml:26:62: decision_time: input should be greater"),
        ("depth: 64", "depth: 64.0", "gateway.yaml:26:28: depth: must be a whole number"),
        ("limits: {", "limits: []\nx: {", "gateway.yaml:26:9: limits: must be a mapping"),
        ("reload: watch", "reload: watch\nallow_insecure: maybe", "gateway.yaml:23:17: allow_insecure: must be true"),
        ('decision_log: "-"', "decision_log: 5", "gateway.yaml:25:15: decision_log: must be a path"),
    ],
)
def test_problems_and_their_places(folder: Path, old: str, new: str, problem: str) -> None:
    assert old in SURFACE
    assert any(line.startswith(problem) for line in problems(folder, SURFACE.replace(old, new, 1)))


def test_every_problem_is_told_at_once_in_order_of_place(folder: Path) -> None:
    text = SURFACE.replace("workers: 1", "workers: no").replace("R4\n", "R5\n").replace("[RS256", "[HS256")
    found = problems(folder, text + "more: 1\n", FHIR_GATEWAY_UPSTREAM__TIMEOUT="soon")
    assert [line.split(": ")[0] for line in found] == [
        "gateway.yaml:4:10",
        "gateway.yaml:7:17",
        "gateway.yaml:16:18",
        "gateway.yaml:27:1",
        "FHIR_GATEWAY_UPSTREAM__TIMEOUT",
    ]


def test_what_is_no_yaml_mapping(folder: Path) -> None:
    assert problems(folder, "a: &x 1\nb: *x\n") == [
        "gateway.yaml:1:4: anchor &x: write values out, anchors are not read",
        "gateway.yaml:2:4: alias *x: write the value out, aliases are not read",
    ]
    assert problems(folder, "- 1\n") == ["gateway.yaml:1:1: the configuration must be a mapping"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"none\.yaml:1:1: cannot be read: No such file"):
        load(tmp_path / "none.yaml", {})
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(ConfigErrors, match="not UTF-8"):
        load(tmp_path / "latin.yaml", {})


def test_allow_insecure_lets_http_leave_the_machine_and_is_shown(folder: Path) -> None:
    text = MINIMAL.replace("http://127.0.0.1:8080", "http://fhir.example") + "allow_insecure: true\n"
    assert loaded(folder, text).unsafe_settings == ("allow_insecure",)


@pytest.mark.parametrize("host", ["localhost", "127.8.9.1", "[::1]", "hapi.localhost"])
def test_loopback_needs_no_tls(folder: Path, host: str) -> None:
    assert loaded(folder, MINIMAL.replace("127.0.0.1:8080", f"{host}:8080")).upstream.url.startswith("http://")


@pytest.mark.parametrize("host", ["localhost.example", "127.0.0.1.example", "10.0.0.1", "[::2]", "0.0.0.0"])
def test_what_only_looks_like_loopback(folder: Path, host: str) -> None:
    found = problems(folder, MINIMAL.replace("127.0.0.1:8080", f"{host}:8080"))
    assert "loopback" in found[0]


def test_an_issuer_twice(folder: Path) -> None:
    text = MINIMAL.replace("[a]}]", "[a]}, {issuer: https://id.plan.example, audiences: [b]}]")
    assert problems(folder, text) == ["gateway.yaml:5:71: this issuer is configured twice"]


def test_a_journal_that_others_can_reach(folder: Path) -> None:
    (folder / "journal.db").touch(mode=0o644)
    assert "may read or write the journal" in problems(folder, MINIMAL)[0]
    (folder / "journal.db").chmod(0o600)
    folder.chmod(0o777)
    assert "may write in the folder" in problems(folder, MINIMAL)[0]


def test_a_trailing_slash_of_a_base_does_not_count(folder: Path) -> None:
    config = loaded(folder, MINIMAL.replace("/fhir\n", "/fhir/\n").replace('/fhir"}', '/fhir/"}'))
    assert config.public_url == "https://fhir.plan.example/fhir"
    assert config.upstream.url == "http://127.0.0.1:8080/fhir"


def test_every_kind_of_key_by_environment(folder: Path) -> None:
    config = loaded(
        folder,
        MINIMAL,
        FHIR_GATEWAY_WORKERS="4",
        FHIR_GATEWAY_ALLOW_INSECURE="true",
        FHIR_GATEWAY_UPSTREAM__URL="http://fhir.example/r4",
        FHIR_GATEWAY_UPSTREAM__CREDENTIALS__TYPE="basic",
        FHIR_GATEWAY_UPSTREAM__CREDENTIALS__USERNAME="1234",
        FHIR_GATEWAY_UPSTREAM__CREDENTIALS__PASSWORD_FILE="secret",
        FHIR_GATEWAY_LIMITS__DECISION_TIME="1s",
        FHIR_GATEWAY_LIMITS__BODY="1000",
        FHIR_GATEWAY_ISSUERS__0__ALGORITHMS="ES256, ES384",
        FHIR_GATEWAY_ISSUERS__1__ISSUER="https://two.example",
        FHIR_GATEWAY_ISSUERS__1__AUDIENCES__0="x",
        FHIR_GATEWAY_LISTEN="0.0.0.0:80",
        HOME="/irrelevant",
    )
    assert config.workers == 4
    assert config.upstream.url == "http://fhir.example/r4"
    assert config.upstream.credentials.type == "basic"
    assert config.upstream.credentials.username == "1234"
    assert config.limits.decision_time == 1.0
    assert config.limits.body == 1000
    assert config.issuers[0].algorithms == ("ES256", "ES384")
    assert config.issuers[1].audiences == ("x",)
    assert config.listen.address.port == 80


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("FHIR_GATEWAY_WROKERS", "1", "unknown key wrokers (did you mean workers?)"),
        ("FHIR_GATEWAY_WORKERS", "many", "workers: must be a whole number"),
        ("FHIR_GATEWAY_ALLOW_INSECURE", "yes", "allow_insecure: must be true or false"),
        ("FHIR_GATEWAY_WORKERS__X", "1", "names 'x' inside a value that is no mapping"),
        ("FHIR_GATEWAY_ISSUERS__7__ISSUER", "x", "names item 7 of a list of 1: items are numbered from 0"),
        ("FHIR_GATEWAY_ISSUERS__X__ISSUER", "x", "names item x of a list of 1"),
        ("FHIR_GATEWAY_ISSUERS__1__ISSUER", "https://two.example", "audiences is missing"),
        ("FHIR_GATEWAY_UPSTREAM__", "x", "names '' inside"),
    ],
)
def test_problems_of_variables_name_the_variable(folder: Path, variable: str, value: str, problem: str) -> None:
    text = MINIMAL + "workers: 1\n"
    found = problems(folder, text, **{variable: value})
    assert len(found) == 1
    assert found[0].startswith(f"{variable}: {problem}")


def test_what_kubernetes_adds_for_a_service_of_this_name_is_no_configuration(folder: Path) -> None:
    config = loaded(
        folder,
        MINIMAL,
        FHIR_GATEWAY_PORT="tcp://10.0.0.1:8090",
        FHIR_GATEWAY_PORT_8090_TCP_ADDR="10.0.0.1",
        FHIR_GATEWAY_SERVICE_HOST="10.0.0.1",
        FHIR_GATEWAY_SERVICE_PORT_HTTP="8090",
    )
    assert config.listen.address.port == 8090


def database(folder: Path, url: str, *more: str) -> str:
    """MINIMAL over a PostgreSQL journal, with a key."""
    (folder / "key").write_bytes(b"k" * 32)
    (folder / "key").chmod(0o600)
    lines = (f"journal: {url}", "journal_key_file: key", *more)
    return MINIMAL.replace("journal: sqlite:journal.db", "\n".join(lines))


LOCAL = "postgresql://gateway@127.0.0.1/journal"
FAR = "postgresql://gateway@db.plan.example/journal"


@pytest.mark.parametrize(
    ("url", "host", "port", "options"),
    [
        (LOCAL, "127.0.0.1", 5432, ()),
        ("postgres://gateway@localhost:6543/journal", "localhost", 6543, ()),
        ("postgresql://gateway@[::1]/journal?sslmode=require", "::1", 5432, (("sslmode", "require"),)),
        ("postgresql://gateway@/journal?host=/run/postgresql", "/run/postgresql", 5432, ()),
        (
            f"{FAR}?sslmode=verify-full&sslrootcert=system",
            "db.plan.example",
            5432,
            (("sslmode", "verify-full"), ("sslrootcert", "system")),
        ),
    ],
)
def test_a_journal_in_postgresql(
    folder: Path, url: str, host: str, port: int, options: tuple[tuple[str, str], ...]
) -> None:
    config = loaded(folder, database(folder, url, "journal_password_file: secret"))
    assert config.journal == PostgresDatabase(host=host, port=port, user="gateway", database="journal", options=options)
    assert config.journal_password_file == folder / "secret"
    assert config.journal_key_file == folder / "key"


def test_files_of_tls_stand_beside_the_configuration(folder: Path) -> None:
    config = loaded(folder, database(folder, f"{FAR}?sslmode=verify-full&sslrootcert=certificate"))
    assert isinstance(config.journal, PostgresDatabase)
    assert dict(config.journal.options)["sslrootcert"] == str(folder / "certificate")


def test_a_database_elsewhere_without_tls_is_an_override(folder: Path) -> None:
    assert "verify-full" in problems(folder, database(folder, FAR))[0]
    assert "verify-full" in problems(folder, database(folder, f"{FAR}?sslmode=require"))[0]
    config = loaded(folder, database(folder, FAR, "allow_insecure: true"))
    assert config.unsafe_settings == ("allow_insecure",)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://gateway:hunter2@127.0.0.1/journal", "must not hold a password"),
        ("postgresql://127.0.0.1/journal", "must be sqlite:PATH or postgresql://USER@HOST/DATABASE"),
        ("postgresql://gateway@127.0.0.1/", "must be sqlite:PATH or postgresql://USER@HOST/DATABASE"),
        ("postgresql://gateway@127.0.0.1/a/b", "must be sqlite:PATH or postgresql://USER@HOST/DATABASE"),
        ("postgresql://gateway@127.0.0.1:99999/journal", "must be sqlite:PATH or postgresql://USER@HOST/DATABASE"),
        ("postgresql://gateway@/journal", "must be sqlite:PATH or postgresql://USER@HOST/DATABASE"),
        (f"{LOCAL}?sslmode=maybe", "its options are"),
        (f"{LOCAL}?options=-c%20fsync=off", "its options are"),
        (f"{LOCAL}?host=/elsewhere", "its options are"),
        (f"{LOCAL}?sslmode=require&sslmode=disable", "an option stands twice"),
        (f"{LOCAL}?sslrootcert=none.pem", "no such file for sslrootcert"),
    ],
)
def test_a_url_of_a_database_that_is_refused(folder: Path, url: str, why: str) -> None:
    (problem,) = problems(folder, database(folder, f"'{url}'"))
    assert problem.startswith("gateway.yaml:7:10: journal: ")
    assert why in problem
    assert "hunter2" not in problem


def test_keys_and_passwords_of_a_journal(folder: Path) -> None:
    bare = MINIMAL.replace("sqlite:journal.db", LOCAL)
    assert problems(folder, bare) == ["gateway.yaml:7:10: journal: a PostgreSQL journal needs journal_key_file"]
    assert "must hold 32 bytes" in problems(folder, f"{MINIMAL}journal_key_file: secret\n")[0]
    assert "has no password" in problems(folder, f"{MINIMAL}journal_password_file: secret\n")[0]
    assert "every user" in problems(folder, f"{MINIMAL}journal_key_file: open-secret\n")[0]
    (folder / "key").write_text("a2V5MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODk=\n" * 2)
    (folder / "key").chmod(0o600)
    assert loaded(folder, f"{MINIMAL}journal_key_file: key\n").journal_key_file == folder / "key"
