"""`fhir-gateway init`: a folder with a configuration, one policy with its tests, and fixtures, ready to be edited."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

USAGE = 2

_FILES = {
    "gateway.yaml": "gateway.yaml",
    "members-results.yaml": "policies/members-results.yaml",
    "result.json": "policies/fixtures/result.json",
    "member.json": "policies/fixtures/member.json",
    "stranger.json": "policies/fixtures/stranger.json",
}


def init(
    folder: Annotated[Path, typer.Argument(help="Where to write; made when it does not exist.")] = Path(),
) -> None:
    """Write a working folder: gateway.yaml, a policy with tests, fixtures. Existing files are never touched.

    Example: fhir-gateway init my-gateway
    """
    targets = {name: folder / path for name, path in _FILES.items()}
    existing = [path for path in targets.values() if path.exists()]
    if existing:
        for path in existing:
            typer.echo(f"{path} exists already", err=True)
        raise typer.Exit(USAGE)
    starter = resources.files("gateway.cli.starter")
    for name, path in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(starter.joinpath(name).read_text(encoding="utf-8"), encoding="utf-8")
        typer.echo(f"wrote {path}")
    typer.echo(
        f"""
Next:
  fhir-gateway check {targets["gateway.yaml"]}
  fhir-gateway test {targets["members-results.yaml"].parent}
  edit {targets["gateway.yaml"]}: the upstream and the issuer
  fhir-gateway serve --config {targets["gateway.yaml"]}"""
    )
