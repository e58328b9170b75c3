"""Whether a model file holds what may stand in one: the generator asks of each file, and so do the tests.

A gateway reads the very files that were checked so (`gateway.fhir.model.files`), and checks no more than that.
"""

from typing import Any, Final

from pydantic import TypeAdapter

from gateway.fhir.model.files import CompartmentFile, ElementsFile, SearchFile, Section

_OF: Final[dict[Section, TypeAdapter[Any]]] = {
    "elements": TypeAdapter(ElementsFile),
    "patient-compartment": TypeAdapter(CompartmentFile),
    "search": TypeAdapter(SearchFile),
}


def check(section: Section, content: bytes) -> None:
    """Raises ValueError when this is no file of that section."""
    _OF[section].validate_json(content, strict=True, extra="forbid")
