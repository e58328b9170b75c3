from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed
from gateway.fhir.json import JsonObject
from gateway.fhir.search_match import matches
from gateway.fhir.search_query import parse
from tests.fhir.cases import Row, label, sections

TABLE = sections("search")
RESOURCE = cast("JsonObject", TABLE["resource"])


@pytest.mark.parametrize("row", TABLE["match"], ids=label)
def test_whether_a_payload_matches_a_query(row: Row) -> None:
    assert matches(RESOURCE, str(row["query"]).replace(" ", "%20")) is row["gives"]


@pytest.mark.parametrize("row", TABLE["match_others"], ids=label)
def test_whether_payloads_of_other_types_match(row: Row) -> None:
    assert matches(cast("JsonObject", row["resource"]), str(row["query"])) is row["gives"]


@pytest.mark.parametrize("row", TABLE["read"], ids=label)
def test_what_a_reads_query_reaches(row: Row) -> None:
    found = parse(str(row["query"]), cast("str | None", row["type"]), bases=("https://gw.example/fhir",))
    assert found.concerns_other_types is row["others"]
    assert list(found.patient_ids) == row["patients"]


def test_pairs_are_decoded_once_and_formats_collected() -> None:
    found = parse("code=http%3A%2F%2Fa%7Cb+c&_format=json&_format=xml&x=%2541", "Observation")
    assert found.pairs == (("code", "http://a|b c"), ("_format", "json"), ("_format", "xml"), ("x", "%41"))
    assert found.formats == ("json", "xml")


@pytest.mark.parametrize("query", cast("list[str]", TABLE["unreadable"]))
def test_a_query_without_exactly_one_reading_is_refused(query: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(query, "Observation")
    assert "name=value" in caught.value.issues[0].text


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(query: str) -> None:
    assert matches(RESOURCE, query) in (True, False, None)
