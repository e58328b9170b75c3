"""A start: what is wrong is found before anything listens, and what can be done at once is done at once."""

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

import gateway.app
from gateway.app import build
from gateway.cli.application import assemble
from gateway.config import load
from gateway.fhir import model
from gateway.fhir.model import files
from gateway.sandbox.issuer import SandboxIssuer
from tests.pipeline.rig import rigged, signing_keys


def python(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A process of its own, as the installed command starts."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def loaded_after(*arguments: str) -> set[str]:
    """What a command has imported when it ends."""
    script = (
        "import sys\n"
        "from gateway.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit: pass\n"
        "print('LOADED', *(name for name, module in sys.modules.items() if module is not None))\n"
    )
    return set(python(script, *arguments).stdout.rpartition("LOADED")[2].split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    CliRunner().invoke(assemble(["init"]), ["init", str(tmp_path)])
    return tmp_path


def test_a_server_imports_nothing_for_terminals_nor_for_a_database_that_it_does_not_use() -> None:
    loaded = loaded_after("serve", "--help")
    assert {"gateway.app", "structlog", "httpx"} <= loaded
    assert {"rich", "pygments", "psycopg"}.isdisjoint(loaded)


def test_what_prints_tables_still_has_what_draws_them() -> None:
    assert "rich.table" in loaded_after("journal", "--help")


def test_help_does_not_read_the_metadata_of_every_package() -> None:
    assert "importlib.metadata" not in loaded_after("--help")


@pytest.mark.parametrize("verb", ["serve", "doctor", "fhirpath"])
def test_a_verb_starts_as_a_process(verb: str) -> None:
    ended = python("from gateway.cli import main; main()", verb, "--help")
    assert ended.returncode == 0, ended.stderr
    assert "Usage: " in ended.stdout


def test_a_usage_error_of_a_server_needs_no_rich() -> None:
    ended = python("from gateway.cli import main; main()", "serve", "--nonsense")
    assert ended.returncode == 2
    assert "--nonsense" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_collector_is_at_work_when_a_command_runs_and_looks_at_no_import() -> None:
    script = (
        "import gc, sys\n"
        "sys.argv = ['fhir-gateway', '--version']\n"
        "from gateway.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit: print(gc.isenabled(), gc.get_freeze_count() > 1000)\n"
    )
    assert python(script).stdout.splitlines()[-1] == "True True"


async def test_the_collector_is_at_work_again_once_a_gateway_has_started(tmp_path: Path) -> None:
    gc.disable()
    try:
        async with rigged(tmp_path):
            assert gc.isenabled()
    finally:
        gc.enable()


def test_a_database_without_its_driver_is_found_out_before_anything_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, password = folder / "journal.key", folder / "password"
    key.write_bytes(bytes(range(32)))
    password.write_text("secret")
    for each in (key, password):
        each.chmod(0o600)
    path = folder / "gateway.yaml"
    where = "journal: postgresql://gateway@127.0.0.1/journal?sslmode=disable"
    more = f"journal_key_file: {key}\njournal_password_file: {password}"
    path.write_text(path.read_text().replace("journal: sqlite:journal.db", f"{where}\n{more}\n#"))
    config = load(path, {})
    for name in ("gateway.journal.postgres", "gateway.journal.postgres_connection", "gateway.journal.postgres_writer"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match="psycopg"):
        build(config)


def test_an_element_model_that_was_changed_is_found_out_before_anything_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "digest", lambda _: "of something else")
    model.load.cache_clear()
    with pytest.raises(ValueError, match="is not the file that was generated"):
        build(load(folder / "gateway.yaml", {}))
    assert not (folder / "journal.db").exists()


async def test_the_first_part_that_fails_ends_the_others_and_is_told() -> None:
    ended = []

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("waits")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("the journal")

    began = time.monotonic()
    with pytest.raises(LookupError, match="the journal"):
        await gateway.app._together(waits(), fails(), waits())
    assert ended == ["waits", "waits"]
    assert time.monotonic() - began < 30


class _Together(BaseHTTPRequestHandler):
    """Answers nobody before everybody was asked."""

    everybody: threading.Barrier
    answers: dict[str, bytes]

    def do_GET(self) -> None:
        body = self.answers.get(self.path.partition("?")[0])
        if body is not None:
            self.everybody.wait(10)
        self.send_response(404 if body is None else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def answering(everybody: threading.Barrier, answers: dict[str, bytes]) -> Iterator[str]:
    handler = type("Handler", (_Together,), {"everybody": everybody, "answers": answers})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_issuer_and_fhir_server_are_asked_at_once(folder: Path) -> None:
    """Each answers only once the other one was asked."""
    everybody = threading.Barrier(2)
    keys = SandboxIssuer("http://issuer.example", audience="x", keys=signing_keys()).key_set()
    statement = b'{"resourceType": "CapabilityStatement", "software": {"name": "Other"}}'
    with (
        answering(everybody, {"/keys": keys}) as issuer,
        answering(everybody, {"/fhir/metadata": statement}) as server,
    ):
        environment = {
            "FHIR_GATEWAY_UPSTREAM__URL": f"{server}/fhir",
            "FHIR_GATEWAY_ISSUERS__0__ISSUER": issuer,
            "FHIR_GATEWAY_ISSUERS__0__JWKS_URI": f"{issuer}/keys",
        }
        app = build(load(folder / "gateway.yaml", environment))
        try:
            await app.start()
            assert app.not_ready() == ()
            upstream = app.describe()["upstream"]
        finally:
            await app.stop(1.0)
    assert not everybody.broken
    assert isinstance(upstream, dict)
    assert (upstream["probed"], upstream["software"]) == (True, "Other")
