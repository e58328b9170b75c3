"""A policy file as its author writes it: exactly the keys of the policy language, and their types.

Only the form is checked here. What the words mean, and whether they fit each other, is the compiler's.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
Identifier = Annotated[str, Field(pattern=r"^[a-z][A-Za-z0-9_]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=500)]
ExpressionText = Annotated[str, Field(min_length=1, max_length=20_000)]
Fixture = Annotated[str, Field(min_length=1, max_length=500)]
ModeWord = Literal["enforce", "warn", "audit"]

# The codes of POLICY.md's table that a rule about content can mean; the others tell of tokens, load or outages.
DenialCode = Literal[
    "business-rule", "invalid", "required", "value", "code-invalid", "forbidden", "suppressed", "conflict", "too-long"
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class ClientsPart(_Part):
    """Which tokens the policy is about; everything listed has to be met."""

    scopes: list[Text] = Field(
        default=[], description="The token carries at least one of these that is about the type and interaction."
    )
    claims: dict[str, JsonValue] = Field(
        default={}, description="Every claim named has this value; a list means any of them."
    )


class ExpressionPart(_Part):
    """One expression, in one of the two languages."""

    cel: ExpressionText | None = Field(default=None, description="A CEL expression.")
    fhirpath: ExpressionText | None = Field(default=None, description="A FHIRPath expression.")


class DenyPart(_Part):
    """What the client is told when the rule does not hold."""

    code: DenialCode = Field(default="business-rule", description="The OperationOutcome issue code.")
    at: Text | None = Field(default=None, description="The element that is wrong, as a path without the type.")
    message: Text | None = Field(default=None, description="The issue's text. Name no payload values in it.")


class RulePart(_Part):
    """One rule: an expression that has to be exactly true."""

    id: Name = Field(description="Stable name inside the file: in logs, metrics and OperationOutcomes.")
    cel: ExpressionText | None = Field(default=None, description="A CEL expression.")
    fhirpath: ExpressionText | None = Field(default=None, description="A FHIRPath expression.")
    phase: Literal["before", "after"] = Field(
        default="before", description="`after` judges what the server stored; failing it undoes the write."
    )
    mode: ModeWord | None = Field(default=None, description="May lower the policy's mode, never raise it.")
    deny: DenyPart = Field(default=DenyPart(), description="What the client is told when the rule does not hold.")


class GivenPart(_Part):
    """The write of a test. Resources are JSON files, named relative to the policy file."""

    create: Fixture | None = Field(default=None, description="The payload of a create.")
    update: Fixture | None = Field(default=None, description="The payload of an update.")
    id: Text | None = Field(default=None, description="The id in the URL of an update; the payload's when left out.")
    patient: Fixture | None = Field(default=None, description="The Patient on the server.")
    patients: list[Fixture] = Field(default=[], description="The Patients on the server, when there are several.")
    prior: Fixture | None = Field(default=None, description="The version that an update replaces.")
    stored: Fixture | None = Field(default=None, description="What the server stored, for the rules of phase after.")
    claims: dict[str, JsonValue] = Field(default={}, description="The token's claims.")
    scopes: list[Text] | None = Field(default=None, description="The token's scopes; what the policy asks for if none.")
    client: Text = Field(default="test-client", description="The client's id.")
    time: Text = Field(default="2026-01-01T12:00:00Z", description="The time of the decision.")


class ExpectPart(_Part):
    """What a test expects other than `allow`: exactly these rules do not hold."""

    deny: list[Text] | None = Field(default=None, description="Rules that refuse; `permit` if no policy permits.")
    warn: list[Text] | None = Field(default=None, description="Allowed, and these rules warn.")
    undo: list[Text] | None = Field(default=None, description="Allowed, and these rules undo what was stored.")


class CasePart(_Part):
    """One test of the policy."""

    name: Text
    given: GivenPart
    expect: Literal["allow"] | ExpectPart


class PolicyDocument(_Part):
    """One policy: who may push what, and what has to be true of it."""

    policy: Name = Field(description="Stable name: in logs, metrics and OperationOutcomes.")
    title: Text | None = Field(default=None, description="One line that says what the policy is for.")
    owner: Text | None = Field(default=None, description="Who answers for it.")
    permit: list[Literal["create", "update"]] | None = Field(
        default=None,
        min_length=1,
        description="Interactions this policy opens; left out: a guard, which only restricts.",
    )
    resources: list[Text] | None = Field(
        default=None, min_length=1, description="Resource types; only a guard may leave them out, and is about all."
    )
    clients: ClientsPart = Field(default=ClientsPart(), description="Which tokens; left out: any client.")
    when: ExpressionPart | None = Field(default=None, description="Narrows the policy; an error here refuses.")
    patient: Literal["required", "optional", "none"] | None = Field(
        default=None, description="Left out: required for types in the Patient compartment, else none."
    )
    mode: ModeWord = Field(default="enforce", description="What a rule that does not hold does.")
    params: dict[Identifier, JsonValue] = Field(default={}, description="Named constants.")
    let: dict[Identifier, ExpressionPart] = Field(default={}, description="Named values, evaluated once.")
    rules: list[RulePart] = Field(default=[], description="Everything that has to be true.")
    tests: list[CasePart] = Field(default=[], description="Examples that are judged by `fhir-gateway test`.")
