"""What a client's `Idempotency-Key` and its request come to, hashed: neither can be read out of the journal. Pure."""

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.fhir.interaction import Create, Write
from gateway.identity.principal import Principal
from gateway.saga.intent import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a client's key and its request hash to, under each of the journal's keys: `keys[i]` and `requests[i]`.

    The first is what a new entry is kept by.
    """

    keys: tuple[str, ...]
    requests: tuple[str, ...]

    def is_of(self, intent: Intent) -> bool:
        """Whether the entry under this key is of the same request."""
        pairs = zip(self.keys, self.requests, strict=True)
        return any(key == intent.idempotency_key and request == intent.request_hash for key, request in pairs)


def claim_of(key: str, write: Write, body: bytes, principal: Principal, secrets: Sequence[bytes]) -> Claim:
    """Hash the key in its scope (issuer and client), and all that decides what the write does."""
    scope = (principal.issuer, principal.client_id, key)
    if isinstance(write, Create):
        asked = ("POST", write.type, "", write.if_none_exist)
    else:
        asked = ("PUT", write.type, write.id, write.if_match)
    return Claim(
        keys=tuple(_hash(secret, b"key", scope) for secret in secrets),
        requests=tuple(_hash(secret, b"request", asked, body) for secret in secrets),
    )


def _hash(secret: bytes, kind: bytes, parts: Sequence[str | None], body: bytes = b"") -> str:
    """Hex. JSON parts what is joined, so that no two lists of parts are the same text."""
    message = b"\0".join((kind, json.dumps(parts).encode(), body))
    return hmac.digest(secret, message, "sha256").hex()
