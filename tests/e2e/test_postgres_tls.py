"""`sslmode=verify-full` to a real PostgreSQL: what has to be trusted is, and everything else stops the start."""

import base64
import datetime as dt
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.journal.postgres_connection import Target
from tests.e2e.certificates import Authority
from tests.e2e.postgresql import PASSWORD, PostgreSql
from tests.faults.processes import Gateway, Hospital, Nursery

Presented = Callable[[str, dt.timedelta], object]
HOST = "localhost"
WRONG = 3  # of the configuration
UNAVAILABLE = 1  # of what it names


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "scratch authority")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[PostgreSql]:
    made = PostgreSql()
    try:
        made.create()
        yield made.presenting(*authority.issue(HOST))
    finally:
        made.destroy()


@pytest.fixture(scope="module")
def database(server: PostgreSql) -> Target:
    return server.database()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
def gateway(
    tmp_path: Path, hospital: Hospital, nursery: Nursery, database: Target, authority: Authority
) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "gateway", nursery, hospital)
    where = f"postgresql://{database.user}@{HOST}:{database.port}/{database.database}"
    configuration = made.folder / "gateway.yaml"
    configuration.write_text(
        configuration.read_text().replace(
            "journal: sqlite:journal.db",
            f"journal: {where}?sslmode=verify-full&sslrootcert=authority.pem\n"
            "journal_password_file: password\njournal_key_file: key",
        )
    )
    (made.folder / "authority.pem").write_bytes(authority.certificate.read_bytes())
    secret(made, "password", f"{PASSWORD}\n".encode())
    secret(made, "key", base64.b64encode(os.urandom(32)))
    yield made
    made.kill()


@pytest.fixture
def presented(server: PostgreSql, authority: Authority) -> Iterator[Presented]:
    """Another certificate for the time of a test."""
    yield lambda host, ends: server.presenting(*authority.issue(host, ends=ends))
    server.presenting(*authority.issue(HOST))


def secret(gateway: Gateway, name: str, content: bytes, mode: int = 0o600) -> None:
    (gateway.folder / name).write_bytes(content)
    (gateway.folder / name).chmod(mode)


def refused(gateway: Gateway) -> tuple[int, str]:
    """The exit code of a start, and what it said; a start that goes well is a failure."""
    gateway.launch()
    code, said = gateway.ended(), (gateway.folder / "log").read_text()
    assert PASSWORD not in said
    assert "Traceback" not in said
    return code, said


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"], ids=["bare", "newline", "crlf"])
def test_a_server_that_is_who_it_says(gateway: Gateway, server: PostgreSql, ending: bytes) -> None:
    secret(gateway, "password", PASSWORD.encode() + ending)
    gateway.start()
    seen = server.sql(
        "SELECT DISTINCT ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE application_name = 'fhir-gateway'",
        database="postgres",
    )
    assert seen.startswith("t|TLSv1.")
    assert gateway.stop() == 0


def test_another_authority(gateway: Gateway, tmp_path: Path) -> None:
    other = Authority(tmp_path, "another authority")
    (gateway.folder / "authority.pem").write_bytes(other.certificate.read_bytes())
    code, said = refused(gateway)
    assert code == UNAVAILABLE
    assert "the journal: cannot be opened" in said
    assert "certificate verify failed" in said


@pytest.mark.parametrize(
    ("host", "days", "why"),
    [
        ("db.example", 1, f'server certificate for "db.example" does not match host name "{HOST}"'),
        (HOST, -1, "certificate verify failed"),
    ],
    ids=["another host", "expired"],
)
def test_a_certificate_that_does_not_hold(
    gateway: Gateway, presented: Presented, host: str, days: int, why: str
) -> None:
    presented(host, dt.timedelta(days=days))
    code, said = refused(gateway)
    assert code == UNAVAILABLE
    assert "the journal: cannot be opened" in said
    assert why in said


@pytest.mark.usefixtures("presented")
def test_a_server_without_tls(gateway: Gateway, server: PostgreSql) -> None:
    server.sql("ALTER SYSTEM SET ssl = off", database="postgres")
    server.restart()
    code, said = refused(gateway)
    assert code == UNAVAILABLE
    assert "server does not support SSL" in said


def test_the_wrong_password(gateway: Gateway) -> None:
    secret(gateway, "password", b"wrong horse")
    code, said = refused(gateway)
    assert code == UNAVAILABLE
    assert "password authentication failed" in said
    assert "wrong horse" not in said


@pytest.mark.parametrize(
    ("content", "mode", "code", "why"),
    [
        (PASSWORD.encode(), 0o644, WRONG, "every user of this machine"),
        (b"\xff\xfe", 0o600, UNAVAILABLE, "its password cannot be read"),
        (b"", 0o600, UNAVAILABLE, "its password file is empty"),
        (f"{PASSWORD}\nsecond line".encode(), 0o600, UNAVAILABLE, "its password file has more than one line"),
        (None, 0o600, WRONG, "no such file"),
    ],
    ids=["open to all", "no text", "empty", "two lines", "none"],
)
def test_a_password_file_that_cannot_be_used(
    gateway: Gateway, content: bytes | None, mode: int, code: int, why: str
) -> None:
    (gateway.folder / "password").unlink()
    if content is not None:
        secret(gateway, "password", content, mode)
    ended, said = refused(gateway)
    assert ended == code
    assert why in said
