"""What an operator sees: metrics by a real Prometheus, the decision log, and no word about patients in any of them."""

import json
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.door import Door
from tests.e2e.records import MUST_NOT_STAY, patient, result, text, unique
from tests.e2e.servers import DEPLOY, prometheus

FAMILY, NUMBER = "Geheimnisvoll", "MRN-7719-4402"


def test_prometheus_scrapes_and_answers(door: Door, tmp_path: Path) -> None:
    assert door.ask("POST", "Observation", content=text(result())).status_code == 201
    assert door.ask("POST", "Observation", content=text(result(status="preliminary"))).status_code == 422
    assert door.ask("POST", "Observation", content=text(result(note=[{"text": MUST_NOT_STAY}]))).status_code == 409
    child, url = prometheus(tmp_path, f"127.0.0.1:{door.admin_port}")
    wanted = {
        'fhir_gateway_decisions_total{interaction="create",resource_type="Observation",decision="allow"}',
        'fhir_gateway_decisions_total{interaction="create",resource_type="Observation",decision="deny"}',
        'fhir_gateway_decisions_total{interaction="create",resource_type="Observation",decision="undo"}',
        'fhir_gateway_check_results_total{policy="push",check="final-results-only",result="fail"}',
        'fhir_gateway_undo_attempts_total{action="delete",result="ok"}',
        'fhir_gateway_token_verifications_total{result="ok"}',
        "fhir_gateway_policy_last_reload_successful",
        "fhir_gateway_http_request_duration_seconds_count",
    }
    with httpx.Client(trust_env=False, timeout=10) as client:
        try:
            child.start().wait_ready()
            deadline = time.monotonic() + 20
            while wanted and time.monotonic() < deadline:
                wanted -= {query for query in wanted if value(client, url, query) >= 1}
                time.sleep(0.2)
            assert wanted == set()
            targets = client.get(f"{url}/api/v1/targets").json()["data"]["activeTargets"]
            assert [target["health"] for target in targets] == ["up"]
            rules = client.get(f"{url}/api/v1/rules").json()["data"]["groups"]
            assert all(rule["health"] != "err" for group in rules for rule in group["rules"])
        finally:
            assert child.stop() == 0


def value(client: httpx.Client, url: str, query: str) -> float:
    answer = client.get(f"{url}/api/v1/query", params={"query": f"sum({query})"})
    results = answer.raise_for_status().json()["data"]["result"]
    return float(results[0]["value"][1]) if results else 0.0


def test_the_exposition_is_what_promtool_wants(door: Door) -> None:
    exposition = door.client.get(f"{door.admin}/metrics").content
    checked = subprocess.run(["promtool", "check", "metrics"], input=exposition, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr.decode()


def test_the_alert_rules_are_right(door: Door) -> None:
    files = sorted(map(str, (DEPLOY / "prometheus").glob("*.yaml")))
    assert files
    checked = subprocess.run(["promtool", "check", "rules", *files], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout.decode() + checked.stderr.decode()
    exposed = door.client.get(f"{door.admin}/metrics").text
    assert "fhir_gateway_journal_entries" in exposed


@pytest.mark.parametrize("path", ["livez", "readyz", "startupz", "metrics", "status"])
def test_operators_pages_are_on_their_own_port_only(door: Door, path: str) -> None:
    assert door.client.get(f"{door.admin}/{path}").status_code == 200
    assert door.client.get(f"http://127.0.0.1:{door.port}/{path}").status_code == 404


def test_every_decision_is_recorded_once(door: Door) -> None:
    answer = door.ask("POST", "Observation", content=text(result(status="preliminary")))
    decision_id = answer.headers["x-decision-id"]
    assert json.loads(answer.content)["id"] == decision_id
    deadline = time.monotonic() + 5
    while decision_id not in (log := door.decisions.read_text("utf-8")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    records = [record for line in log.splitlines() if (record := json.loads(line))["decision_id"] == decision_id]
    (record,) = records
    assert record["decision"] == "deny"
    assert record["status"] == 422
    failed = [check["id"] for check in record["checks"] if check["result"] != "pass"]
    assert failed == ["final-results-only"]


def test_no_word_about_a_patient_leaves_the_gateway(own_door: Door) -> None:
    """Secrets are planted in tokens, Patients, results and URLs; on allowed, refused, undone and broken requests."""
    own_door.start()
    patient_id = unique("secret")
    body = patient(patient_id, family=FAMILY) | {
        "identifier": [{"system": "https://plan.example/member", "value": NUMBER}]
    }
    assert own_door.ask("PUT", f"Patient/{patient_id}", content=text(body)).status_code == 201
    note = [{"text": f"{MUST_NOT_STAY}"}, {"text": FAMILY}]
    for record in (
        result(patient_id, comment=FAMILY),
        result(patient_id, note=[{"text": FAMILY}]),
        result(patient_id, status="preliminary", note=[{"text": FAMILY}]),
        result(patient_id, note=note),
        result(patient_id, performer=[{"reference": f"Practitioner/{patient_id}"}]),
        result(patient_id, subject={"reference": f"Patient?identifier={NUMBER}"}),
    ):
        own_door.ask("POST", "Observation", content=text(record))
    own_door.ask("POST", "Observation", content=f'{{"resourceType":"Observation","{FAMILY}')
    own_door.ask("GET", f"Patient?identifier={NUMBER}&family={FAMILY}")
    own_door.ask("GET", f"Patient/{patient_id}/{FAMILY}")
    own_door.ask("GET", f"Patient/{patient_id}", token=f"{own_door.token}{FAMILY}")
    exposed = own_door.client.get(f"{own_door.admin}/metrics").text
    status = own_door.client.get(f"{own_door.admin}/status").text
    assert own_door.process.stop() == 0
    written = {
        "metrics": exposed,
        "status": status,
        "log": own_door.log.read_text("utf-8"),
        "decisions": own_door.decisions.read_text("utf-8"),
    }
    assert written["decisions"].count("\n") >= 10
    secrets = (FAMILY, NUMBER, patient_id, own_door.token, own_door.token.split(".")[2], own_door.token.split(".")[1])
    leaks = [(where, secret) for where, text_ in written.items() for secret in secrets if secret in text_]
    assert leaks == []
