"""What a model file may hold, for those who write one: the generator holds each file against it, and so do the tests.

A gateway reads the very files that were checked so (`gateway.fhir.model.files`), and checks no more than that.
"""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from gateway.fhir.model.files import Section


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Element(_Row):
    types: list[str] = []
    content: str | None = None
    min: int = 0
    max: str = "1"
    targets: list[str] = []
    binding: str | None = None


class Elements(_Row):
    """`r4-elements.json`."""

    source: dict[str, object]
    resources: dict[str, Literal[True]]
    primitives: dict[str, Literal[True]]
    parents: dict[str, str]
    abstract: dict[str, dict[str, _Element]]
    paths: dict[str, dict[str, _Element]]
    values: dict[str, list[str]]


class _CompartmentEntry(_Row):
    paths: list[str]
    subject: str


class Compartment(_Row):
    """`r4-patient-compartment.json`."""

    source: dict[str, object]
    types: dict[str, _CompartmentEntry]


class _SearchPath(_Row):
    path: str
    as_type: str | None = None
    target: str | None = None


class _SearchParameter(_Row):
    type: Literal["token", "reference", "uri"]
    paths: list[_SearchPath]


class Search(_Row):
    """`r4-search.json`."""

    source: dict[str, object]
    types: dict[str, dict[str, _SearchParameter]]
    common: dict[str, _SearchParameter]


_OF: Final[dict[Section, type[_Row]]] = {"elements": Elements, "patient-compartment": Compartment, "search": Search}


def check(section: Section, content: bytes) -> None:
    """Raises ValueError when this is no file of that section."""
    _OF[section].model_validate_json(content)
