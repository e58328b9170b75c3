"""One harness for each parser: any bytes go in, and only what its docstring declares may come out.

A harness raises AssertionError, or lets an undeclared error through, when it has found something.
"""

import base64
import copy
import json
import math
import time
from collections.abc import Callable
from typing import Final

from gateway.errors import GatewayError, Malformed, TooLarge, Unauthenticated
from gateway.fhir import interaction, shape
from gateway.fhir.resource import BodyLimits, parse
from gateway.fhirpath import engine
from gateway.fhirpath.engine import Failure, Outcome, Program
from gateway.fhirpath.items import Element
from gateway.fhirpath.reads import reads
from gateway.fhirpath.types_check import check
from gateway.identity import bearer
from gateway.identity.settings import IssuerSettings
from gateway.identity.shape import read as read_token
from gateway.ingress.framing import examine
from gateway.policy.compiler import SourceFile, compile_set
from gateway.policy.engines import standard_engines
from gateway.policy.policy_set import Source
from tests.fhirpath.resources import NOW, VARIABLES
from tests.fuzz.draw import Draw
from tests.fuzz.expressions import expression, resource

Harness = Callable[[bytes], None]

_SECONDS: Final = 5.0  # of CPU, for what takes milliseconds: the machine may be slow, an endless loop is endless
_LARGE_BUDGET: Final = 20_000
_ISSUERS: Final = {"https://id.example": IssuerSettings(issuer="https://id.example", audiences=("a",))}


def fhirpath_text(data: bytes) -> None:
    """Any text is a program, or problems with places inside of it; the static checks have nothing to raise."""
    text = data.decode(errors="replace")
    compiled = engine.compile(text, strict=True)
    if isinstance(compiled, Program):
        assert isinstance(reads(compiled.tree), tuple)
        problems = check(compiled.tree, compiled.model, {"resource": "Patient"}, wants_boolean=True)
    else:
        problems = compiled
        assert problems
    for problem in problems:
        assert 0 <= problem.offset <= len(text), problem
        assert problem.length >= 0, problem


def fhirpath_evaluation(data: bytes) -> None:
    """An evaluation ends in an outcome, the same again; inputs stay, and more budget changes no result."""
    draw = Draw(data)
    source, given = expression(draw), resource(draw)
    compiled = engine.compile(source, strict=draw.number(2) == 1)
    if not isinstance(compiled, Program):
        return
    before, variables = copy.deepcopy(given), copy.deepcopy(VARIABLES)
    start = time.process_time()
    much = compiled.evaluate(given, variables, now=NOW, budget=_LARGE_BUDGET)
    assert time.process_time() - start < _SECONDS, source
    assert (given, variables) == (before, VARIABLES), source
    # The net below all functions: what falls into it is answered with an error, but no function means to.
    assert "the evaluation failed" not in str(much.reason), (source, much.reason)
    shown = _shown(much)
    assert _shown(compiled.evaluate(given, variables, now=NOW, budget=_LARGE_BUDGET)) == shown, source
    little = compiled.evaluate(given, variables, now=NOW, budget=draw.number(256))
    if little.failure is not Failure.OUT_OF_BUDGET:
        assert _shown(little) == shown, source
    check(compiled.tree, compiled.model, {"resource": "Patient", "patient": "Patient"})


def _shown(outcome: Outcome) -> str:
    values = [(one.type.name, one.value, one.extra) if isinstance(one, Element) else one for one in outcome.values]
    return repr((outcome.failure, outcome.reason, values))


def json_body(data: bytes) -> None:
    """A body is refused, or is what Python's own reader reads in it; the shape of any object has faults or none."""
    before = bytes(data)
    try:
        value = parse(data, BodyLimits(depth=20))
    except (Malformed, TooLarge):
        return
    assert data == before
    assert value == json.loads(data.decode())
    again = copy.deepcopy(value)
    faults = shape.check(value)
    assert value == again
    assert all(fault.text for fault in faults)


