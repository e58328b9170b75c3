"""Real keys that sign tokens: the issuer's side, built on cryptography alone, so that it can test the verifier's."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
_CURVES: dict[str, tuple[str, type[ec.EllipticCurve]]] = {
    "ES256": ("P-256", ec.SECP256R1),
    "ES384": ("P-384", ec.SECP384R1),
    "ES512": ("P-521", ec.SECP521R1),
}


def base64url(content: bytes) -> str:
    """RFC 7515 section 2: no padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _number(value: int, octets: int | None = None) -> str:
    return base64url(value.to_bytes(octets or (value.bit_length() + 7) // 8, "big"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key bound to one algorithm of RFC 7518 or RFC 8037."""

    kid: str
    algorithm: str
    private: PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, kid: str, algorithm: str = "RS256", *, rsa_bits: int = 2_048) -> "SigningKey":
        """A fresh key. Raises ValueError for an algorithm that is not asymmetric."""
        private: PrivateKey
        if algorithm in _CURVES:
            private = ec.generate_private_key(_CURVES[algorithm][1]())
        elif algorithm == "EdDSA":
            private = ed25519.Ed25519PrivateKey.generate()
        elif algorithm[:2] in ("RS", "PS") and algorithm[2:] in _HASHES:
            private = rsa.generate_private_key(public_exponent=65_537, key_size=rsa_bits)
        else:
            raise ValueError(f"no key can be made for {algorithm}")
        return cls(kid=kid, algorithm=algorithm, private=private)

    def public_jwk(self) -> dict[str, object]:
        """The public half as a JWK (RFC 7517), for signatures with this algorithm."""
        common: dict[str, object] = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        if isinstance(self.private, rsa.RSAPrivateKey):
            numbers = self.private.public_key().public_numbers()
            return {**common, "kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            point = self.private.public_key().public_numbers()
            octets = (self.private.curve.key_size + 7) // 8
            curve = _CURVES[self.algorithm][0]
            return {**common, "kty": "EC", "crv": curve, "x": _number(point.x, octets), "y": _number(point.y, octets)}
        return {**common, "kty": "OKP", "crv": "Ed25519", "x": base64url(self.private.public_key().public_bytes_raw())}

    def sign(self, content: bytes, *, algorithm: str | None = None) -> bytes:
        """The JWS signature; `algorithm` overrides the key's own (PS for RS), to make tokens that must be refused."""
        algorithm = algorithm or self.algorithm
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(content)
        digest = _HASHES[algorithm[2:]]()
        if isinstance(self.private, rsa.RSAPrivateKey):
            if algorithm.startswith("PS"):
                pss = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
                return self.private.sign(content, pss, digest)
            return self.private.sign(content, padding.PKCS1v15(), digest)
        # RFC 7518 section 3.4: r and s side by side, not DER.
        r, s = utils.decode_dss_signature(self.private.sign(content, ec.ECDSA(digest)))
        octets = (self.private.curve.key_size + 7) // 8
        return r.to_bytes(octets, "big") + s.to_bytes(octets, "big")

    def token(self, header: Mapping[str, object], claims: Mapping[str, object]) -> str:
        """A compact JWS of two JSON objects."""
        return self.token_of(json.dumps(dict(header)).encode(), json.dumps(dict(claims)).encode())

    def token_of(self, header: bytes, payload: bytes, *, algorithm: str | None = None) -> str:
        """A compact JWS of any bytes, truly signed: for spellings that a JSON writer would not make."""
        signing_input = f"{base64url(header)}.{base64url(payload)}"
        return f"{signing_input}.{base64url(self.sign(signing_input.encode('ascii'), algorithm=algorithm))}"
