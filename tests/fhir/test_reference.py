from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhir.reference import LiteralReference, UnresolvableReference, classify
from tests.fhir.cases import Row, label, sections

TABLE = sections("references")
BASES = tuple(cast("list[str]", TABLE["bases"]))


@pytest.mark.parametrize("row", TABLE["literal"], ids=label)
def test_a_literal_reference_names_type_and_id(row: Row) -> None:
    type_name, logical_id = cast("list[str]", row["is"])
    assert classify(str(row["text"]), BASES) == LiteralReference(type=type_name, id=logical_id)


@pytest.mark.parametrize("row", TABLE["unresolvable"], ids=label)
def test_everything_else_has_a_form(row: Row) -> None:
    found = classify(str(row["text"]), BASES)
    assert isinstance(found, UnresolvableReference)
    assert found.form == row["form"]
    assert found.why


@given(st.text(max_size=20), st.sampled_from(["", "Patient/", "https://gw.example/fhir/Patient/", "#", "urn:"]))
def test_a_literal_reference_is_exactly_its_text(text: str, prefix: str) -> None:
    found = classify(prefix + text, BASES)
    if isinstance(found, LiteralReference):
        assert prefix + text in (f"{found.type}/{found.id}", f"{BASES[0]}/{found.type}/{found.id}")