def interaction_name(data: bytes) -> None:
    """A method, a path, a query and conditions have one name, the same again, or are refused; nothing is rewritten."""
    draw = Draw(data)
    method = draw.one(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "get"))
    if_match = ('W/"1"',) * draw.number(3)
    lines = draw.rest().split(b"\n")
    path, _, query = lines[0].partition(b"?")
    conditions = tuple(line.decode("latin-1") for line in lines[1:])

    def named() -> interaction.Interaction | str:
        try:
            return interaction.name(method, path, query, if_match=if_match, if_none_exist=conditions)
        except GatewayError as refusal:
            return repr(refusal)

    found = named()
    assert named() == found
    match found:
        case interaction.Reading():
            assert (found.path.encode(), found.query.encode()) == (path, query)
            assert found.head == (method == "HEAD")
        case interaction.Create():
            assert (method, found.type.encode(), query, if_match) == ("POST", path, b"", ())
            # What is sent on is a part of the one condition that came, and none only when none came.
            assert len(conditions) == (found.if_none_exist is not None)
            assert all(one.endswith(found.if_none_exist or "") for one in conditions)
        case interaction.Update():
            assert (method, f"{found.type}/{found.id}".encode(), query, conditions) == ("PUT", path, b"", ())
            assert found.if_match == ("1" if if_match else None)


def request_head(data: bytes) -> None:
    """A head is sound or refused; what is sound has one body length and a path below the base."""
    line, *lines = data.split(b"\n")
    method, _, target = line.partition(b" ")
    path, _, query = target.partition(b"?")
    headers = [(name.lower(), value) for name, _, value in (one.partition(b":") for one in lines)]
    try:
        head = examine(
            method=method.decode("latin-1"),
            raw_path=path,
            query=query,
            http_version="1.1",
            raw_headers=[(b"host", b"a"), *headers],
            base_path=b"/fhir",
        )
    except GatewayError:
        return
    assert path in (b"/fhir", b"/fhir/" + head.path)
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    assert not (lengths and codings)
    assert head.content_length == (None if codings else int(lengths[0]) if lengths else 0)


def bearer_token(data: bytes) -> None:
    """Whatever stands in Authorization is a token of known shape, or Unauthenticated.

    What begins with a brace is a header and a payload, on two lines, of a token that is well made otherwise.
    """
    lines = data.split(b"\n")[:3]
    if data.startswith(b"{"):
        parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (*lines[:2], b"signature")]
        lines = [b"Bearer " + b".".join(parts)]
    try:
        token = bearer.extract(lines)
        found = read_token(token, _ISSUERS)
    except Unauthenticated:
        return
    assert lines[0][len(b"Bearer ") :] == token.encode()
    assert found.signing_input.decode() == token.rpartition(".")[0]
    # One spelling only: what was read, written again, is what came.
    assert base64.urlsafe_b64encode(found.signature).rstrip(b"=").decode() == token.rpartition(".")[2]
    assert found.claims["iss"] in _ISSUERS
    assert found.algorithm in found.settings.algorithms
    assert math.isfinite(found.exp)


def policy_file(data: bytes) -> None:
    """A policy file is compiled, or has problems with places."""
    text = data.decode(errors="replace")
    source = SourceFile(source=Source(name="a.yaml", text=text), shown="a.yaml")
    compilation = compile_set([source], release="R4", engines=standard_engines())
    assert compilation.policy_set is not None or compilation.problems
    lines = text.count("\n") + text.count("\r") + 2
    for problem in compilation.problems:
        assert 1 <= problem.line <= lines, problem
        assert problem.column >= 1, problem


HARNESSES: Final[dict[str, Harness]] = {
    one.__name__: one
    for one in (
        *(fhirpath_text, fhirpath_evaluation, json_body, interaction_name, request_head, bearer_token, policy_file),
    )
}
