"""Metrics have the published names, and a closed number of series whatever clients send."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.observe.metrics import Metrics, render_all_workers
from gateway.policy.decision import Mode, Phase, Result
from tests.observe.records import outcome

TYPES = frozenset({"Observation", "Patient"})


def series(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return series(metrics)[f"fhir_gateway_{name}", tuple(sorted(labels.items()))]


def exercise(metrics: Metrics, type_: str = "Observation") -> None:
    metrics.build_info("0.1.0")
    metrics.unsafe_settings(("allow_insecure",))
    metrics.in_flight(1)
    metrics.request("create", type_, 201, 0.02, "allow", upstream_seconds=0.01)
    metrics.request(None, None, 404, 0.001, "none")
    metrics.in_flight(0)
    metrics.rejected("framing")
    metrics.decision("create", type_, "allow")
    metrics.rules((outcome("a"), outcome("b", result=Result.FAIL, mode=Mode.AUDIT, phase=Phase.AFTER)))
    metrics.idempotency("replayed")
    metrics.evaluation("before", 0.0002)
    metrics.token("https://id.example", "ok")
    metrics.jwks_fetched("https://id.example", 1.0)
    metrics.patient_fetch("ok", 0.01)
    metrics.upstream("POST", 201, 0.01)
    metrics.undo("delete", "ok", 0.4)
    metrics.undo("delete", "conflict", 0.4)
    metrics.reopened("stored after all")
    metrics.journal_entries({"stuck": 2}, 12.5)
    metrics.journal_commit("sqlite", 0.001)
    metrics.journal_error("sqlite")
    metrics.policy_set("abc", {"enforce": 3}, 5.0)
    metrics.policy_reload(succeeded=False)
    metrics.decision_log("file", "written", 2)
    metrics.decision_log_queue("file", 1)


def test_every_published_name_is_there() -> None:
    metrics = Metrics(TYPES)
    exercise(metrics)
    names = {name for name, _ in series(metrics)}
    assert {
        f"fhir_gateway_{name}"
        for name in (
            "http_requests_total", "http_request_duration_seconds_bucket", "http_overhead_seconds_count",
            "http_requests_in_flight", "rejected_requests_total", "decisions_total", "check_results_total",
            "idempotent_requests_total",
            "check_duration_seconds_sum", "token_verifications_total", "jwks_last_success_timestamp_seconds",
            "patient_fetches_total", "patient_fetch_duration_seconds_bucket", "upstream_requests_total",
            "upstream_request_duration_seconds_bucket", "undo_attempts_total", "undo_duration_seconds_bucket",
            "writes_reopened_total", "journal_entries", "journal_oldest_open_age_seconds",
            "journal_commit_duration_seconds_bucket", "journal_errors_total", "policy_reloads_total",
            "policy_last_reload_successful", "policy_last_reload_success_timestamp_seconds", "policy_set_info",
            "policy_checks", "decision_log_records_total", "decision_log_queue_records", "build_info",
            "unsafe_setting_info",
        )
    } <= names  # fmt: skip
    assert not any(name.endswith("_created") for name in names)


def test_values() -> None:
    metrics = Metrics(TYPES)
    exercise(metrics)
    assert value(metrics, "http_requests_total", interaction="create", resource_type="Observation", code="201") == 1
    assert value(metrics, "http_overhead_seconds_sum", interaction="create") == pytest.approx(0.01)
    assert value(metrics, "http_requests_in_flight") == 0
    assert value(metrics, "undo_attempts_total", action="delete", result="conflict") == 1
    assert value(metrics, "undo_duration_seconds_count", action="delete") == 1
    assert value(metrics, "writes_reopened_total", event="stored after all") == 1
    assert value(metrics, "journal_entries", state="stuck") == 2
    assert value(metrics, "policy_last_reload_successful") == 0
    assert value(metrics, "policy_checks", mode="audit") == 0
    assert value(metrics, "decision_log_records_total", sink="file", result="written") == 2
    labels = {"policy": "lab", "check": "b", "phase": "after", "mode": "audit", "result": "fail"}
    assert value(metrics, "check_results_total", **labels) == 1


def test_random_types_make_no_new_series() -> None:
    metrics = Metrics(TYPES)
    exercise(metrics, "Patient")
    exercise(metrics, "Nothing-0")
    before = len(series(metrics))
    for number in range(10_000):
        metrics.request("create", f"Nothing-{number}", 201, 0.02, "allow")
        metrics.decision("create", f"Nothing-{number}", "allow")
    assert len(series(metrics)) == before
    labels = {"interaction": "create", "resource_type": "_other", "decision": "allow"}
    assert value(metrics, "decisions_total", **labels) == 10_001


def test_unknown_methods_share_one_label() -> None:
    metrics = Metrics(TYPES)
    metrics.upstream("BREW", 418, 0.1)
    assert value(metrics, "upstream_requests_total", method="_other", code="418") == 1


def test_only_the_policies_in_force_are_named() -> None:
    metrics = Metrics(TYPES)
    metrics.policy_set("one", {}, 1.0)
    metrics.policy_set("two", {}, 2.0)
    named = [labels for name, labels in series(metrics) if name == "fhir_gateway_policy_set_info"]
    assert named == [(("revision", "two"),)]


_WORKER = """
from gateway.observe.metrics import Metrics
metrics = Metrics(frozenset({"Observation"}))
metrics.request("create", "Observation", 201, 0.02, "allow")
metrics.policy_set("one", {"enforce": 1}, 1.0)
metrics.policy_set("two", {"enforce": 2}, 2.0)
metrics.in_flight(1)
metrics.fold()
"""


def test_several_workers_are_added_up(tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-W", "error", "-c", _WORKER],
            env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            check=True,
        )
    families = text_string_to_metric_families(render_all_workers(tmp_path).decode())
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
    labels = (("code", "201"), ("interaction", "create"), ("resource_type", "Observation"))
    assert found["fhir_gateway_http_requests_total", labels] == 2
    assert found["fhir_gateway_policy_set_info", (("revision", "one"),)] == 0
    assert found["fhir_gateway_policy_set_info", (("revision", "two"),)] == 1
    assert found["fhir_gateway_policy_checks", (("mode", "enforce"),)] == 2


def test_the_outcomes_of_a_rule_are_counted_under_its_own_labels_however_often_rules_are_made_anew() -> None:
    metrics = Metrics(TYPES)
    for _ in range(2):
        for number in range(10_050):
            metrics.rules((outcome(f"r{number % 50}"),))
    same = outcome("same")
    for _ in range(3):
        metrics.rules((same, outcome("same", result=Result.FAIL), same))
    labels = {"policy": "lab", "phase": "before", "mode": "enforce"}
    assert value(metrics, "check_results_total", check="same", result="pass", **labels) == 6
    assert value(metrics, "check_results_total", check="same", result="fail", **labels) == 3
    assert value(metrics, "check_results_total", check="r7", result="pass", **labels) == 402
