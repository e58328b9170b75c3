"""Policies and facts as the tests of this room write them: texts in, values out."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gateway.fhir.interaction import InteractionCode
from gateway.fhir.json import JsonObject
from gateway.policy.compiler import Compilation, SourceFile, compile_set
from gateway.policy.decision import Decision, Phase
from gateway.policy.engine import decide, select
from gateway.policy.engines import standard_engines
from gateway.policy.facts import ClientFacts, Facts, LinkProblem, PatientFacts, RequestFacts
from gateway.policy.loader import load_sources
from gateway.policy.policy_set import PolicySet, Source
from gateway.yaml_positions import read

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "policies"
CASES = ROOT / "tests" / "cases"

HEAD = "policy: a\npermit: [create, update]\nresources: [Observation]\npatient: none\n"
GUARD = "policy: g\nresources: [Observation]\npatient: none\n"


def table(name: str) -> list[dict[str, object]]:
    """The rows of a table in tests/cases."""
    rows = read((CASES / name).read_text("utf-8")).value
    assert isinstance(rows, list)
    return [dict(row) for row in rows if isinstance(row, dict)]


def sources(*texts: str) -> tuple[Source, ...]:
    return tuple(Source(name=f"{chr(ord('a') + index)}.yaml", text=text) for index, text in enumerate(texts))


def compiled(*texts: str) -> Compilation:
    files = [SourceFile(source=source, shown=source.name) for source in sources(*texts)]
    return compile_set(files, release="R4", engines=standard_engines())


def policy_set(*texts: str) -> PolicySet:
    return load_sources(sources(*texts), release="R4", engines=standard_engines())


def rule(expression: str, id_: str = "r", **more: str) -> str:
    """One item of `rules`. `expression` is CEL unless it begins with `fhirpath:`."""
    language, _, text = expression.partition(": ") if expression.startswith("fhirpath: ") else ("cel", "", expression)
    lines = [f"  - id: {id_}", f"    {language}: {json.dumps(text)}", *(f"    {k}: {v}" for k, v in more.items())]
    return "\n".join(lines) + "\n"


def with_rules(head: str, *rules: str) -> str:
    return head + "rules:\n" + "".join(rules)


def example(name: str) -> JsonObject:
    """A fixture of the example policies."""
    found: JsonObject = json.loads((EXAMPLES / "fixtures" / f"{name}.json").read_text("utf-8"))
    return found


def facts_of(
    resource: JsonObject | None = None,
    *,
    code: InteractionCode = InteractionCode.CREATE,
    prior: JsonObject | None = None,
    stored: JsonObject | None = None,
    patients: Sequence[JsonObject] = (),
    problems: Sequence[LinkProblem] = (),
    claims: dict[str, object] | None = None,
    scopes: tuple[str, ...] = ("system/*.cruds",),
) -> Facts:
    payload = resource if resource is not None else example("hba1c")
    id_ = payload.get("id")
    return Facts(
        request=RequestFacts(
            interaction=code,
            type=str(payload["resourceType"]),
            id=str(id_) if code is InteractionCode.UPDATE else None,
            time="2026-01-01T12:00:00Z",
        ),
        client=ClientFacts(id="client", issuer="https://issuer.example", scopes=scopes),
        claims=claims or {},
        resource=payload,
        prior=prior,
        stored=stored,
        patients=PatientFacts(resources=tuple(patients), problems=tuple(problems)),
    )


def judged(policies: PolicySet, facts: Facts | None = None) -> Decision:
    """Selected and decided, as the pipeline does it before the write."""
    facts = facts or facts_of()
    selection = select(policies, facts.request.interaction, facts.request.type, facts.client, facts.claims)
    return decide(selection, facts, Phase.BEFORE)


def judged_after(policies: PolicySet, facts: Facts, stored: JsonObject) -> Decision:
    """Both phases, as the pipeline does them; the outcome of the second."""
    selection = select(policies, facts.request.interaction, facts.request.type, facts.client, facts.claims)
    applied = decide(selection, facts, Phase.BEFORE).applied
    return decide(selection, replace(facts, stored=stored), Phase.AFTER, applied=applied)


def failures(decision: Decision) -> dict[str, str]:
    """policy/rule -> result, of what did not hold."""
    return {f"{o.policy}/{o.rule}": o.result.value for o in decision.outcomes if o.result.value != "pass"}
