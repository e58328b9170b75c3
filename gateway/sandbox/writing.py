"""create, update and delete: guards first, then the quirks, then the store."""

from dataclasses import replace

from gateway.errors import IssueCode
from gateway.fhir.json import Json, JsonObject
from gateway.sandbox import content, search
from gateway.sandbox.quirks import Quirks
from gateway.sandbox.search import BadParameter
from gateway.sandbox.store import Key, Store, Version
from gateway.sandbox.wire import Answer, Refused, Request, json_answer, outcome, versioned_url, written

_MEDIA_TYPES = frozenset({"application/fhir+json", "application/json"})
_MERGED = ("tag", "security")


def create(store: Store, request: Request, resource_type: str) -> Answer:
    """POST [type], with `If-None-Exist` (http://hl7.org/fhir/R4/http.html#ccreate)."""
    resource = _resource(request, resource_type)
    criteria = request.headers.get("if-none-exist", "")
    if criteria and not store.quirks.if_none_exist_ignored:
        existing = _existing(store, resource_type, criteria)
        if existing is not None:
            return written(request, 200, existing, "none")
    _check_references(store, request, resource)
    version = _stored(store, request, (resource_type, store.new_id()), resource)
    return _located(store.quirks, written(request, 201, version, "created"))


def update(store: Store, request: Request, key: Key) -> Answer:
    """PUT [type]/[id]: update, update as create, or revival of a deleted id."""
    resource = _resource(request, key[0])
    if resource.get("id") != key[1]:
        raise Refused(400, IssueCode.INVALID, "the id in the body is not the id in the URL")
    before = store.current(key)
    if not store.quirks.if_match_ignored_on_update:
        _guard(store, request.if_match, before)
    if before is None and (key[1].isdigit() or store.quirks.id_of_client_refused):
        raise Refused(400, IssueCode.BUSINESS_RULE, "a client-assigned id needs a character that is no digit")
    _check_references(store, request, resource)
    if before is not None and before.resource is not None:
        resource = _merged(store.quirks, request, before.resource, resource)
        same = _same(_quirky(store.quirks, resource), before.resource)
        if same and not store.quirks.same_content_makes_version:
            return written(request, 200, before, "none")
    version = _stored(store, request, key, resource)
    if before is None:
        return written(request, 201, version, "created")
    return written(request, 201, version, "revived") if before.deleted else written(request, 200, version, "updated")


def delete(store: Store, request: Request, key: Key, version_id: str | None = None) -> Answer:
    """DELETE [type]/[id] leaves a tombstone; with `_history/[version]` only when that version is current."""
    if store.quirks.delete_forbidden or (version_id is not None and not store.quirks.versioned_delete):
        raise Refused(405, IssueCode.NOT_SUPPORTED, "this server does not delete")
    before = store.current(key)
    if before is not None and version_id is not None and version_id != before.version:
        raise Refused(409, IssueCode.CONFLICT, "another version is current")
    if before is not None and not store.quirks.if_match_ignored_on_delete:
        _guard(store, request.if_match, before)
    if before is None or before.deleted:
        # Deleting twice is no error (http://hl7.org/fhir/R4/http.html#delete), and says nothing of who deleted.
        return _deleted(store, request, before, "nothing to delete", "none")
    if not store.quirks.references_unchecked and next(iter(store.referrers(key)), None) is not None:
        raise Refused(409, IssueCode.CONFLICT, "another resource refers to this one")
    return _deleted(store, request, store.delete(key), "deleted", "deleted")


def expunge(store: Store, key: Key, version_id: str) -> Answer:
    """POST [type]/[id]/_history/[version]/$expunge, as on HAPI: takes one old version out of history."""
    current = store.current(key)
    if not store.quirks.expunge or current is None:
        raise Refused(405, IssueCode.NOT_SUPPORTED, "this server does not expunge")
    if current.version == version_id:
        raise Refused(412, IssueCode.PROCESSING, "this is the current version")
    count = store.forget(key, version_id)
    parameter: Json = {"name": "count", "valueInteger": count}
    return json_answer(200, {"resourceType": "Parameters", "parameter": [parameter]})


def _located(quirks: Quirks, answer: Answer) -> Answer:
    if not quirks.location_unversioned:
        return answer
    headers = tuple((name, value.partition("/_history/")[0]) for name, value in answer.headers)
    return replace(answer, headers=headers)


