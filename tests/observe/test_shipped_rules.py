"""What is shipped for Prometheus and Grafana asks only for metrics and labels that the gateway has."""

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from gateway.observe.metrics import Metrics
from gateway.yaml_positions import read
from tests.observe.test_metrics import exercise

DEPLOY = Path(__file__).parents[2] / "deploy"
_SELECTOR = re.compile(r"(fhir_gateway_[a-z_]+)(?:\{([^}]*)\})?")


def known() -> dict[str, set[str]]:
    metrics = Metrics(frozenset({"Observation"}))
    exercise(metrics)
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def expressions() -> list[str]:
    rules: Any = read((DEPLOY / "prometheus/alerts.yaml").read_text()).value
    dashboard: Any = json.loads((DEPLOY / "grafana/fhir-gateway.json").read_text())
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return alerts + panels


def test_every_metric_and_label_exists() -> None:
    names = known()
    for expression in expressions():
        for name, selector in _SELECTOR.findall(expression):
            assert name in names, expression
            asked = set(re.findall(r"([a-z_]+)\s*(?:=~|!=|!~|=)", selector)) - {"job", "instance"}
            assert asked <= names[name], expression


def test_every_alert_says_what_it_means() -> None:
    rules: Any = read((DEPLOY / "prometheus/alerts.yaml").read_text()).value
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"page", "warning", "info"}
            assert rule["annotations"]["summary"]
