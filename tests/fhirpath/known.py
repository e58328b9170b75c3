"""The cases of the official suites that the engine does not answer as they say: one short file, each with a reason."""

import functools
from pathlib import Path

from ruamel.yaml import YAML

KNOWN = Path(__file__).parents[1] / "cases" / "fhirpath-suite.yaml"


@functools.cache
def groups() -> dict[str, dict[str, object]]:
    """The groups of the file by name."""
    found: dict[str, dict[str, object]] = YAML(typ="safe").load(KNOWN.read_text(encoding="utf-8"))
    return found


def listed(release: str) -> dict[str, str]:
    """Case name to group, for a release."""
    found: dict[str, str] = {}
    for group, content in groups().items():
        names, releases = content["cases"], content.get("releases", ["R4", "R4B", "R5"])
        assert isinstance(names, list)
        assert isinstance(releases, list)
        if release in releases:
            found.update(dict.fromkeys(names, group))
    return found
