"""FHIR's element model as CEL sees it: protobuf descriptors for the checker, cardinalities for the rewrite."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class Model(Protocol):
    """What the rewrite asks about a message (`fhir.Observation`, `fhir.Observation_component`)."""

    def repeats(self, message: str, field: str) -> bool: ...

    def is_timestamp(self, message: str, field: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Untyped:
    """No model."""

    fields: Mapping[str, object]

    def repeats(self, message: str, field: str) -> bool:  # noqa: ARG002
        return False

    def is_timestamp(self, message: str, field: str) -> bool:  # noqa: ARG002
        return False
