"""Marks a resource with the id of its write, as a `meta.tag` (http://hl7.org/fhir/R4/resource.html#Meta).

For servers that can find a creation again by nothing else: it is searched for by `_tag`. The text changes in that one
place; everything else goes out as it was judged.
"""

from gateway.fhir.json import JsonObject
from gateway.fhir.json_text import inserted, member

SYSTEM = "urn:fhir-gateway:write"


def with_tag(body: bytes, write_id: str) -> bytes:
    """The same text with one more tag, before those that are there.

    `body` is one resource that was read strictly; `write_id` needs no escapes.
    """
    tag, top = f'{{"system":"{SYSTEM}","code":"{write_id}"}}'.encode(), body.index(b"{")
    meta = member(body, top, "meta")
    if meta is None:
        return inserted(body, top, b'"meta":{"tag":[' + tag + b"]}", b"}")
    tags = member(body, meta.start(), "tag")
    if tags is None:
        return inserted(body, meta.start(), b'"tag":[' + tag + b"]", b"}")
    return inserted(body, tags.start(), tag, b"]")


def is_tagged(resource: JsonObject, write_id: str) -> bool:
    """Whether a resource carries the tag of this write."""
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    return isinstance(tags, list) and any(
        isinstance(tag, dict) and tag.get("system") == SYSTEM and tag.get("code") == write_id for tag in tags
    )
