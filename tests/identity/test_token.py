"""verify: every token that differs from a good one in one point, and the boundaries of time."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import IssueCode, Unauthenticated
from gateway.identity.key_set import KeySet
from gateway.identity.principal import Principal
from gateway.identity.settings import ALGORITHMS
from gateway.identity.token import verify
from gateway.sandbox.issuer import SandboxIssuer
from gateway.sandbox.signing import SigningKey, base64url

from .scene import AUDIENCE, ISSUER, NOW, PATIENTLY, SETTINGS, cases, keys_of, settings, verified

TABLE = cases("tokens.yaml")
RAW = cases("tokens-raw.yaml")


def refused(token: str, issuer: SandboxIssuer, **options: Any) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        verified(token, issuer, **options)
    return caught.value


@pytest.mark.parametrize("case", TABLE, ids=[case["name"] for case in TABLE])
def test_a_token_that_differs_in_one_point(case: dict[str, Any], issuer: SandboxIssuer) -> None:
    key = issuer.keys[-1]
    header = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid} | case.get("header", {})
    token = key.token({k: v for k, v in header.items() if v is not None}, issuer.claims(**case.get("claims", {})))
    if case["expect"] == "accepted":
        assert verified(token, issuer).issuer == ISSUER
        return
    refusal = refused(token, issuer)
    assert (refusal.reason, refusal.error) == (case["expect"], "invalid_token")
    assert refusal.issues[0].code is (IssueCode.EXPIRED if case["expect"] == "expired" else IssueCode.UNKNOWN)
    assert refusal.issuer == (None if case["expect"] == "unknown_issuer" else refusal.issuer)


@pytest.mark.parametrize("case", RAW, ids=[case["name"] for case in RAW])
def test_a_spelling_with_more_than_one_reading(case: dict[str, Any], issuer: SandboxIssuer) -> None:
    key = issuer.keys[-1]
    good_header = json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": key.kid})
    spelled = {
        "GOOD": good_header,
        "LONG": good_header[:-1] + ', "x": "' + "x" * 4_000 + '"}',
    }
    header = spelled.get(case["header"], case["header"])
    payload = {"GOOD": json.dumps(issuer.claims()), "NESTED": "[" * 4_000}.get(case["payload"], case["payload"])
    assert refused(key.token_of(header.encode(), payload.encode()), issuer).error == "invalid_token"


def test_the_good_raw_token_is_accepted(issuer: SandboxIssuer) -> None:
    key = issuer.keys[-1]
    header = json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": key.kid})
    assert verified(key.token_of(header.encode(), json.dumps(issuer.claims()).encode()), issuer).subject


def test_a_principal_holds_what_was_verified(issuer: SandboxIssuer) -> None:
    scope = "openid system/Observation.cu  patient/*.read"
    principal = verified(issuer.mint({"patient": "p-1", "scope": scope, "org_type": "lab"}), issuer)
    assert principal.client_id == "sandbox-client"
    assert principal.subject == "sandbox-client"
    assert principal.patient == "p-1"
    assert principal.scope_texts == ("openid", "system/Observation.cu", "patient/*.read")
    assert [scope.letters for scope in principal.scopes.scopes] == ["cu", "rs"]
    assert principal.claims["org_type"] == "lab"
    assert principal.expires_at == NOW + 300
    assert principal.enforce_scopes


def test_claim_names_and_scope_mode_are_the_issuers(issuer: SandboxIssuer) -> None:
    named = settings(client_claim="azp", scope_claim="scp", patient_claim="ctx_patient", scopes="ignore")
    token = issuer.mint({"azp": "app", "scp": ["system/A.c", "b c"], "ctx_patient": "p-2", "patient": ["not", "read"]})
    principal = verified(token, issuer, by=named)
    assert (principal.client_id, principal.patient) == ("app", "p-2")
    # `scope` is in the token too, and is not added; a list item with a space is one scope text, which grants nothing.
    assert principal.scope_texts == ("system/A.c", "b c")
    assert [scope.type for scope in principal.scopes.scopes] == ["A"]
    assert not principal.enforce_scopes


@pytest.mark.parametrize("separator", ["\t", "\n", "\u00a0", "\u2003", ",", "+", "%20"])
def test_scopes_are_separated_by_spaces_only(separator: str, issuer: SandboxIssuer) -> None:
    principal = verified(issuer.mint({"scope": f"system/A.c{separator}system/B.c"}), issuer)
    assert principal.scopes.scopes == ()


def test_too_many_scopes_are_refused(issuer: SandboxIssuer) -> None:
    assert refused(issuer.mint({"scope": "x " * 600}), issuer).reason == "malformed"


def test_repr_of_a_principal_keeps_claims_out_of_logs(issuer: SandboxIssuer) -> None:
    assert "canary" not in repr(verified(issuer.mint({"secret": "canary"}), issuer))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_with_its_own_key(
    algorithm: str, issuer: SandboxIssuer, signing_keys: dict[str, SigningKey]
) -> None:
    token = issuer.mint(key=signing_keys[algorithm])
    assert verified(token, issuer).issuer == ISSUER
    others = tuple(name for name in ALGORITHMS if name != algorithm)
    assert refused(token, issuer, by=settings(algorithms=others)).reason == "malformed"


@pytest.mark.parametrize("claimed", ["PS256", "RS384", "RS512", "ES256", "EdDSA"])
def test_a_key_is_bound_to_its_algorithm(
    claimed: str, issuer: SandboxIssuer, signing_keys: dict[str, SigningKey]
) -> None:
    # PS and RS swap (T54): a true signature by the right private key, of the algorithm that the header claims.
    key = signing_keys["RS256"]
    header = json.dumps({"alg": claimed, "typ": "at+jwt", "kid": key.kid}).encode()
    algorithm = claimed if claimed[:2] in ("RS", "PS") else None
    token = key.token_of(header, json.dumps(issuer.claims()).encode(), algorithm=algorithm)
    assert refused(token, issuer).reason == "unknown_key"


def test_hs256_signed_with_the_public_key(issuer: SandboxIssuer, signing_keys: dict[str, SigningKey]) -> None:
    import hashlib
    import hmac

    public = signing_keys["RS256"].private.public_key()
    encodings = (
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.PEM, serialization.PublicFormat.PKCS1),
    )
    secrets = [public.public_bytes(*encoding) for encoding in encodings]
    secrets.append(json.dumps(signing_keys["RS256"].public_jwk()).encode())
    secrets.append(b"")
    for secret in secrets:
        header = base64url(json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": "k-RS256"}).encode())
        signing_input = f"{header}.{base64url(json.dumps(issuer.claims()).encode())}"
        signature = hmac.new(secret, signing_input.encode(), hashlib.sha256).digest()
        assert refused(f"{signing_input}.{base64url(signature)}", issuer).error == "invalid_token"


@pytest.mark.parametrize(
    "signature",
    [b"\0" * 64, b"\0" * 63, b"\0", b"\xff" * 64, b"\0" * 31 + b"\1" + b"\0" * 31 + b"\1", b"x" * 4_000],
    ids=["r=s=0", "short", "one byte", "out of range", "r=s=1", "long"],
)
def test_made_up_signatures(signature: bytes, issuer: SandboxIssuer) -> None:
    for key in issuer.keys:
        token = issuer.mint(key=key)
        forged = f"{token.rpartition('.')[0]}.{base64url(signature)}"
        assert refused(forged, issuer).reason == "bad_signature"


def test_signature_of_another_key_with_the_same_kid(issuer: SandboxIssuer) -> None:
    stranger = SigningKey.generate("k-ES256", "ES256")
    assert refused(issuer.mint(key=stranger), issuer).reason == "bad_signature"


def test_claims_changed_after_signing(issuer: SandboxIssuer) -> None:
    header, _, signature = issuer.mint().split(".")
    payload = base64url(json.dumps(issuer.claims(sub="admin")).encode())
    assert refused(f"{header}.{payload}.{signature}", issuer).reason == "bad_signature"


def test_two_issuers_share_a_kid_and_each_keeps_its_own_key(issuer: SandboxIssuer) -> None:
    other = SandboxIssuer("https://other.example", audience=AUDIENCE, keys=(SigningKey.generate("k-ES256", "ES256"),))
    both = {ISSUER: SETTINGS, other.url: settings(issuer=other.url)}
    keys = {ISSUER: keys_of(issuer), other.url: keys_of(other)}
    assert verify(issuer.mint(), both, keys, NOW).issuer == ISSUER
    with pytest.raises(Unauthenticated) as caught:
        verify(issuer.mint({"iss": other.url}), both, keys, NOW)
    assert (caught.value.reason, caught.value.issuer) == ("bad_signature", other.url)


def test_no_keys_at_all(issuer: SandboxIssuer) -> None:
    with pytest.raises(Unauthenticated) as caught:
        verify(issuer.mint(), {ISSUER: SETTINGS}, {}, NOW)
    assert caught.value.reason == "unknown_key"


def test_unknown_key_and_bad_signature_are_told_alike(issuer: SandboxIssuer) -> None:
    unknown = refused(issuer.mint(header={"kid": "stranger"}), issuer)
    wrong = refused(issuer.mint(key=SigningKey.generate("k-ES256", "ES256")), issuer)
    assert (unknown.issues, unknown.error) == (wrong.issues, wrong.error)


def test_without_kid_several_keys_for_the_algorithm_are_a_guess(issuer: SandboxIssuer) -> None:
    issuer.rotate(SigningKey.generate("second", "ES256"))
    assert refused(issuer.mint(header={"kid": None}), issuer).reason == "unknown_key"


def test_an_expired_token_is_named_so_only_when_its_signature_holds(issuer: SandboxIssuer) -> None:
    forged = issuer.mint({"exp": 1}, key=SigningKey.generate("k-ES256", "ES256"))
    assert refused(forged, issuer).issues[0].code is IssueCode.UNKNOWN


@pytest.mark.parametrize(
    ("claim", "late", "accepted"),
    [
        # exp is exclusive: at exp + leeway the token is over (RFC 7519 section 4.1.4).
        ("exp", 29.999, True),
        ("exp", 30.0, False),
        # nbf and iat are inclusive.
        ("nbf", -30.0, True),
        ("nbf", -30.001, False),
        ("iat", -30.0, True),
        ("iat", -30.001, False),
    ],
)
def test_boundaries_of_time(claim: str, late: float, accepted: bool, issuer: SandboxIssuer) -> None:
    at = NOW + 1_000.0
    token = issuer.mint({"exp": at + 5_000} | {claim: at})
    if accepted:
        assert verified(token, issuer, now=at + late).client_id
    else:
        expected = "expired" if claim == "exp" else "not_yet_valid"
        assert refused(token, issuer, now=at + late).reason == expected


def test_without_leeway_the_boundary_is_exp_itself(issuer: SandboxIssuer) -> None:
    strict = settings(leeway=0.0)
    token = issuer.mint({"exp": NOW + 10})
    assert verified(token, issuer, now=NOW + 9.999, by=strict).expires_at == NOW + 10
    assert refused(token, issuer, now=NOW + 10, by=strict).reason == "expired"


def test_exp_as_a_string_or_nan_never_lives_forever(issuer: SandboxIssuer) -> None:
    """pyjwt takes the string, joserfc the NaN."""
    for spelled in ('"9999999999"', "NaN", "Infinity", "-Infinity", "1e999", "true", "null", "[]"):
        payload = json.dumps(issuer.claims(exp=0)).replace('"exp": 0', f'"exp": {spelled}')
        key = issuer.keys[-1]
        header = json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": key.kid})
        assert refused(key.token_of(header.encode(), payload.encode()), issuer).reason == "malformed"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
CLAIMS = st.dictionaries(
    st.sampled_from(
        ["iss", "aud", "exp", "nbf", "iat", "sub", "client_id", "scope", "patient", "typ", "token_use", "cnf", "x"]
    ),
    JSON,
)


@PATIENTLY
@given(header=st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "cty", "x"]), JSON), claims=CLAIMS)
def test_any_signed_members_end_in_a_principal_or_a_refusal(header: dict[str, Any], claims: dict[str, Any]) -> None:
    key = _HYPOTHESIS_KEY
    good_header = {"alg": "EdDSA", "typ": "at+jwt", "kid": key.kid}
    good_claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 9, "client_id": "c"}
    token = key.token(good_header | header, good_claims | claims)
    outcome = _outcome(token)
    if isinstance(outcome, Unauthenticated):
        assert outcome.error == "invalid_token"
    else:
        assert outcome.issuer == ISSUER
        assert outcome.expires_at > NOW - 30


def _outcome(token: str) -> Principal | Unauthenticated:
    try:
        return verify(token, {ISSUER: SETTINGS}, {ISSUER: KeySet(keys=_HYPOTHESIS_KEYS)}, NOW)
    except Unauthenticated as refusal:
        return refusal


_HYPOTHESIS_KEY = SigningKey.generate("h", "EdDSA")
_HYPOTHESIS_KEYS = keys_of(SandboxIssuer(ISSUER, audience=AUDIENCE, keys=(_HYPOTHESIS_KEY,))).keys
