"""Whether two readings of a resource say the same, whatever the server wrote into `meta` by itself. Pure."""

import json
from datetime import datetime

from gateway.fhir.json import Json, JsonObject

_SERVER_META = ("versionId", "lastUpdated", "source")  # http://hl7.org/fhir/R4/resource.html#Meta
_SET_META = ("profile", "security", "tag")  # sets: their order means nothing


def same_content(one: JsonObject, other: JsonObject, *, ignore_id: bool = False) -> bool:
    """Equal but for `meta.versionId`, `meta.lastUpdated`, `meta.source` (and `id`, which POST leaves to the server)."""
    return _bare(one, ignore_id=ignore_id) == _bare(other, ignore_id=ignore_id)


def _bare(resource: JsonObject, *, ignore_id: bool) -> JsonObject:
    bare = {key: value for key, value in resource.items() if key != "meta" and not (ignore_id and key == "id")}
    meta = resource.get("meta")
    if isinstance(meta, dict):
        kept: JsonObject = {}
        for key, value in meta.items():
            if key in _SET_META and isinstance(value, list):
                if value:
                    kept[key] = sorted(value, key=_text)
            elif key not in _SERVER_META:
                kept[key] = value
        if kept:
            bare["meta"] = kept
    return bare


def _text(value: Json) -> str:
    return json.dumps(value, sort_keys=True)


def updated_at(resource: JsonObject) -> float | None:
    """`meta.lastUpdated`, in seconds since the epoch on the server's clock, or None."""
    meta = resource.get("meta")
    updated = meta.get("lastUpdated") if isinstance(meta, dict) else None
    if not isinstance(updated, str):
        return None
    try:
        return datetime.fromisoformat(updated).timestamp()
    except ValueError:
        return None


def request_id_of(resource: JsonObject) -> str | None:
    """The request id that HAPI appends to `meta.source` as a fragment, or None."""
    meta = resource.get("meta")
    source = meta.get("source") if isinstance(meta, dict) else None
    if not isinstance(source, str) or "#" not in source:
        return None
    return source.rsplit("#", 1)[1]
