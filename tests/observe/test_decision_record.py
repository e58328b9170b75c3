"""A record goes out by the published schema, without anything that names a person."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import observe
from gateway.observe.decision_line import LineWriter
from gateway.observe.decision_record import DecisionRecord, published
from gateway.policy.decision import Mode, Result
from tests.observe.records import full_record, outcome

SCHEMA: dict[str, Any] = json.loads(Path(observe.__path__[0], "decision-log.schema.json").read_text())
KEY = b"k" * 32


def out(record: DecisionRecord, key: bytes = KEY) -> dict[str, Any]:
    return published(record, key=key, instance="host-1", version="0.1.0")


def check(value: Any, schema: dict[str, Any], at: str = "$") -> None:
    """The parts of JSON Schema that the published schema uses."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    assert "const" not in schema or value == schema["const"], at
    assert "enum" not in schema or value in schema["enum"], at
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "array": (list,),
        "object": (dict,),
        "null": (type(None),),
    }
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    assert not names or any(isinstance(value, kinds[name]) for name in names), at
    assert value >= schema.get("minimum", value) if isinstance(value, (int, float)) else True, at
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            check(item, schema["items"], f"{at}[{number}]")
    if isinstance(value, dict) and "properties" in schema:
        assert set(schema.get("required", [])) <= set(value), at
        for name, item in value.items():
            assert name in schema["properties"], f"{at}.{name} is not published"
            check(item, schema["properties"][name], f"{at}.{name}")


def test_a_full_record_follows_the_schema_and_fills_every_property() -> None:
    # Only an allowed write can differ from its shadow.
    allowed = out(full_record(decision="allow", checks=(outcome(result=Result.FAIL, mode=Mode.AUDIT),)))
    denied = out(full_record())
    check(allowed, SCHEMA)
    check(denied, SCHEMA)
    assert set(allowed) | set(denied) == set(SCHEMA["properties"])


def test_the_smallest_record_follows_the_schema() -> None:
    check(out(DecisionRecord(decision_id="i", time=0.0, decision="none", status=404)), SCHEMA)


def test_no_text_of_people_payloads_or_rules_comes_out() -> None:
    assert "canary" not in json.dumps(out(full_record()))


def test_values_are_as_recorded() -> None:
    line = out(full_record())
    assert line["time"] == "2027-01-15T08:00:00.125Z"
    assert line["total_ms"] == 250.0
    assert line["body_bytes"] == 23
    assert line["checks"][0] == {"policy": "lab", "id": "a", "phase": "before", "mode": "enforce", "result": "pass"}
    assert line["checks"][1]["error_code"] == "business-rule"
    assert line["undo"] == {"action": "delete", "result": "undone"}


def test_hashes_tell_equal_values_and_need_the_key() -> None:
    same, other = out(full_record()), out(full_record(subject="someone"))
    assert same["subject_hash"] == out(full_record())["subject_hash"]
    assert same["subject_hash"] != other["subject_hash"]
    assert same["subject_hash"] != out(full_record(), b"x" * 32)["subject_hash"]


def test_the_same_text_has_another_hash_in_another_field() -> None:
    line = out(full_record(subject="x", resource_id="x", patients=("x",), body=b"x"))
    hashes = [line["subject_hash"], line["resource_id_hash"], *line["patients"]["ref_hashes"], line["body_hash"]]
    assert len(set(hashes)) == 4


@pytest.mark.parametrize(
    ("decision", "mode", "result", "shadow"),
    [
        ("allow", Mode.AUDIT, Result.FAIL, "deny"),
        ("warn", Mode.WARN, Result.ERROR, "deny"),
        ("allow", Mode.AUDIT, Result.PASS, None),
        ("deny", Mode.AUDIT, Result.FAIL, None),
    ],
)
def test_the_shadow_decision(decision: str, mode: Mode, result: Result, shadow: str | None) -> None:
    line = out(full_record(decision=decision, checks=(outcome(mode=mode, result=result),)))
    assert line.get("shadow_decision") == shadow


def test_lines_say_the_same_whether_their_checks_were_kept_or_not() -> None:
    writer = LineWriter(key=KEY, instance="host-1", version="0.1.0")
    for record in (full_record(), full_record(checks=()), full_record(), full_record(checks=(outcome("c"),))):
        for _ in range(2):
            assert json.loads(writer.line(record)) == out(record)


def test_kept_checks_are_bounded() -> None:
    writer = LineWriter(key=KEY, instance="host-1", version="0.1.0")
    for number in range(20_005):
        writer.line(full_record(checks=(last := (outcome(f"r{number}")),)))
    assert json.loads(writer.line(full_record(checks=(last,)))) == out(full_record(checks=(last,)))


def test_lines_are_ascii_whatever_a_client_is_called() -> None:
    writer = LineWriter(key=KEY, instance="host-1", version="0.1.0")
    record = full_record(client_id="\u202ecl\u00ef\x1b[31m\nent")
    line = writer.line(record)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert b"\x1b" not in line
    assert json.loads(line) == out(record)
