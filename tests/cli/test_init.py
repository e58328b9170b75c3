"""What `init` writes is right, its tests pass, and nothing is overwritten."""

from pathlib import Path

from typer.testing import CliRunner, Result

from gateway.cli.application import assemble
from gateway.config import load


def run(*arguments: str) -> Result:
    return CliRunner().invoke(assemble(arguments), list(arguments))


def test_the_folder_is_right_as_written(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert run("init", str(folder)).exit_code == 0
    assert load(folder / "gateway.yaml", {}).policies == (folder / "policies",)
    assert run("check", str(folder / "gateway.yaml")).exit_code == 0
    tested = run("test", str(folder / "policies"))
    assert tested.exit_code == 0
    assert "2 tests" in tested.output


def test_existing_files_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("mine")
    result = run("init", str(tmp_path))
    assert result.exit_code == 2
    assert "gateway.yaml exists already" in result.output
    assert (tmp_path / "gateway.yaml").read_text() == "mine"
    assert not (tmp_path / "policies").exists()
