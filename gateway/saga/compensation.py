"""What undoes a write, and what the server's answers to it prove. Pure; `saga/undo.py` executes it.

Only a version that this gateway wrote and that is still the current one is removed or overwritten.
"""

import json
from dataclasses import dataclass
from enum import StrEnum

from gateway.fhir.json import JsonObject
from gateway.saga.capability import Capability, GuardedDelete
from gateway.saga.content import request_id_of, same_content
from gateway.saga.intent import Intent, undo_id
from gateway.saga.lookup_port import Absent, Seen
from gateway.saga.ports import Headers, UpstreamAnswer, UpstreamRequest

_JSON = (b"content-type", b"application/fhir+json; charset=utf-8")
_ACCEPT = (b"accept", b"application/fhir+json")
# What the server's answer to an undo means while the version is still the current one. 5xx but 501, 408 and 429 are
# an outage, waited out; these cannot pass by themselves (the method, the account's rights or the request itself); every
# other answer can: something refers to the resource (409), a token ran out (401), a replica lags behind.
_OUTAGE = frozenset({408, 425, 429})
_FINAL = frozenset({400, 403, 405, 406, 413, 414, 415, 422, 451, 501, 505})
# HAPI 8.8, as it answers: on the URL of one version `$expunge` removes that version alone, and refuses with 412
# (HAPI-0969) when that is the current one.
EXPUNGE_VERSION: JsonObject = {
    "resourceType": "Parameters",
    "parameter": [{"name": "expungePreviousVersions", "valueBoolean": True}],
}
_SERVER_ERROR = 500


class Refusal(StrEnum):
    """Whether a refusal of the undo can pass by itself."""

    PASSING = "passing"  # tried again with backoff for a while
    FINAL = "final"  # a second look, to be sure; then a person


class UndoAction(StrEnum):
    """What undoes a write."""

    DELETE = "delete"  # it created, or revived, the resource
    RESTORE = "restore"  # it replaced a version
    NOTHING = "nothing"  # it changed nothing
    PURGE = "purge"  # after a proven undo: the removed version leaves history too


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """The write is no longer in the current state, by what was read back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """Not undone yet. `refused`: the server said no; such tries are counted, and few where trying cannot help."""

    reason: str
    refused: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """Going on could harm another writer, or the server cannot do it: a person decides."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """The guarded request that undoes."""

    request: UpstreamRequest


def plan(intent: Intent) -> UndoAction | Blocked:
    """What would undo the write that `intent` recorded as stored."""
    if intent.stored_id is None or intent.stored_version is None:
        return Blocked(reason="it is not known what the server stored")
    if intent.created is None:
        return Blocked(reason="the server did not prove that this write created the resource")
    if intent.created:
        return UndoAction.DELETE
    if intent.stored_version == intent.prior_version:
        return UndoAction.NOTHING
    if intent.prior_body is None:
        return Blocked(reason="the version before is not known")
    return UndoAction.RESTORE


def prepare(
    intent: Intent, action: UndoAction, current: Seen | Absent, prior: JsonObject | None, capability: Capability
) -> Send | Proven | Blocked:
    """The next request, from an uncached look at the current version. `prior` is the parsed `prior_body`."""
    if action is UndoAction.NOTHING or isinstance(current, Absent):
        return Proven()  # whoever deleted it: nothing forbidden is in the current state
    if current.version != intent.stored_version:
        return _moved(intent, action, None, current, prior)
    return Send(request=_delete(intent, capability) if action is UndoAction.DELETE else _restore(intent, capability))


def judge(
    intent: Intent,
    action: UndoAction,
    answer: UpstreamAnswer | None,
    current: Seen | Absent,
    prior: JsonObject | None,
) -> Proven | Deferred | Blocked:
    """What became of an undo, from its answer (None: lost or not sent) and an uncached look afterwards."""
    if isinstance(current, Absent):
        return Proven()
    if current.version == intent.stored_version:
        return _unchanged(answer)
    return _moved(intent, action, answer, current, prior)


def refusal(status: int) -> Refusal | None:
    """What kind of refusal the status of an undo is, or None for an outage."""
    if status in _FINAL:
        return Refusal.FINAL
    return None if status >= _SERVER_ERROR or status in _OUTAGE else Refusal.PASSING


def _unchanged(answer: UpstreamAnswer | None) -> Deferred:
    """The version to undo is still the current one."""
    refused = None if answer is None else refusal(answer.status)
    if answer is None or refused is None:
        return Deferred(reason="the server could not undo it now")
    if answer.status == 409:  # noqa: PLR2004 (RFC 9110 section 15.5.10; HAPI: still referenced)
        return Deferred(reason="the server refuses the undo: something refers to the resource", refused=refused)
    return Deferred(reason=f"the server answered the undo with {answer.status} and kept the version", refused=refused)


def _is_our_restore(intent: Intent, answer: UpstreamAnswer | None, current: Seen) -> bool:
    """By the version that the server's answer names, else by the request id that it recorded."""
    if answer is not None and answer.status in (200, 201):
        named = answer.header(b"etag")
        return named is not None and named.removeprefix("W/").strip('"') == current.version
    return request_id_of(current.resource) == undo_id(intent.write_id)


def _moved(
    intent: Intent, action: UndoAction, answer: UpstreamAnswer | None, current: Seen, prior: JsonObject | None
) -> Proven | Blocked:
    """Another version is current: our own restore, also of an earlier try whose answer was lost, or a stranger's."""
    if action is UndoAction.RESTORE and prior is not None:
        if same_content(current.resource, prior):
            return Proven()
        if _is_our_restore(intent, answer, current):
            return Blocked(reason="the server restored other content than the version before")
    return Blocked(reason="another writer changed the resource after this write")


def _delete(intent: Intent, capability: Capability) -> UpstreamRequest:
    path, headers = f"{intent.type}/{intent.stored_id}", _headers(intent)
    if capability.guarded_delete is GuardedDelete.VERSION_URL:
        path = f"{path}/_history/{intent.stored_version}"
    elif capability.guarded_delete is GuardedDelete.IF_MATCH:
        headers = (*headers, _if_match(intent))
    return UpstreamRequest(method="DELETE", path=path, headers=headers, urgent=True)


def _restore(intent: Intent, capability: Capability) -> UpstreamRequest:
    headers = (*_headers(intent), _JSON, _if_match(intent), *capability.restore_headers)
    path = f"{intent.type}/{intent.stored_id}"
    body = intent.prior_body or b""
    return UpstreamRequest(method="PUT", path=path, headers=headers, body=body, urgent=True)


def purge(intent: Intent) -> UpstreamRequest:
    """Remove the version that this write made from history, and no other: the rest is not this gateway's."""
    path = f"{intent.type}/{intent.stored_id}/_history/{intent.stored_version}/$expunge"
    body = json.dumps(EXPUNGE_VERSION).encode()
    return UpstreamRequest(method="POST", path=path, headers=(*_headers(intent), _JSON), body=body, urgent=True)


def _headers(intent: Intent) -> Headers:
    return (_ACCEPT, (b"x-request-id", undo_id(intent.write_id).encode()))


def _if_match(intent: Intent) -> tuple[bytes, bytes]:
    # The one spelling that servers agree on; HAPI answers 500 to `*` and lists (RFC 9110 section 13.1.1).
    return (b"if-match", f'W/"{intent.stored_version}"'.encode())
