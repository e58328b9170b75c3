"""The table of expressions, read once."""

from pathlib import Path
from typing import Final

from ruamel.yaml import YAML

TABLE: Final[list[dict[str, object]]] = YAML(typ="safe").load(
    (Path(__file__).parents[1] / "cases" / "fhirpath.yaml").read_text(encoding="utf-8")
)
