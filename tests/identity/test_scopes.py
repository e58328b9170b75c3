"""SMART scopes as an upper bound."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhir.interaction import InteractionCode
from gateway.identity.principal import Principal, ScopeSet
from gateway.identity.scopes import Grant, grant, permission

from .scene import ISSUER, PATIENTLY, cases

TABLE = cases("scopes.yaml")


def holding(texts: tuple[str, ...], *, patient: str | None = "p-1", enforce: bool = True) -> Principal:
    return Principal(
        issuer=ISSUER,
        client_id="c",
        subject=None,
        patient=patient,
        scope_texts=texts,
        scopes=ScopeSet.parse(texts),
        claims={},
        expires_at=0.0,
        enforce_scopes=enforce,
    )


def said(case: Mapping[str, Any]) -> str:
    return f"{' '.join(case['scopes'])} {case['code']} {case['type']} {'conditional' * case.get('conditional', False)}"


@pytest.mark.parametrize("case", TABLE, ids=[said(case) for case in TABLE])
def test_grants(case: Mapping[str, Any]) -> None:
    principal = holding(tuple(case["scopes"]), patient=None if case.get("context") == "none" else "p-1")
    found = grant(principal, InteractionCode(case["code"]), case["type"], conditional=case.get("conditional", False))
    grants = case["grants"]
    assert found.allowed is (grants != "no")
    assert found.filters == (tuple(grants) if isinstance(grants, list) else ())
    assert found.patient_only is case.get("patient", False)
    assert found.otherwise == (Grant(allowed=True, patient_only=True) if "otherwise" in case else None)


def test_an_issuer_whose_scopes_are_ignored_grants_everything() -> None:
    principal = holding((), enforce=False)
    for code in InteractionCode:
        assert grant(principal, code, "Observation", conditional=True) == Grant(allowed=True)


def test_every_interaction_has_its_letters_or_none() -> None:
    without_own_scope = {InteractionCode.OPERATION, InteractionCode.BATCH, InteractionCode.TRANSACTION}
    assert {code for code in InteractionCode if permission(code) is None} == without_own_scope
    assert permission(InteractionCode.CAPABILITIES, conditional=True) == ""
    assert permission(InteractionCode.CREATE, conditional=True) == "cs"
    assert permission(InteractionCode.SEARCH_TYPE, conditional=True) == "s"
    assert permission(InteractionCode.OPERATION, conditional=True) is None


SCOPES = st.builds(
    "{}/{}.{}".format,
    st.sampled_from(["system", "user", "patient"]),
    st.sampled_from(["*", "Observation", "Patient"]),
    st.sampled_from(["c", "cu", "rs", "cruds", "read", "c?code=a", "cs?code=b"]),
)


@PATIENTLY
@given(
    st.lists(SCOPES, max_size=4),
    st.lists(SCOPES | st.text(max_size=9), max_size=3),
    st.sampled_from(list(InteractionCode)),
    st.booleans(),
)
def test_more_scopes_never_grant_less(
    few: list[str], more: list[str], code: InteractionCode, conditional: bool
) -> None:
    before = grant(holding(tuple(few)), code, "Observation", conditional=conditional)
    after = grant(holding((*few, *more)), code, "Observation", conditional=conditional)
    assert after.allowed or not before.allowed
    unconditional = Grant(allowed=True)
    assert after == unconditional or before != unconditional
