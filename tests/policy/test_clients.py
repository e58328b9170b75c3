"""Which tokens a policy is about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhir.interaction import InteractionCode
from gateway.policy.clients import ClientTerms, carries_one_of
from gateway.policy.facts import ClientFacts

CREATE, UPDATE = InteractionCode.CREATE, InteractionCode.UPDATE
CLIENT = ClientFacts(id="c", issuer="i", scopes=("system/*.cruds",))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(-2, 2), st.sampled_from(["", "lab", "1"]))


@pytest.mark.parametrize(
    ("carried", "listed", "code", "carries"),
    [
        ("system/*.cruds", "system/Observation.cu", CREATE, True),
        ("system/Observation.c", "system/Observation.cu", CREATE, True),
        ("system/Observation.c", "system/Observation.cu", UPDATE, False),
        ("system/Observation.u", "system/Observation.c", UPDATE, False),
        ("system/Observation.cu", "system/*.cruds", UPDATE, True),
        ("system/Condition.cu", "system/*.cruds", UPDATE, False),
        ("patient/*.cruds", "system/Observation.cu", CREATE, False),
        ("system/*.cruds", "patient/Observation.cu", CREATE, False),
        ("system/Observation.write", "system/Observation.c", CREATE, True),
        ("system/Observation.c", "system/Observation.write", CREATE, True),
        ("system/Observation.read", "system/Observation.c", CREATE, False),
        ("System/Observation.c", "system/Observation.c", CREATE, False),
        ("push", "push", CREATE, True),
        ("push2", "push", CREATE, False),
        ("system/Observation.cu", "system/Observation.cu", InteractionCode.DELETE, False),
    ],
)
def test_scopes(carried: str, listed: str, code: InteractionCode, carries: bool) -> None:
    assert carries_one_of((carried,), (listed,), code, "Observation") is carries


def test_a_token_without_scopes_carries_none() -> None:
    assert not carries_one_of((), ("push", "system/*.c"), CREATE, "Observation")


@pytest.mark.parametrize(
    ("claims", "wanted", "met"),
    [
        ({}, {}, True),
        ({"a": "x"}, {"a": "x"}, True),
        ({"a": "x"}, {"a": "x", "b": "y"}, False),
        ({"a": "x", "b": "y"}, {"a": "x", "b": "y"}, True),
        ({"a": ["x", "y"]}, {"a": "y"}, True),
        ({"a": ["x", "y"]}, {"a": ["z", "y"]}, True),
        ({"a": "x"}, {"a": ["z", "y"]}, False),
        ({"a": "x"}, {"a": []}, False),
        ({"a": []}, {"a": "x"}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": None}, {"a": None}, True),
        ({}, {"a": None}, False),
        ({"a": {"b": "x"}}, {"a": {"b": "x"}}, True),
        ({"a": "xy"}, {"a": "x"}, False),
    ],
)
def test_claims(claims: dict[str, object], wanted: dict[str, object], met: bool) -> None:
    assert ClientTerms(claims=wanted).met_by(CLIENT, claims, CREATE, "Observation") is met


def test_claims_and_scopes_are_both_asked_for() -> None:
    terms = ClientTerms(scopes=("push",), claims={"a": "x"})
    assert not terms.met_by(CLIENT, {"a": "x"}, CREATE, "Observation")
    assert terms.met_by(ClientFacts(id="c", issuer="i", scopes=("push",)), {"a": "x"}, CREATE, "Observation")


@given(value=SCALARS, wanted=SCALARS)
def test_a_claim_never_has_a_value_of_another_kind(value: object, wanted: object) -> None:
    met = ClientTerms(claims={"a": wanted}).met_by(CLIENT, {"a": value}, CREATE, "Observation")
    assert not met or (isinstance(value, bool) is isinstance(wanted, bool) and value == wanted)
