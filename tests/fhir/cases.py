"""Reads the tables of `tests/cases/`."""

import base64
from pathlib import Path
from typing import cast

from ruamel.yaml import YAML

Row = dict[str, object]

FOLDER = Path(__file__).parent.parent / "cases"
PATIENT_PLACEHOLDER = "{patient}"


def sections(name: str) -> dict[str, list[Row]]:
    """A table that has named sections."""
    content = YAML(typ="safe", pure=True).load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    return cast("dict[str, list[Row]]", content)


def label(row: Row) -> str:
    """What a case is called in the test report."""
    return str(row.get("name") or " ".join(str(value) for value in row.values())).encode("ascii", "replace").decode()


def body(row: Row, patient: str = "p1") -> bytes:
    """The bytes of a case: `body`, `base64`, or a `generator` of `before`, `part` x `times` and `after`."""
    if "base64" in row:
        return base64.b64decode(str(row["base64"]))
    if "generator" in row:
        parts = cast("dict[str, object]", row["generator"])
        text = f"{parts['before']}{str(parts['part']) * int(str(parts['times']))}{parts['after']}"
    else:
        text = str(row["body"])
    return text.replace(PATIENT_PLACEHOLDER, patient).encode("utf-8")