def _deleted(store: Store, request: Request, version: Version | None, text: str, effect: str) -> Answer:
    if store.quirks.delete_answers_without_body:
        answer = Answer(status=204)
    else:
        answer = outcome(200, IssueCode.INFORMATIONAL, text, severity="information")
    if version is None:
        return answer
    located = answer.having(("content-location", versioned_url(request.base, version)))
    return Answer(status=located.status, body=located.body, headers=located.headers, effect=effect, target=version)


def _resource(request: Request, resource_type: str) -> JsonObject:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if media_type not in _MEDIA_TYPES:
        raise Refused(415, IssueCode.NOT_SUPPORTED, "only application/fhir+json is read here")
    try:
        resource = content.parse(request.body)
    except content.NotAResource as error:
        raise Refused(400, IssueCode.STRUCTURE, str(error)) from error
    if resource["resourceType"] != resource_type:
        raise Refused(400, IssueCode.INVALID, "the resourceType is not the type in the URL")
    return resource


def _existing(store: Store, resource_type: str, criteria: str) -> Version | None:
    parameters = search.parse_query(criteria.rpartition("?")[2])
    try:
        search.check_names(store, parameters)
        found = search.find(store, resource_type, parameters)
    except BadParameter as error:
        raise Refused(400, IssueCode.INVALID, str(error)) from error
    if len(found) > 1:
        raise Refused(412, IssueCode.MULTIPLE_MATCHES, "If-None-Exist matches several resources")
    return found[0] if found else None


def _guard(store: Store, if_match: str | None, before: Version | None) -> None:
    """`If-Match` (RFC 9110 section 13.1.1; http://hl7.org/fhir/R4/http.html#concurrency)."""
    if if_match is None or (before is None and store.quirks.if_match_ignored_when_absent):
        return
    if before is None or if_match != before.version:
        raise Refused(store.quirks.stale_if_match_status, IssueCode.CONFLICT, "If-Match names another version")


def _check_references(store: Store, request: Request, resource: JsonObject) -> None:
    """Referential integrity: a literal reference has to name a resource of this server that exists."""
    for reference in () if store.quirks.references_unchecked else content.references(resource):
        if reference.startswith("#"):
            continue
        local = reference.removeprefix(f"{request.base}/")
        target_type, slash, target_id = local.split("/_history/", maxsplit=1)[0].partition("/")
        if not slash or "/" in target_id or ":" in local:
            raise Refused(400, IssueCode.INVALID, "a reference is not to a resource of this server")
        target = store.current((target_type, target_id))
        if target is None or target.deleted:
            raise Refused(400, IssueCode.INVALID, f"a referenced {target_type} does not exist")


def _merged(quirks: Quirks, request: Request, before: JsonObject, resource: JsonObject) -> JsonObject:
    """HAPI keeps the tags and labels of the version before, unless `X-Meta-Snapshot-Mode` says otherwise."""
    snapshot = request.headers.get("x-meta-snapshot-mode", "").upper()
    if not quirks.tags_merged:
        return resource
    meta = dict(content.meta_of(resource))
    for name in _MERGED:
        if name.upper() in snapshot:
            continue
        sent = content.objects(meta.get(name, []))
        kept = [item for item in content.objects(content.meta_of(before).get(name, [])) if item not in sent]
        joined: list[Json] = [*sent, *kept]
        if joined:
            meta[name] = joined
    return {**resource, "meta": meta} if meta else resource


def _quirky(quirks: Quirks, resource: JsonObject) -> JsonObject:
    """The resource as this server would store it."""
    changed = {name: item for name, item in resource.items() if name != quirks.drops_element}
    tags = content.objects(content.meta_of(resource).get("tag", []))
    if quirks.moves_subject_to and any(tag.get("code") == quirks.moves_when_tagged for tag in tags):
        subject = resource.get("subject")
        changed["subject"] = {**(subject if isinstance(subject, dict) else {}), "reference": quirks.moves_subject_to}
    return changed


def _stored(store: Store, request: Request, key: Key, resource: JsonObject) -> Version:
    quirky = _quirky(store.quirks, resource)
    return store.put(key, quirky, method=request.method, request_id=request.request_id)


def _same(resource: JsonObject, before: JsonObject) -> bool:
    """Whether a write changes nothing but what the server itself keeps in `meta`."""
    return content.dump(_bare(resource)) == content.dump(_bare(before))


def _bare(resource: JsonObject) -> JsonObject:
    own = {"versionId", "lastUpdated", "source"}
    meta: JsonObject = {name: item for name, item in sorted(content.meta_of(resource).items()) if name not in own}
    rest = {name: item for name, item in sorted(resource.items()) if name != "meta"}
    return {**rest, "meta": meta} if meta else rest
