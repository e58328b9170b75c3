"""A tag is put into the text of a resource, and nothing else in it moves."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fhir.json_text import member
from gateway.fhir.write_tag import SYSTEM, is_tagged, with_tag

TAG = f'{{"system":"{SYSTEM}","code":"w1"}}'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"a":1}', '{"meta":{"tag":[T]},"a":1}'),
        (' {\n "a" : 1.50 }', ' {"meta":{"tag":[T]},\n "a" : 1.50 }'),
        ("{}", '{"meta":{"tag":[T]}}'),
        ('{"meta":{"profile":["p"]},"a":1}', '{"meta":{"tag":[T],"profile":["p"]},"a":1}'),
        ('{"a":1,"meta" : { }}', '{"a":1,"meta" : {"tag":[T] }}'),
        ('{"meta":{"tag":[]}}', '{"meta":{"tag":[T]}}'),
        ('{"meta":{"x":[{"tag":[1]}],"tag": [ {} ]}}', '{"meta":{"x":[{"tag":[1]}],"tag": [T, {} ]}}'),
        ('{"a":{"meta":{"tag":[1]}}}', '{"meta":{"tag":[T]},"a":{"meta":{"tag":[1]}}}'),
        ('{"b":"\\"meta\\":{"}', '{"meta":{"tag":[T]},"b":"\\"meta\\":{"}'),
        ('{"m\\u0065ta":{"t\\u0061g":[1]}}', '{"m\\u0065ta":{"t\\u0061g":[T,1]}}'),
        ('{"a":[{"meta":{"tag":[1]}}],"meta":{"tag":[2]}}', '{"a":[{"meta":{"tag":[1]}}],"meta":{"tag":[T,2]}}'),
        ('{"meta":{"source":"tag"},"tag":[1]}', '{"meta":{"tag":[T],"source":"tag"},"tag":[1]}'),
        ('{"meta":{"source":"s"}}', '{"meta":{"tag":[T],"source":"s"}}'),
        ('{"a":"é\\\\","meta":{"tag":["ü"]}}', '{"a":"é\\\\","meta":{"tag":[T,"ü"]}}'),
    ],
)  # fmt: skip
def test_only_the_tag_is_new(body: str, expected: str) -> None:
    assert with_tag(body.encode(), "w1").decode() == expected.replace("[T", f"[{TAG}")


text = st.text(max_size=6)
names = text | st.sampled_from(["meta", "tag"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
metas = st.none() | st.fixed_dictionaries(
    {}, optional={"tag": st.lists(values, max_size=2), "source": text, "x": values}
)


@settings(max_examples=120, deadline=None)
@given(
    st.dictionaries(text | st.sampled_from(["tag", "resourceType"]), values, max_size=4),
    metas,
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_what_is_read_is_the_same_but_for_the_tag(
    resource: dict[str, Any], meta: dict[str, Any] | None, indent: int | None, ascii_only: bool
) -> None:
    resource.pop("meta", None)
    if meta is not None:
        resource["meta"] = meta
    body = json.dumps(resource, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    changed = json.loads(with_tag(body, "w1").decode("utf-8", "surrogatepass"))
    assert is_tagged(changed, "w1")
    assert changed["meta"]["tag"].pop(0) == {"system": SYSTEM, "code": "w1"}
    if not (meta or {}).get("tag") and "tag" not in (meta or {}):
        del changed["meta"]["tag"]
    if meta is None:
        del changed["meta"]
    assert changed == resource


@pytest.mark.parametrize(
    "resource",
    [
        {},
        {"meta": 1},
        {"meta": {}},
        {"meta": {"tag": 1}},
        {"meta": {"tag": ["w1"]}},
        {"meta": {"tag": [{"code": "w1"}]}},
        {"meta": {"tag": [{"system": SYSTEM, "code": "w2"}]}},
        {"meta": {"tag": [{"system": "s", "code": "w1"}]}},
    ],
)
def test_another_tag_is_not_this_one(resource: dict[str, Any]) -> None:
    assert not is_tagged(resource, "w1")


def test_a_member_whose_text_ends_early_is_not_there() -> None:
    assert member(b'{"a"', 0, "a") is None
    assert member(b'{"a":1}', 0, "a") is None
