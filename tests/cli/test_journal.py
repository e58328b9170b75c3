"""The verb as an operator types it, over a journal file."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.journal import journal
from gateway.journal.sqlite import SqliteJournal
from gateway.saga.intent import State
from tests.journal.entries import entry

CONFIG = """\
listen: 127.0.0.1:8090
public_url: http://127.0.0.1:8090/fhir
admin: 127.0.0.1:9090
upstream: {url: "http://127.0.0.1:8080/fhir"}
issuers:
  - issuer: http://127.0.0.1:9190/realms/push
    audiences: [http://127.0.0.1:8090/fhir]
policies: [policies/]
journal: sqlite:journal.db
"""


async def fill(path: Path) -> None:
    opened = SqliteJournal(path, "gone")
    await opened.open()
    for number, state in enumerate((State.STUCK, State.COMMITTED, State.INTENDED)):
        held = await opened.begin(entry(number, body=b'{"secret":"payload"}'))
        stored = replace(held, state=state, reason="refused", stored_id="o9", stored_version="2", failed=("p/r",))
        if state is not State.INTENDED:
            await opened.advance(stored, expected=State.INTENDED)
    await opened.close()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIG)
    asyncio.run(fill(tmp_path / "journal.db"))
    return path


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(journal, [*arguments, "--config", str(config)])


def test_list_shows_what_needs_somebody(config: Path) -> None:
    shown = run(config, "list")
    assert shown.exit_code == 0
    assert "d0" in shown.output
    assert "d1" not in shown.output
    entries = json.loads(run(config, "list", "--all", "-o", "json").output)
    assert [each["state"] for each in entries] == ["stuck", "committed", "intended"]


def test_show_tells_all_but_the_payloads(config: Path) -> None:
    shown = run(config, "show", "d0")
    assert shown.exit_code == 0
    for expected in ("stuck", "Observation/o9", "refused", "p/r", "journal retry d0"):
        assert expected in shown.output
    for output in (shown.output, run(config, "show", "d0", "-o", "json").output):
        assert "secret" not in output


def test_resolve_is_recorded(config: Path) -> None:
    done = run(config, "resolve", "d0", "--as", "undone", "--by", "ann", "--why", "removed by hand")
    assert (done.exit_code, done.output) == (0, "d0 is recorded as undone.\n")
    shown = json.loads(run(config, "show", "d0", "-o", "json").output)
    assert shown["state"] == "undone"
    assert shown["resolutions"][0]["by"] == "ann"
    assert shown["resolutions"][0]["why"] == "removed by hand"


def test_retry_makes_it_open_again(config: Path) -> None:
    assert run(config, "retry", "d0", "--by", "ann").exit_code == 0
    assert json.loads(run(config, "show", "d0", "-o", "json").output)["state"] == "compensating"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "nobody"), "No entry"),
        (("retry", "nobody", "--by", "ann"), "No entry"),
        (("resolve", "nobody", "--as", "undone", "--by", "a", "--why", "w"), "No entry"),
        (("resolve", "d1", "--as", "undone", "--by", "a", "--why", "w"), "committed: there is nothing to decide"),
        (("resolve", "d0", "--as", "lost", "--by", "a", "--why", "w"), "lost"),
        (("resolve", "d0", "--as", "undone", "--by", "a"), "why"),
    ],
)
def test_wrong_usage_is_told(config: Path, arguments: tuple[str, ...], message: str) -> None:
    shown = run(config, *arguments)
    assert shown.exit_code == 2
    assert message in shown.output


def test_a_write_that_is_being_settled_is_left_alone(config: Path) -> None:
    async def live() -> Result:
        owner = SqliteJournal(config.parent / "journal.db", "live")
        await owner.open()
        await owner.begin(entry(7))
        shown = await asyncio.to_thread(run, config, "resolve", "d7", "--as", "undone", "--by", "a", "--why", "w")
        await owner.close()
        return shown

    shown = asyncio.run(live())
    assert shown.exit_code == 2
    assert "running gateway" in shown.output


def test_no_journal_and_no_configuration(config: Path, tmp_path: Path) -> None:
    (tmp_path / "journal.db").unlink()
    assert run(config, "list").exit_code == 1
    config.write_text("listen: nowhere\n")
    assert run(config, "list").exit_code == 3


def test_an_empty_journal_says_so(config: Path) -> None:
    for number in ("d0", "d2"):
        run(config, "resolve", number, "--as", "committed", "--by", "a", "--why", "w")
    assert "Nothing is open" in run(config, "list").output
