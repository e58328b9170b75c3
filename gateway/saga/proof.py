"""What the answer to a write proves. Pure.

A 2xx proves little by itself (http://hl7.org/fhir/R4/http.html leaves much open, and servers differ): a creation
is proven by status, first version and location together; everything doubtful is looked up, never assumed.
"""

import re
from dataclasses import dataclass

from gateway.fhir.interaction import InteractionCode
from gateway.saga.capability import Capability
from gateway.saga.intent import Intent
from gateway.saga.ports import UpstreamAnswer

NOTHING_STORED = frozenset({400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422, 428, 429})
_OK, _CREATED = 200, 201
_ETAG = re.compile(r'(?:W/)?"([A-Za-z0-9\-.]{1,64})"\Z')
_LOCATION = re.compile(r"(?:\A|/)([A-Za-z]{1,64})/([A-Za-z0-9\-.]{1,64})(?:/_history/([A-Za-z0-9\-.]{1,64}))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The server holds the write as this version. `created` as in `Intent`."""

    id: str
    version: str
    created: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """`If-None-Exist` matched: the server wrote nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A status after which nothing is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """The answer proves nothing either way: look. `id`: of the resource that a 2xx to a POST names."""

    reason: str
    id: str | None = None


Proof = Stored | Matched | Refused | Doubt


def prove(intent: Intent, answer: UpstreamAnswer, capability: Capability) -> Proof:
    """Read the answer to the write that `intent` describes."""
    if answer.status in NOTHING_STORED:
        return Refused()
    if answer.status not in (_OK, _CREATED):
        return Doubt(reason=f"status {answer.status} proves nothing")
    posted = intent.interaction is InteractionCode.CREATE
    if posted and answer.status == _OK:
        return Matched() if intent.if_none_exist is not None else Doubt(reason="200 to a create proves nothing")
    id_, version = named(intent, answer)
    if id_ is None or version is None:
        return Doubt(reason="the answer names no version of the resource that was written", id=id_ if posted else None)
    if not posted and answer.status == _OK:
        return Stored(id=id_, version=version, created=False)
    return Stored(id=id_, version=version, created=creation(intent, version, capability))


def creation(intent: Intent, version: str, capability: Capability) -> bool | None:
    """Whether a version that the server calls new proves that nothing live was there before."""
    if capability.is_first(version):
        return True
    revived = intent.prior_tombstone is not None and capability.after(intent.prior_tombstone) == version
    return True if revived else None


def etag_version(answer: UpstreamAnswer) -> str | None:
    """The version in the ETag (`W/"3"`, http://hl7.org/fhir/R4/http.html#versionId), or None."""
    found = _ETAG.match(answer.header(b"etag") or "")
    return found[1] if found else None


def located(answer: UpstreamAnswer) -> tuple[str, str, str | None] | None:
    """Type, id and version of `Location`, else of `Content-Location`; None when neither names a resource."""
    for name in (b"location", b"content-location"):
        value = answer.header(name)
        if value is not None:
            found = _LOCATION.search(value)
            return (found[1], found[2], found[3]) if found else None
    return None


def named(intent: Intent, answer: UpstreamAnswer) -> tuple[str | None, str | None]:
    """Id and version of the resource that the answer to this write is about, as far as it tells them coherently."""
    where, tagged = located(answer), etag_version(answer)
    if where is None:
        return intent.id, tagged
    type_, id_, version = where
    if type_ != intent.type or (intent.id is not None and id_ != intent.id):
        return None, None
    if version is not None and tagged is not None and version != tagged:
        return None, None
    return id_, version or tagged
