"""Search expressions that are plain element paths, as data (the rest is left out)."""

import re

_PLAIN = re.compile(r"[A-Z]\w*(?:\.\w+)+")
_AS = re.compile(r"\(?([A-Z]\w*(?:\.\w+)+)(?: as |\.as\()(\w+)\)?\)?")
_OF_TYPE = re.compile(r"([A-Z]\w*(?:\.\w+)+)\.ofType\((\w+)\)")
_RESOLVED = re.compile(r"([A-Z]\w*(?:\.\w+)+)\.where\(resolve\(\) is (\w+)\)")


def plain_paths(expression: str, type_name: str) -> list[dict[str, str]] | None:
    """The paths of one type in a union, or None when any of them is more than a plain path.

    Each has `path` (element names below the type, joined by dots), and where it applies `as_type` (the type of a
    choice element) or `target` (the only reference target that counts).
    """
    paths = []
    for part in (part.strip() for part in expression.split("|")):
        if not re.match(rf"\(?(?:{type_name}|Resource|DomainResource)\.", part):
            continue
        found = _one(part)
        if found is None:
            return None
        paths.append(found)
    return paths or None


def _one(part: str) -> dict[str, str] | None:
    if _PLAIN.fullmatch(part):
        return {"path": _below(part)}
    for pattern, key in ((_AS, "as_type"), (_OF_TYPE, "as_type"), (_RESOLVED, "target")):
        match = pattern.fullmatch(part)
        if match:
            return {"path": _below(match[1]), key: match[2]}
    return None


def _below(path: str) -> str:
    return path.split(".", 1)[1]
