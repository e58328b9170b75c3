import json

from gateway.errors import Issue, IssueCode, Severity
from gateway.fhir.outcome import operation_outcome
from gateway.fhir.shape import check


def test_an_outcome_lists_every_issue_in_order_and_is_fhir_itself() -> None:
    issues = [
        Issue(code=IssueCode.BUSINESS_RULE, text="é", expression=("Observation.status",), diagnostics="lab/final"),
        Issue(code=IssueCode.INFORMATIONAL, text="b", severity=Severity.INFORMATION),
    ]
    content = operation_outcome(issues, decision_id="0190-a")
    outcome = json.loads(content)
    assert outcome == {
        "resourceType": "OperationOutcome",
        "id": "0190-a",
        "issue": [
            {
                "severity": "error",
                "code": "business-rule",
                "details": {"text": "é"},
                "diagnostics": "lab/final",
                "expression": ["Observation.status"],
            },
            {"severity": "information", "code": "informational", "details": {"text": "b"}},
        ],
    }
    assert check(outcome) == ()
    assert content == operation_outcome(issues, decision_id="0190-a")


def test_an_outcome_without_a_decision_has_no_id() -> None:
    content = operation_outcome([Issue(code=IssueCode.LOGIN, text="a")], decision_id=None)
    assert "id" not in json.loads(content)
