"""The public keys of one issuer as a frozen value, and which members of a JWK Set get into it (RFC 7517, RFC 7518)."""

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from gateway.fhir.json import Json, JsonObject
from gateway.identity.strict_json import NotStrict, parse_object

MAX_KEYS = 64
_RSA_BITS = range(2_048, 8_192 + 1)  # below: weak (NIST SP 800-131A); above: a way to burn our CPU
_MAX_EXPONENT_BITS = 64
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{1,2048}")
Slot = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """One public key bound to one algorithm. `material` tells equal keys."""

    kid: str | None
    algorithm: str
    material: tuple[str, ...]
    jwk: PyJWK = field(compare=False, repr=False)

    def verifies(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether the signature holds. Never raises for any bytes."""
        try:
            return self.jwk.Algorithm.verify(signing_input, self.jwk.key, signature)
        except (PyJWTError, ValueError, TypeError):  # a signature of an impossible length or form
            return False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The usable keys of one issuer, by key id and algorithm.

    `generation` changes with every change of content, and only then: what was verified under one generation is to be
    verified anew under the next. The set must not be used outside `usable_from` to `usable_until`, in seconds since
    1970: too old, or the clock was set back so that its age is not known.
    """

    keys: Mapping[Slot, VerifyingKey]
    generation: int = 0
    usable_from: float = float("-inf")
    usable_until: float = float("inf")

    def usable(self, now: float) -> bool:
        """Whether the set may be used at `now`."""
        return self.usable_from <= now < self.usable_until

    def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """The one key that a token's header names. Without a kid: the only key for the algorithm, or None."""
        if kid is not None:
            return self.keys.get((kid, algorithm))
        fitting = [key for key in self.keys.values() if key.algorithm == algorithm]
        return fitting[0] if len(fitting) == 1 else None


class UnusableKeys(ValueError):
    """The document is no JWK Set that keys can be taken from. The text holds nothing of the content."""


def read_key_set(document: bytes, algorithms: tuple[str, ...]) -> Mapping[Slot, VerifyingKey]:
    """The usable keys of a JWK Set for `algorithms`. Raises UnusableKeys.

    Members that cannot be used are left out (RFC 7517 section 5): keys for encryption, symmetric or private keys, weak
    ones, other algorithms. Two different keys in one slot (kid, algorithm) are both left out, since a token would not
    say which. An empty set is taken at its word: the issuer has withdrawn every key.
    """
    try:
        members = parse_object(document).get("keys")
    except NotStrict as fault:
        raise UnusableKeys(f"the key set {fault}") from None
    if not isinstance(members, list):
        raise UnusableKeys("the key set has no keys member")
    if len(members) > MAX_KEYS:
        raise UnusableKeys("the key set has too many keys")
    found: dict[Slot, VerifyingKey] = {}
    ambiguous: set[Slot] = set()
    for member in members:
        for key in _keys_of(member, algorithms):
            slot = (key.kid, key.algorithm)
            if found.setdefault(slot, key) != key:
                ambiguous.add(slot)
    usable = {slot: key for slot, key in found.items() if slot not in ambiguous}
    if members and not usable:
        raise UnusableKeys("the key set has no usable key")
    return usable


def _keys_of(member: Json, algorithms: tuple[str, ...]) -> list[VerifyingKey]:
    if not isinstance(member, dict) or not _is_for_signatures(member):
        return []
    kid = member.get("kid")
    if kid is not None and not isinstance(kid, str):
        return []
    fitting, names = _algorithms_and_members(member)
    if not fitting:
        return []
    named = member.get("alg")
    if named is not None:
        fitting = tuple(algorithm for algorithm in fitting if algorithm == named)
    public = {name: member[name] for name in ("kty", *names)}
    material = tuple(str(value) for value in public.values())
    keys = []
    for algorithm in fitting:
        if algorithm in algorithms:
            try:
                keys.append(VerifyingKey(kid, algorithm, material, PyJWK(public, algorithm)))
            except (PyJWTError, ValueError, TypeError):  # a point off the curve, an impossible length
                return []
    return keys


def _is_for_signatures(member: JsonObject) -> bool:
    if not _PRIVATE.isdisjoint(member):
        # A published private key is anybody's key.
        return False
    if member.get("use", "sig") != "sig":
        return False
    operations = member.get("key_ops", ["verify"])
    return isinstance(operations, list) and "verify" in operations


def _algorithms_and_members(member: JsonObject) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The algorithms that the key's type and curve allow (RFC 7518 section 6), and the names of its public members."""
    kty, curve = member.get("kty"), member.get("crv")
    if kty == "RSA" and _is_strong_rsa(member):
        return ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("n", "e")
    if kty == "EC" and isinstance(curve, str) and curve in _CURVES and _are_text(member, "x", "y"):
        return (_CURVES[curve],), ("crv", "x", "y")
    if kty == "OKP" and curve == "Ed25519" and _are_text(member, "x"):
        return ("EdDSA",), ("crv", "x")
    return (), ()


def _are_text(member: JsonObject, *names: str) -> bool:
    return all(isinstance(value := member.get(name), str) and _BASE64URL.fullmatch(value) for name in names)


def _is_strong_rsa(member: JsonObject) -> bool:
    modulus, exponent = _number(member.get("n")), _number(member.get("e"))
    if modulus is None or exponent is None:
        return False
    odd = modulus % 2 == 1 and exponent % 2 == 1
    # e = 1 makes every message its own signature.
    return odd and modulus.bit_length() in _RSA_BITS and exponent > 1 and exponent.bit_length() <= _MAX_EXPONENT_BITS


def _number(value: Json) -> int | None:
    """A Base64urlUInt (RFC 7518 section 2), or None."""
    if not isinstance(value, str) or _BASE64URL.fullmatch(value) is None:
        return None
    try:
        octets = binascii.a2b_base64(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4))
    except binascii.Error:
        return None
    return int.from_bytes(octets, "big")
