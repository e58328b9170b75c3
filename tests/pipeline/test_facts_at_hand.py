"""What a write is judged by after it: the facts at hand are those that its intent gives after a crash."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.fhir.interaction import InteractionCode, Update
from gateway.fhir.resource import BodyLimits, parse
from gateway.identity.principal import Principal
from gateway.identity.scopes import ScopeSet
from gateway.pipeline.gather import Prior
from gateway.pipeline.intents import Began, facts_json, facts_of, intent_of
from gateway.policy.facts import ClientFacts, Facts, PatientFacts, RequestFacts
from tests.pipeline.rig import AFTER, LAB, observation, rigged

LIMITS = BodyLimits()


@pytest.mark.parametrize("text", ["plain", "\u00fc\U0001f600", "half a pair \ud800", "\x00\x7f\u2028"])
def test_the_facts_of_an_intent_are_those_it_was_made_from(text: str) -> None:
    claims = {"org_type": "lab", "deep": {"list": [1, 2.5, 1e300, 2**70, None, True, text]}, text: "system/*.u"}
    body = json.dumps(observation(valueQuantity={"value": 1.10}) | {"id": "o1"}).encode()
    before = json.dumps(observation("stranger") | {"id": "o1"}).encode()
    principal = Principal(
        issuer="i", client_id="c", subject=None, patient=None, scope_texts=("system/*.u",), scopes=ScopeSet(scopes=()),
        claims=claims, expires_at=0.0, enforce_scopes=True,
    )  # fmt: skip
    facts = Facts(
        request=RequestFacts(
            interaction=InteractionCode.UPDATE, type="Observation", id="o1", time="2026-01-15T08:30:00.123Z"
        ),
        client=ClientFacts(id="c", issuer="i", scopes=principal.scope_texts),
        claims=claims,
        resource=parse(body, LIMITS),
        prior=parse(before, LIMITS),
        patients=PatientFacts(resources=({"resourceType": "Patient", "id": "member"},)),
    )
    intent = intent_of(
        write=Update(type="Observation", id="o1"), body=body,
        prior=Prior(resource=facts.prior, version="3", body=before), decision_id="d1", write_id="w1", revision="r",
        applied=("lab",), facts=facts_json(facts), principal=principal, began=Began(1.0, None),
    )  # fmt: skip
    assert facts_of(intent, LIMITS) == replace(facts, patients=PatientFacts())


@pytest.mark.parametrize("lost", ["auto", "tag", "assigned-id"])
async def test_a_write_is_judged_by_what_was_sent_however_it_was_changed_on_its_way(tmp_path: Path, lost: str) -> None:
    rule = """
  - id: everything
    phase: after
    cel: >-
      resource.?meta.?tag.orValue([]) == stored.?meta.?tag.orValue([]) && resource.status == stored.status
      && client.id == claims.client_id && request.type == 'Observation'
    deny: {code: conflict, message: Not what was sent.}
"""
    keys = f", find_lost_writes: {lost}"
    async with rigged(tmp_path, {"lab": LAB + AFTER + rule}, server_keys=keys) as rig:
        answer = await rig.create(observation())
        assert answer.status_code == 201, answer.text
