"""OperationOutcome, the only form in which the gateway says no (http://hl7.org/fhir/R4/operationoutcome.html)."""

import json
from collections.abc import Sequence

from gateway.errors import Issue


def operation_outcome(issues: Sequence[Issue], *, decision_id: str | None = None) -> bytes:
    """The bytes of an OperationOutcome in application/fhir+json; `decision_id` becomes its id.

    The order of issues and keys is that of the input, so equal input gives equal bytes.
    """
    outcome: dict[str, object] = {"resourceType": "OperationOutcome"}
    if decision_id is not None:
        outcome["id"] = decision_id
    outcome["issue"] = [_issue(issue) for issue in issues]
    return json.dumps(outcome, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _issue(issue: Issue) -> dict[str, object]:
    entry: dict[str, object] = {
        "severity": issue.severity.value,
        "code": issue.code.value,
        "details": {"text": issue.text},
    }
    if issue.diagnostics is not None:
        entry["diagnostics"] = issue.diagnostics
    if issue.expression:
        entry["expression"] = list(issue.expression)
    return entry
