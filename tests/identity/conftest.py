"""Real keys, made once a session: to make an RSA key takes longer than most tests."""

import pytest

from gateway.identity.settings import ALGORITHMS
from gateway.sandbox.issuer import SandboxIssuer
from gateway.sandbox.signing import SigningKey

from .scene import AUDIENCE, ISSUER, Clock


@pytest.fixture(scope="session")
def signing_keys() -> dict[str, SigningKey]:
    """One key for each algorithm. RS* and PS* share the private key, as they may in real life."""
    rsa = SigningKey.generate("rsa", "RS256").private
    return {
        algorithm: SigningKey(kid=f"k-{algorithm}", algorithm=algorithm, private=rsa)
        if algorithm[:2] in ("RS", "PS")
        else SigningKey.generate(f"k-{algorithm}", algorithm)
        for algorithm in ALGORITHMS
    }


@pytest.fixture
def clock() -> Clock:
    """A fake clock."""
    return Clock()


@pytest.fixture
def issuer(signing_keys: dict[str, SigningKey], clock: Clock) -> SandboxIssuer:
    """The issuer, which signs with k-ES256 and publishes a key for each algorithm."""
    others = [key for name, key in signing_keys.items() if name != "ES256"]
    return SandboxIssuer(ISSUER, audience=AUDIENCE, keys=(*others, signing_keys["ES256"]), clock=clock)
