"""Search parameters that can be judged on a payload alone."""

from gateway.definitions.paths import plain_paths
from gateway.definitions.sources import SearchParameter

_JUDGED = frozenset({"token", "reference", "uri"})
_ALL_TYPES = frozenset({"Resource", "DomainResource"})


def search_parameters(parameters: list[SearchParameter], resources: list[str]) -> dict[str, dict[str, object]]:
    """`types`: per type and parameter code its `type` and plain `paths`; `common` holds those of every type."""
    types: dict[str, dict[str, object]] = {name: {} for name in resources}
    common: dict[str, object] = {}
    for parameter in sorted(parameters, key=lambda p: (p.code, p.base)):
        if parameter.type not in _JUDGED:
            continue
        for base in sorted(parameter.base):
            paths = plain_paths(parameter.expression, base)
            if paths is None:
                continue
            row = {"type": parameter.type, "paths": paths}
            if base in _ALL_TYPES:
                common[parameter.code] = row
            elif base in types:
                types[base][parameter.code] = row
    return {"types": {name: rows for name, rows in types.items() if rows}, "common": common}
