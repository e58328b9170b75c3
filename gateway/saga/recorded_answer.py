"""The answer to a settled write as it is kept with its entry, for a client that asks again under the same key. Pure.

No body is kept: it is patient data, and the server has it.
"""

import json
import re

from gateway.saga.intent import Intent, State
from gateway.saga.ports import Headers, UpstreamAnswer

_KEPT = (b"etag", b"last-modified", b"location", b"content-location")
_URLS = (b"location", b"content-location")
_LONGEST = 200
_BELOW = re.compile(r"(?:\A|/)([A-Za-z]{1,64}/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?)\Z")
_OK, _CREATED = 200, 201
# Said of the gateway's credentials and of the moment, not of the write: the same write may well succeed later.
_NOT_OF_THE_WRITE = (401, 429)


def text_of(answer: UpstreamAnswer, *, made: bool = False) -> str:
    """What is kept of an answer, as JSON. URLs are kept relative to the base.

    `made`: it stands in for the server's, so nobody knows whether that had a body.
    """
    kept: dict[str, object] = {"status": answer.status}
    if not made:
        kept["body"] = bool(answer.body)
    for name in _KEPT:
        value = answer.header(name)
        if value is not None and name in _URLS:
            found = _BELOW.search(value)
            value = found[1] if found else None
        if value is not None and len(value) <= _LONGEST:
            kept[name.decode()] = value
    return json.dumps(kept)


def answer_of(intent: Intent) -> UpstreamAnswer | None:
    """The answer to a closed write without its body, made from what is known where none was kept. None: not known."""
    if intent.answer is not None:
        kept = json.loads(intent.answer)
        headers: Headers = tuple(
            (name, str(kept[name.decode()]).encode("latin-1")) for name in _KEPT if name.decode() in kept
        )
        return UpstreamAnswer(status=int(kept["status"]), headers=headers, body=b"")
    if intent.state is State.COMMITTED:
        return made_answer(intent, b"")
    return None


def had_body(intent: Intent) -> bool:
    """Whether the answer had a body, or nobody noted that it had none."""
    return intent.answer is None or bool(json.loads(intent.answer).get("body", True))


def is_final(answer: UpstreamAnswer) -> bool:
    """Whether a refusal is about the write, so that the same write would be refused again."""
    return answer.status not in _NOT_OF_THE_WRITE


def made_answer(intent: Intent, body: bytes) -> UpstreamAnswer:
    """Stands in for an answer that was lost, from what the write is known to have stored."""
    if intent.stored_id is None or intent.stored_version is None:
        return UpstreamAnswer(status=_OK, headers=(), body=b"")
    place = f"{intent.type}/{intent.stored_id}/_history/{intent.stored_version}".encode()
    return UpstreamAnswer(
        status=_CREATED if intent.created else _OK,
        headers=(
            (b"content-type", b"application/fhir+json; charset=utf-8"),
            (b"etag", f'W/"{intent.stored_version}"'.encode()),
            (b"location" if intent.created else b"content-location", place),
        ),
        body=body,
    )
