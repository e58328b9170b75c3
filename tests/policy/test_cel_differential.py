"""Both CEL engines over the same table, and over every CEL expression of the repository's own policies."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateway.policy.cel import CelEngine
from gateway.policy.cel_engine import cel_engine
from gateway.policy.cel_python import CelPythonEngine
from gateway.policy.decision import Result
from gateway.policy.expression import NAMES, Engine, Evaluated, Reads, Scope

ROOT = Path(__file__).parents[2]
YAML_12 = YAML(typ="safe", pure=True)
TABLE = YAML_12.load((ROOT / "tests/cases/cel-edge-cases.yaml").read_text("utf-8"))
ENGINES: dict[str, Engine] = {"cel-expr-python": CelEngine(), "cel-python": CelPythonEngine()}
RESULTS = {True: Result.PASS, False: Result.FAIL} | {r.value: r for r in Result}
PUT_IN = {"LONG": "x" * 50_000, "NUMBERS": {"numbers": list(range(150))}}


def facts(name: str) -> dict[str, Any]:
    found = TABLE["every"] | TABLE["facts"][name]
    found["resource"] = json.loads(json.dumps(found["resource"]).replace("LONG", PUT_IN["LONG"]))  # type: ignore[arg-type]
    if found["claims"] == "NUMBERS":
        found["claims"] = PUT_IN["NUMBERS"]
    return {name: value for name, value in found.items() if name in NAMES}


def judged(engine: Engine, source: str, scope: Scope, values: dict[str, Any]) -> Evaluated:
    compiled = engine.compile(source, scope)
    assert not isinstance(compiled, tuple), compiled
    outcome = compiled.evaluate(engine.bind(values))
    # Nothing is told by what the expression is said not to read.
    assert compiled.evaluate(engine.bind(values, reads_of(compiled.elements))) == outcome
    return outcome


def reads_of(elements: frozenset[tuple[str, str]]) -> Reads:
    whole = {name for name, element in elements if not element}
    return {name: frozenset(e for n, e in elements if n == name) for name, _ in elements if name not in whole}


def test_the_table_is_worth_its_name() -> None:
    assert len(TABLE["cases"]) >= 120


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: f"{case['on']}: {case['cel'][:60]}")
def test_an_expression_means_the_same_on_both_engines(engine: Engine, case: dict[str, Any]) -> None:
    scope = Scope(
        resource_types=("Observation",),
        available=frozenset(NAMES),
        params=TABLE["params"],
        lets=("performer", "failed"),
    )
    values = facts(case["on"])
    outcome = judged(engine, case["cel"], scope, values)
    assert outcome.result is RESULTS[case["expect"]], outcome
    assert (outcome.reason is None) == (outcome.result in (Result.PASS, Result.FAIL))


KINDS = {"x": None, "s": "text", "n": 5, "b": True, "l": [1, 2, 3], "m": {"a": 1}, "d": 1.5, "h": 2**63 - 1, "e": ""}
OPERANDS = [f"claims.{name}" for name in KINDS] + ["dyn(request.time)", "dyn(duration('1h'))", "dyn(b'x')", "dyn(1u)"]
ONE = """-{0} == 1; !{0}; size({0}) == 1; int({0}) == 1; uint({0}) == 1u; double({0}) == 1.0; string({0}) == 'x';
    bool({0}); bytes({0}) == b''; timestamp({0}) == request.time; duration({0}) == duration('1s'); {0}.getHours() == 1;
    {0}.getMilliseconds() == 1; {0}.all(x, true); {0}.map(x, x) == []; {0}.value() == 1; optional.of({0}).hasValue();
    optional.ofNonZeroValue({0}).hasValue(); type({0}) == int; {{{0}: 1}}.size() == 1; dyn({0}) == dyn({0});
    {0}.?a.hasValue(); has({0}.a)"""
TWO = """{0} + {1} == 1; {0} - {1} == 1; {0} * {1} == 1; {0} / {1} == 1; {0} % {1} == 1; {0} < {1}; {0} >= {1};
    {0} == {1}; {0} in {1}; {0}[{1}] == 1; {0}.startsWith({1}); {0}.getHours({1}) == 1; {0} && {1}; {0} ? {1} : {1};
    {0}.orValue({1}) == 1"""


@pytest.mark.parametrize("form", [form.strip() for form in f"{ONE};{TWO}".split(";")])
def test_every_operation_on_every_kind_of_value(form: str) -> None:
    scope = Scope(resource_types=("Observation",), available=frozenset(NAMES))
    values = TABLE["every"] | {"resource": {"resourceType": "Observation"}, "claims": KINDS}
    bound = {name: engine.bind(values) for name, engine in ENGINES.items()}
    for left in OPERANDS:
        for right in OPERANDS if "{1}" in form else [""]:
            source = form.format(left, right)
            compiled = {name: engine.compile(source, scope) for name, engine in ENGINES.items()}
            results = {n: c.evaluate(bound[n]).result for n, c in compiled.items() if not isinstance(c, tuple)}
            assert len(set(results.values())) <= 1, (source, results)
            assert results or "1u" in source or "b'x'" in source or "duration" in source or "time" in source, source


def policy_cases() -> list[Any]:
    """(policy, expression, types, test) of every CEL expression with every test that stands in its file."""
    found = []
    for path in sorted((ROOT / "policies").rglob("*.yaml")):
        for document in YAML_12.load_all(path.read_text("utf-8")):
            if not isinstance(document, dict) or "policy" not in document:
                continue
            for where, source, is_rule in expressions(document):
                name = f"{document['policy']}: {where}"
                found.append(pytest.param(path, document, source, is_rule, id=name))
    return found


def expressions(document: dict[str, Any]) -> list[tuple[str, str, bool]]:
    rules = [(rule["id"], rule["cel"], True) for rule in document.get("rules", []) if "cel" in rule]
    lets = [(name, let["cel"], False) for name, let in document.get("let", {}).items() if "cel" in let]
    when = [("when", document["when"]["cel"], True)] if "cel" in document.get("when", {}) else []
    return when + lets + rules


def fixture(path: Path, name: object) -> Any:
    return json.loads((path.parent / name).read_text("utf-8")) if isinstance(name, str) else None


@pytest.mark.parametrize(("path", "document", "source", "is_rule"), policy_cases())
def test_the_repositorys_policies_mean_the_same_on_both_engines(
    path: Path, document: dict[str, Any], source: str, is_rule: bool
) -> None:
    compared = 0
    for case in document.get("tests", []):
        given = case["given"]
        interaction = "create" if "create" in given else "update"
        resource = fixture(path, given[interaction])
        values = {
            "resource": resource,
            "prior": fixture(path, given.get("prior")),
            "patient": fixture(path, given.get("patient")),
            "stored": fixture(path, given.get("stored")),
            "claims": given.get("claims", {}),
            "client": {"id": "c", "issuer": "i", "scopes": given.get("scopes", [])},
            "request": {"interaction": interaction, "type": resource["resourceType"], "time": "2026-01-01T00:00:00Z"},
            "let": {},
        }
        scope = Scope(
            resource_types=(resource["resourceType"],),
            available=frozenset(NAMES),
            params=document.get("params", {}),
            lets=tuple(document.get("let", {})),
            wants_boolean=is_rule,
        )
        outcomes = [judged(engine, source, scope, values) for engine in ENGINES.values()]
        assert outcomes[0].result is outcomes[1].result, (case["name"], outcomes)
        assert outcomes[0].value == outcomes[1].value
        compared += 1
    assert compared


def test_the_first_engine_is_taken_where_it_is_installed() -> None:
    assert isinstance(cel_engine(), CelEngine)
