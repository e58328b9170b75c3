"""The generated model files as typed rows."""

from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict

Section = Literal["elements", "patient-compartment", "search"]


class Row(BaseModel):
    """Base of the rows: frozen, and nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ElementRow(Row):
    """One element of a StructureDefinition; either `types` or `content` (another path) says what it holds."""

    types: tuple[str, ...] = ()
    content: str | None = None
    min: int = 0
    max: str = "1"
    targets: tuple[str, ...] = ()
    binding: str | None = None


class ElementsFile(BaseModel):
    """`r4-elements.json`. `parents`: the type that each one specialises; `abstract`: what every resource has."""

    source: dict[str, object]
    resources: dict[str, bool]
    primitives: dict[str, bool]
    parents: dict[str, str]
    abstract: dict[str, dict[str, ElementRow]]
    paths: dict[str, dict[str, ElementRow]]
    values: dict[str, tuple[str, ...]]


class CompartmentRow(Row):
    """The reference paths of one type."""

    paths: tuple[str, ...]
    subject: str


class CompartmentFile(BaseModel):
    """`r4-patient-compartment.json`."""

    source: dict[str, object]
    types: dict[str, CompartmentRow]


class PathRow(Row):
    """One path of a search parameter; `as_type` picks one type of a choice element."""

    path: str
    as_type: str | None = None
    target: str | None = None


class ParameterRow(Row):
    """One search parameter."""

    type: Literal["token", "reference", "uri"]
    paths: tuple[PathRow, ...]


class SearchFile(BaseModel):
    """`r4-search.json`."""

    source: dict[str, object]
    types: dict[str, dict[str, ParameterRow]]
    common: dict[str, ParameterRow]


def text(release: str, section: Section) -> str:
    """The JSON text of a file; raises FileNotFoundError for a release that is not shipped."""
    return resources.files(__package__).joinpath(f"{release.lower()}-{section}.json").read_text("utf-8")
