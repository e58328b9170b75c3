"""read, vread, history, search and capabilities: what changes nothing."""

from collections.abc import Sequence
from urllib.parse import urlencode

from gateway.errors import IssueCode
from gateway.fhir.json import Json, JsonObject
from gateway.sandbox import search
from gateway.sandbox.search import BadParameter, Parameters
from gateway.sandbox.store import Store, Version
from gateway.sandbox.wire import Answer, Refused, Request, bundle, http_date, json_answer, outcome, versioned_url

PAGE_SIZE = 20


def read(store: Store, request: Request, key: tuple[str, str]) -> Answer:
    """GET [type]/[id]: 200, 304, 404, or 410 for a deleted one."""
    version = store.current(key)
    if version is None:
        raise Refused(404, IssueCode.NOT_FOUND, "no such resource")
    return _one(request, version)


def vread(store: Store, request: Request, key: tuple[str, str], version_id: str) -> Answer:
    """GET [type]/[id]/_history/[version]."""
    version = store.version(key, version_id)
    if version is None:
        raise Refused(404, IssueCode.NOT_FOUND, "no such version")
    return _one(request, version)


def _one(request: Request, version: Version) -> Answer:
    if version.resource is None:
        gone = outcome(410, IssueCode.DELETED, "the resource was deleted")
        return gone.having(("location", versioned_url(request.base, version)), http_date(version))
    headers = (("etag", version.etag), http_date(version), ("content-location", versioned_url(request.base, version)))
    if request.headers.get("if-none-match") == version.etag:
        return Answer(status=304).having(*headers)
    return json_answer(200, version.resource).having(*headers)


def history(store: Store, request: Request, resource_type: str | None, resource_id: str | None) -> Answer:
    """`_history` of an instance, a type or the system, newest first, with `_since`, `_count` and paging."""
    if resource_type and resource_id and store.current((resource_type, resource_id)) is None:
        raise Refused(404, IssueCode.NOT_FOUND, "no such resource")
    versions = list(store.history(resource_type, resource_id))
    since = next((value for name, value in request.query if name == "_since"), None)
    if since is not None:
        try:
            start, _ = search.instant(since)
        except BadParameter as error:
            raise Refused(400, IssueCode.INVALID, str(error)) from error
        # lastUpdated is shown in milliseconds, so that is what a client can name.
        versions = [v for v in versions if v.updated.replace(microsecond=v.updated.microsecond // 1000 * 1000) >= start]
    page, next_url = _page(request, versions, request.query)
    entries: list[Json] = [_history_entry(request.base, version) for version in page]
    return json_answer(200, bundle("history", request, entries, total=len(versions), next_url=next_url))


def _history_entry(base: str, version: Version) -> JsonObject:
    status = "204 No Content" if version.deleted else "201 Created" if version.first else "200 OK"
    url = version.type if version.method == "POST" else version.path
    entry: JsonObject = {"fullUrl": f"{base}/{version.path}"}
    if version.resource is not None:
        entry["resource"] = version.resource
    entry["request"] = {"method": version.method, "url": url}
    when = version.updated.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    entry["response"] = {"status": status, "etag": version.etag, "lastModified": when}
    return entry


def search_type(store: Store, request: Request, resource_type: str, parameters: Parameters) -> Answer:
    """GET [type]?… and POST [type]/_search."""
    try:
        search.check_names(store, parameters)
        found = search.find(store, resource_type, parameters)
    except BadParameter as error:
        raise Refused(400, IssueCode.INVALID, str(error)) from error
    page, next_url = _page(request, found, parameters)
    entries: list[Json] = [
        {"fullUrl": f"{request.base}/{v.path}", "resource": v.resource, "search": {"mode": "match"}} for v in page
    ]
    return json_answer(200, bundle("searchset", request, entries, total=len(found), next_url=next_url))


def _page(
    request: Request, versions: Sequence[Version], parameters: Parameters
) -> tuple[Sequence[Version], str | None]:
    """The versions of one page, and the URL of the next."""
    count = _number(parameters, "_count", PAGE_SIZE)
    offset = _number(parameters, "_offset", 0)
    end = offset + count
    if count == 0 or end >= len(versions):
        return versions[offset:end], None
    kept = [pair for pair in parameters if pair[0] not in {"_offset", "_count"}]
    query = urlencode([*kept, ("_count", str(count)), ("_offset", str(end))])
    segments = [part for part in request.segments if part != "_search"]
    return versions[offset:end], f"{'/'.join((request.base, *segments))}?{query}"


def _number(parameters: Parameters, name: str, default: int) -> int:
    text = next((value for key, value in parameters if key == name), None)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise Refused(400, IssueCode.INVALID, f"{name} is no number")
    return int(text)


def capabilities(request: Request, resource_types: Sequence[str]) -> Answer:
    """GET metadata."""
    codes = ("read", "vread", "update", "delete", "history-instance", "history-type", "create", "search-type")
    interactions: list[Json] = [{"code": code} for code in codes]
    parameters: list[Json] = [{"name": name, "type": kind} for name, kind in search.PARAMETER_TYPES]
    resources: list[Json] = [
        {
            "type": resource_type,
            "interaction": interactions,
            "versioning": "versioned-update",
            "readHistory": True,
            "updateCreate": True,
            "conditionalCreate": True,
            "conditionalUpdate": False,
            "conditionalDelete": "not-supported",
            "searchParam": parameters,
        }
        for resource_type in resource_types
    ]
    statement: JsonObject = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "software": {"name": "fhir-policy-gateway sandbox"},
        "implementation": {"description": "An in-memory FHIR server for demos and tests", "url": request.base},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "resource": resources, "interaction": [{"code": "history-system"}]}],
    }
    return json_answer(200, statement)
