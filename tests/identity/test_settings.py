"""Settings that exist are safe."""

from typing import Any

import pytest

from gateway.identity.settings import UnsafeIssuer, url_problem

from .scene import SETTINGS, settings


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"issuer": "http://id.example"}, "issuer"),
        ({"issuer": "id.example"}, "issuer"),
        ({"issuer": ""}, "issuer"),
        ({"issuer": "https://"}, "issuer"),
        ({"issuer": "https://id.example?realm=push"}, "issuer"),
        ({"issuer": "https://id.example#x"}, "issuer"),
        ({"issuer": "https://user:secret@id.example"}, "issuer"),
        ({"issuer": "https://id.example:port"}, "issuer"),
        ({"issuer": "https://[::1"}, "issuer"),
        ({"issuer": "https://id.example/\n"}, "issuer"),
        ({"issuer": "https://id.exämple"}, "issuer"),
        ({"issuer": "https://id.example/a b"}, "issuer"),
        ({"jwks_uri": "file:///etc/keys"}, "jwks_uri"),
        ({"jwks_uri": "http://id.example/keys"}, "jwks_uri"),
        ({"audiences": ()}, "audiences"),
        ({"audiences": ("*",)}, "audiences"),
        ({"audiences": ("",)}, "audiences"),
        ({"algorithms": ()}, "algorithms"),
        ({"algorithms": ("none",)}, "algorithms"),
        ({"algorithms": ("RS256", "HS256")}, "algorithms"),
        ({"token_types": ()}, "token_types"),
        ({"token_types": ("",)}, "token_types"),
        ({"leeway": -1.0}, "leeway"),
        ({"leeway": 60.5}, "leeway"),
        ({"leeway": float("nan")}, "leeway"),
        ({"scopes": "loose"}, "scopes"),
        ({"client_claim": ""}, "claims.client"),
        ({"scope_claim": ""}, "claims.scope"),
        ({"patient_claim": ""}, "claims.patient"),
    ],
)
def test_unsafe(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(UnsafeIssuer) as caught:
        settings(**changes)
    assert [name for name, _ in caught.value.problems] == [field]


def test_every_problem_is_listed() -> None:
    with pytest.raises(UnsafeIssuer, match=r"issuer: .*; audiences: .*; leeway: "):
        settings(issuer="ftp://x", audiences=(), leeway=99.0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.0.0.1:8180"])
def test_http_on_loopback(host: str) -> None:
    assert settings(issuer=f"http://{host}/realms/push").issuer.startswith("http://")


@pytest.mark.parametrize("host", ["127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.2"])
def test_http_elsewhere_needs_the_named_override(host: str) -> None:
    assert url_problem(f"http://{host}/keys") is not None
    assert url_problem(f"http://{host}/keys", allow_insecure=True) is None


def test_token_types_compare_without_case_and_prefix() -> None:
    both = settings(token_types=("application/AT+JWT", "JWT"))
    assert all(both.takes_type(typ) for typ in ("at+jwt", "AT+jwt", "application/at+jwt", "jwt", "application/jwt"))
    assert not any(SETTINGS.takes_type(typ) for typ in ("JWT", "", "at+jwt;x", "at", "application/", "text/at+jwt"))
