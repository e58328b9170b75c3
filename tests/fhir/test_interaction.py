from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.fhir import interaction
from gateway.fhir.interaction import Create, Interaction, Reading, Update
from tests.fhir.cases import Row, label, sections

TABLE = sections("interactions")


def named(row: Row) -> Interaction:
    def lines(key: str) -> Sequence[str]:
        return cast("list[str]", row.get(key, []))

    return interaction.name(
        str(row["method"]),
        str(row["path"]).encode("utf-8"),
        str(row.get("query", "")).encode("utf-8"),
        if_match=lines("match"),
        if_none_exist=lines("none_exist"),
        if_none_match=lines("none_match"),
    )


@pytest.mark.parametrize("row", TABLE["reads"], ids=label)
def test_a_read_is_named_and_keeps_its_raw_path_and_query(row: Row) -> None:
    found = named(row)
    assert isinstance(found, Reading)
    expected: Row = {"path": row["path"], "query": "", "type": None, "id": None, "by_post": False, "head": False}
    assert asdict(found) == expected | cast("Row", row["gives"])


@pytest.mark.parametrize("row", TABLE["writes"], ids=label)
def test_a_write_is_named_with_its_canonical_condition(row: Row) -> None:
    found = named(row)
    expected: Row = {"if_none_exist": None} if row["method"] == "POST" else {"if_match": None}
    assert isinstance(found, Create if row["method"] == "POST" else Update)
    assert asdict(found) == expected | cast("Row", row["gives"])


@pytest.mark.parametrize("row", TABLE["own"], ids=label)
def test_the_gateways_own_paths(row: Row) -> None:
    found = named(row)
    assert type(found).__name__ == row["is"]
    assert asdict(found) == row["gives"]


@pytest.mark.parametrize("row", TABLE["refused"], ids=label)
def test_everything_else_is_refused(row: Row) -> None:
    with pytest.raises(errors.GatewayError) as caught:
        named(row)
    assert type(caught.value).__name__ == row["refuses"]
    assert list(getattr(caught.value, "allowed", [])) == row.get("allowed", [])


def test_a_refusal_does_not_repeat_what_the_client_sent() -> None:
    with pytest.raises(errors.Malformed) as caught:
        interaction.name("POST", b"Patient", b"", if_none_exist=["_secret=canary"])
    assert "canary" not in caught.value.issues[0].text
    assert "secret" not in caught.value.issues[0].text


@given(st.sampled_from(["GET", "POST", "PUT", "DELETE"]), st.binary(max_size=40), st.binary(max_size=20))
def test_any_bytes_are_named_as_they_stand_or_refused(method: str, path: bytes, query: bytes) -> None:
    try:
        found = interaction.name(method, path, query)
    except errors.GatewayError:
        return
    assert method in ("GET", "POST", "PUT")
    if isinstance(found, Reading):
        assert (found.path.encode(), found.query.encode()) == (path, query)
