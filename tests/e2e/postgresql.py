"""A PostgreSQL of the tests' own, from Debian's package: any number of crashes, no trace left."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from gateway.journal.postgres_connection import Target
from gateway.sandbox.serving import free_port

PASSWORD = "correct horse"
_SUPERUSER = "gateway"


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    assert found, "please install the package postgresql"
    return found[-1]


class PostgreSql:
    """One cluster in a folder that nobody else can read. It refuses to run as root, so root borrows `postgres`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._cluster = self.folder / "cluster"
        self.password_file = Path(tempfile.mkdtemp(prefix="password-")) / "password"
        self.password_file.write_text(f"{PASSWORD}\n")
        self.password_file.chmod(0o600)
        self._databases = 0

    def create(self, *settings: str) -> "PostgreSql":
        """initdb, then start."""
        secret = self.folder / "superuser"
        self._run("sh", "-c", f"umask 077; printf '%s' '{PASSWORD}' > {secret}")
        self._run(
            str(_binaries() / "initdb"), "-D", str(self._cluster), "-U", _SUPERUSER, f"--pwfile={secret}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
        )  # fmt: skip
        self.start(*settings)
        return self

    def start(self, *settings: str) -> None:
        """Starts the server and waits until it answers; also after a crash."""
        given = " ".join(f"-c {each}" for each in settings)
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} {given}"
        self._control("start", "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is as good as kill -9 for every process of the server."""
        self._control("stop", "-m", mode, "-t", "60")

    def restart(self) -> None:
        """Stops and starts it in good order."""
        self.stop()
        self.start()

    def presenting(self, certificate: bytes, key: bytes) -> "PostgreSql":
        """Serves TLS with this certificate and key (PEM) from now on."""
        for name, content in (("server.crt", certificate), ("server.key", key)):
            path = self.folder / name
            path.write_bytes(content)
            path.chmod(0o600)
            if self._as:
                user = pwd.getpwnam("postgres")
                os.chown(path, user.pw_uid, user.pw_gid)
        for setting in (
            "ssl = on",
            f"ssl_cert_file = '{self.folder}/server.crt'",
            f"ssl_key_file = '{self.folder}/server.key'",
        ):
            self.sql(f"ALTER SYSTEM SET {setting}", database="postgres")
        self.restart()
        return self

    def database(self) -> Target:
        """A fresh, empty database."""
        self._databases += 1
        name = f"journal{self._databases}"
        self.sql(f"CREATE DATABASE {name}", database="postgres")
        return Target(
            host="127.0.0.1", port=self.port, user=_SUPERUSER, database=name, password_file=self.password_file
        )

    def sql(self, statement: str, *, database: str) -> str:
        """What psql prints for one statement."""
        command = [str(_binaries() / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        command += ["-p", str(self.port), "-U", _SUPERUSER, "-d", database, "-c", statement]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=environment)
        return ended.stdout.strip()

    @property
    def pid(self) -> int:
        """The postmaster's; its children are the server's other processes."""
        return int((self._cluster / "postmaster.pid").read_text().split()[0])

    def destroy(self) -> None:
        """Stops the server and removes all it wrote."""
        if (self._cluster / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder)
        shutil.rmtree(self.password_file.parent)

    def _control(self, *arguments: str) -> None:
        self._run(str(_binaries() / "pg_ctl"), "-D", str(self._cluster), *arguments)

    def _run(self, *command: str) -> None:
        # Its server lives on: it must not inherit a pipe that somebody waits for.
        with (self.folder.parent / f"{self.folder.name}.out").open("w+") as output:
            ended = subprocess.run(
                [*self._as, *command], stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd="/", timeout=90,
                check=False,
            )  # fmt: skip
            output.seek(0)
            assert ended.returncode == 0, output.read()
        Path(output.name).unlink()
