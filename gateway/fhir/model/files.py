"""The generated model files, as they were written: each is held against the digest that its generator left beside it.

That is more than a look at types would see, and costs a start a hundredth of it. What may stand in a row at all is said
here, and checked where the files are made (`gateway.definitions.rows`).
"""

from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final, Literal, NotRequired, cast

import jiter
from typing_extensions import TypedDict  # before Python 3.12 pydantic reads no other

Section = Literal["elements", "patient-compartment", "search"]
DIGESTS: Final = "digests.json"


class ElementRow(TypedDict):
    """One element of a StructureDefinition; either `types` or `content` (another path) says what it holds.

    Left out: `min` 0, `max` "1", no `targets`, no `binding`.
    """

    types: NotRequired[list[str]]
    content: NotRequired[str]
    min: NotRequired[int]
    max: NotRequired[str]
    targets: NotRequired[list[str]]
    binding: NotRequired[str]


class ElementsFile(TypedDict):
    """`r4-elements.json`. `parents`: the type that each one specialises; `abstract`: what every resource has."""

    source: dict[str, object]
    resources: dict[str, Literal[True]]
    primitives: dict[str, Literal[True]]
    parents: dict[str, str]
    abstract: dict[str, dict[str, ElementRow]]
    paths: dict[str, dict[str, ElementRow]]
    values: dict[str, list[str]]


class CompartmentRow(TypedDict):
    """The reference paths of one type."""

    paths: list[str]
    subject: str


class CompartmentFile(TypedDict):
    """`r4-patient-compartment.json`."""

    source: dict[str, object]
    types: dict[str, CompartmentRow]


class PathRow(TypedDict):
    """One path of a search parameter; `as_type` picks one type of a choice element."""

    path: str
    as_type: NotRequired[str]
    target: NotRequired[str]


class ParameterRow(TypedDict):
    """One search parameter."""

    type: Literal["token", "reference", "uri"]
    paths: list[PathRow]


class SearchFile(TypedDict):
    """`r4-search.json`."""

    source: dict[str, object]
    types: dict[str, dict[str, ParameterRow]]
    common: dict[str, ParameterRow]


def elements(release: str) -> ElementsFile:
    """The element model. Raises FileNotFoundError for a release that is not shipped, ValueError for a changed file."""
    return cast("ElementsFile", _read(release, "elements"))


def compartment(release: str) -> CompartmentFile:
    """The Patient compartment. Raises as `elements` does."""
    return cast("CompartmentFile", _read(release, "patient-compartment"))


def search(release: str) -> SearchFile:
    """The search parameters. Raises as `elements` does."""
    return cast("SearchFile", _read(release, "search"))


def name_of(release: str, section: Section) -> str:
    """The name of a file."""
    return f"{release.lower()}-{section}.json"


def digest(content: bytes) -> str:
    """What the generator writes down of a file."""
    return sha256(content).hexdigest()


def read(folder: Traversable, name: str) -> object:
    """The content of a file of that folder. Raises FileNotFoundError, or ValueError when it is not what was written."""
    content = folder.joinpath(name).read_bytes()
    if jiter.from_json(folder.joinpath(DIGESTS).read_bytes()).get(name) != digest(content):
        raise ValueError(f"{name} is not the file that was generated: `make model` writes it anew")
    return jiter.from_json(content)


def _read(release: str, section: Section) -> object:
    return read(resources.files(__package__), name_of(release, section))
