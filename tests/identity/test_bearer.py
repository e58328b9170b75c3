"""The Authorization header (T61): one header, one scheme, one space, one token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import IssueCode, Unauthenticated
from gateway.identity.bearer import MAX_TOKEN, extract

from .scene import PATIENTLY


@pytest.mark.parametrize("header", [b"Bearer a.b.c", b"bearer a.b.c", b"BEARER a.b.c", b"bEaReR a.b.c"])
def test_the_scheme_compares_without_case(header: bytes) -> None:
    assert extract([header]) == "a.b.c"


@pytest.mark.parametrize(
    ("headers", "error", "code"),
    [
        ([], None, IssueCode.LOGIN),
        ([b""], None, IssueCode.LOGIN),
        ([b"Basic dXNlcjpwYXNz"], None, IssueCode.LOGIN),
        ([b"DPoP a.b.c"], None, IssueCode.LOGIN),
        ([b"a.b.c"], None, IssueCode.LOGIN),
        ([b" Bearer a.b.c"], None, IssueCode.LOGIN),
        ([b"Bearer\ta.b.c"], None, IssueCode.LOGIN),
        ([b"Bearer\xa0a.b.c"], None, IssueCode.LOGIN),
        ([b"Bearer:a.b.c"], None, IssueCode.LOGIN),
        ([b"Basic dXNlcjpwYXNz, Bearer a.b.c"], None, IssueCode.LOGIN),
        ([b"Bearer a.b.c", b"Bearer a.b.c"], "invalid_request", IssueCode.UNKNOWN),
        ([b"Basic dXNlcjpwYXNz", b"Bearer a.b.c"], "invalid_request", IssueCode.UNKNOWN),
        ([b"Bearer"], "invalid_request", IssueCode.UNKNOWN),
        ([b"Bearer "], "invalid_request", IssueCode.UNKNOWN),
        ([b"Bearer  a.b.c"], "invalid_request", IssueCode.UNKNOWN),
        ([b"Bearer a.b.c "], "invalid_request", IssueCode.UNKNOWN),
        ([b"Bearer a.b.c\n"], "invalid_request", IssueCode.UNKNOWN),
        ([b"Bearer a.b.c, Bearer d.e.f"], "invalid_request", IssueCode.UNKNOWN),
        ([b"Bearer a.b.c,d"], "invalid_request", IssueCode.UNKNOWN),
        ([b'Bearer token="a.b.c"'], "invalid_request", IssueCode.UNKNOWN),
        ([b"Bearer a=b.c"], "invalid_request", IssueCode.UNKNOWN),
        ([b"Bearer \xff"], "invalid_request", IssueCode.UNKNOWN),
        ([b"Bearer a\0b"], "invalid_request", IssueCode.UNKNOWN),
        ([b"Bearer " + b"a" * (MAX_TOKEN + 1)], "invalid_token", IssueCode.UNKNOWN),
    ],
)
def test_refused(headers: list[bytes], error: str | None, code: IssueCode) -> None:
    with pytest.raises(Unauthenticated) as caught:
        extract(headers)
    assert (caught.value.error, caught.value.issues[0].code) == (error, code)


def test_the_longest_token() -> None:
    assert extract([b"Bearer " + b"a" * MAX_TOKEN]) == "a" * MAX_TOKEN


@PATIENTLY
@given(st.binary())
def test_any_bytes_are_a_token_or_a_refusal(rest: bytes) -> None:
    try:
        token = extract([b"Bearer " + rest])
    except Unauthenticated:
        token = None
    assert token is None or token.encode() == rest
