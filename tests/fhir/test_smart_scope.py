"""The grammar of SMART scopes: exactly one reading, never widened."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gateway.fhir.smart_scope import ScopeContext, SmartScope, parse, parse_all

TABLE: list[Mapping[str, Any]] = YAML(typ="safe", pure=True).load(
    Path(__file__).parent.parent / "cases" / "scopes-grammar.yaml"
)
PATIENTLY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("case", TABLE, ids=[repr(case["text"]) for case in TABLE])
def test_grammar(case: Mapping[str, Any]) -> None:
    means = case["means"]
    expected = means and SmartScope(**(means | {"context": ScopeContext(means["context"])}))
    assert parse(case["text"]) == expected


def test_covers_a_letter_on_a_type() -> None:
    scope = SmartScope(context=ScopeContext.SYSTEM, type="Observation", letters="cu")
    assert scope.covers("c", "Observation")
    assert not scope.covers("r", "Observation")
    assert not scope.covers("c", "ObservationDefinition")
    assert not scope.covers("c", "Obs")
    assert not scope.covers("", "Observation")
    assert not scope.covers("cu", "Observation")


def test_only_a_star_covers_all_types_at_once() -> None:
    star = SmartScope(context=ScopeContext.SYSTEM, type="*", letters="s")
    one = SmartScope(context=ScopeContext.SYSTEM, type="Observation", letters="s")
    assert star.covers("s", "*")
    assert star.covers("s", "Observation")
    assert not one.covers("s", "*")


def test_parse_all_keeps_order_and_each_once() -> None:
    texts = ("openid", "system/B.r", "system/A.read", "system/A.rs", "system/B.r")
    assert [scope.type for scope in parse_all(texts)] == ["B", "A"]


@PATIENTLY
@given(st.text())
def test_any_text_is_a_scope_or_none(text: str) -> None:
    scope = parse(f"system/Observation.{text}")
    assert scope is None or text.startswith(("read", "write", "*", *"cruds"))


@PATIENTLY
@given(
    st.sampled_from(["patient", "user", "system"]),
    st.sampled_from(["*", "Observation", "Patient"]),
    st.sets(st.sampled_from("cruds"), min_size=1),
)
def test_every_subset_in_order_is_a_scope(context: str, type_: str, letters: set[str]) -> None:
    ordered = "".join(sorted(letters, key="cruds".index))
    scope = parse(f"{context}/{type_}.{ordered}")
    assert scope is not None
    assert [letter for letter in "cruds" if scope.covers(letter, type_)] == list(ordered)
