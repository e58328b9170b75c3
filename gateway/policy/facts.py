"""What a decision is made from: frozen values, gathered before, never fetched during."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.fhir.compartment import LinkProblem
from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject

__all__ = ["ClientFacts", "Facts", "LinkProblem", "PatientFacts", "RequestFacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFacts:
    """The client as policies see it (`client`)."""

    id: str
    issuer: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """The request as policies see it (`request`). `time` is an RFC 3339 instant in UTC, frozen per decision."""

    interaction: InteractionCode
    type: str
    id: str | None
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientFacts:
    """Every Patient the write is about: payload and prior version, each once, in order of first mention.

    `resources` holds the Patients that could be read; `problems` says what could not be resolved or read.
    `applicable` is False for types outside the Patient compartment.
    """

    applicable: bool = True
    resources: tuple[JsonObject, ...] = ()
    problems: tuple[LinkProblem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a rule may look at. `stored` is set for phase `after` only."""

    request: RequestFacts
    client: ClientFacts
    claims: Mapping[str, object]
    resource: JsonObject
    prior: JsonObject | None = None
    stored: JsonObject | None = None
    patients: PatientFacts = field(default_factory=PatientFacts)
