"""An id is put into the text of a resource, and nothing else in it moves."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fhir.assigned_id import with_id


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"resourceType":"Basic"}', '{"id":"g-1","resourceType":"Basic"}'),
        (' {\n "resourceType" : "Basic" }', ' {"id":"g-1",\n "resourceType" : "Basic" }'),
        ('{"resourceType":"Basic","id":"x"}', '{"resourceType":"Basic","id":"g-1"}'),
        ('{"id" :  "x" , "resourceType":"Basic"}', '{"id" :  "g-1" , "resourceType":"Basic"}'),
        ('{"\\u0069d":"x","a":1.50}', '{"\\u0069d":"g-1","a":1.50}'),
        ('{"a":{"id":"x"},"b":[{"id":"y"}]}', '{"id":"g-1","a":{"id":"x"},"b":[{"id":"y"}]}'),
        ('{"a":"id","b":"\\"id\\":\\"x\\""}', '{"id":"g-1","a":"id","b":"\\"id\\":\\"x\\""}'),
        ('{"a":"}{","id":"\\\\","c":"é"}', '{"a":"}{","id":"g-1","c":"é"}'),
        ('{"_id":{"extension":[]},"id":"x"}', '{"_id":{"extension":[]},"id":"g-1"}'),
    ],
)
def test_only_the_id_changes(body: str, expected: str) -> None:
    assert with_id(body.encode(), "g-1").decode() == expected


text = st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(text | st.sampled_from(["id", "resourceType"]), values, min_size=1, max_size=4),
    text | st.none(),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_what_is_read_is_the_same_but_for_the_id(
    resource: dict[str, object], id_: str | None, indent: int | None, ascii_only: bool
) -> None:
    resource.pop("id", None)
    resource["resourceType"] = "Basic"
    if id_ is not None:
        resource["id"] = id_
    body = json.dumps(resource, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    changed = with_id(body, "g-abc")
    assert json.loads(changed.decode("utf-8", "surrogatepass")) == {**resource, "id": "g-abc"}
    if id_ is None:
        assert changed.replace(b'"id":"g-abc",', b"", 1) == body
